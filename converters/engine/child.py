"""Runs the builder in a child process with a time limit: native code may crash there, and can be stopped.

The child is started with multiprocessing's spawn. It tells how far it is through a pipe, as JSON, so that nothing
of what it says is unpickled; its result is a file, and so is what TensorRT prints.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import threading
import traceback
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

from edgevision import errors
from edgevision.converters.engine.builder import BUILDING, build_plan
from edgevision.converters.engine.order import Request
from edgevision.errors import BackendError, EdgevisionError, OutputError
from edgevision.progress import Tell, duration_text
from edgevision.signals import held_back
from edgevision.text import printable

__all__ = ["BuilderError", "build_in_child"]

_RESULT, _LOG = "result.json", "log.txt"
#: Exit status of a child whose result could not be written: EX_CANTCREAT of sysexits.h.
_UNWRITTEN = 73
#: Of what a library printed that much is looked at, bytes.
_LOG_TAIL = 1 << 16
#: Elapsed time is shown that often, s.
_TICK = 0.5
#: Time for TensorRT to come to the end of a step once it was told to stop, s.
_UNWIND = 10.0


class BuilderError(Exception):
    """Where the child failed: the cause of the error that is raised here, shown with ``--debug``."""


def build_in_child(request: Request, folder: Path, seconds: float, tell: Tell) -> dict[str, Any]:
    """Builds `builder.PLAN` in a folder.

    Args:
        request: What to build.
        folder: An empty folder.
        seconds: Time it may take.
        tell: Told the stage, how much of it is done, and of how much; also while nothing moves.

    Returns:
        What `builder.build_plan` returns.

    Raises:
        EdgevisionError: The builder's own error, or that it was stopped or crashed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(request, folder, sender), daemon=True)
    last: tuple[str, int, int | None] = ("starting", 0, None)
    try:
        _start(process, request)
        sender.close()
        deadline = monotonic() + seconds
        while process.is_alive():
            if monotonic() > deadline:
                raise _too_long(request, seconds, last[0])
            wait([receiver, process.sentinel], _TICK)
            last = _latest(receiver, last)
            tell(*last)
    finally:
        _end(process, last[0])
        receiver.close()
        sender.close()
    return _result(request, folder, process.exitcode or 0, last[0])


def _start(process: BaseProcess, request: Request) -> None:
    try:
        with held_back():
            process.start()
    except OSError as error:
        raise BackendError(
            f"no process could be started to build {request.model.name}: {error.strerror}",
            hint="close other programs: a build needs a process and memory of its own",
        ) from error


def _latest(receiver: Connection, last: tuple[str, int, int | None]) -> tuple[str, int, int | None]:
    """What was told last; what is damaged by a crash is left out."""
    try:
        while receiver.poll():
            stage, done, total = json.loads(receiver.recv_bytes(1 << 16))
            last = (printable(str(stage), 80), int(done), None if total is None else int(total))
    except (EOFError, OSError, TypeError, ValueError):
        pass
    return last


def _end(process: BaseProcess, stage: str) -> None:
    """Ends the process; where it measures kernels it is asked first, so that their times are kept."""
    if process.pid is None:  # it was not started
        return
    try:
        if stage == BUILDING and process.is_alive():
            process.terminate()
            process.join(_UNWIND)
    finally:
        process.kill()
        process.join()


def _result(request: Request, folder: Path, status: int, stage: str) -> dict[str, Any]:
    try:
        result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if status == _UNWRITTEN:
            raise _unwritable(request.model.name, "there is no room for it") from None
        raise _crashed(request, folder, status, stage) from None
    if "facts" in result:
        facts: dict[str, Any] = result["facts"]
        return facts
    error = result["error"]
    parts = {name: error[name] for name in ("received", "expected", "hint")}
    raise getattr(errors, error["kind"])(error["problem"], **parts) from BuilderError(
        error["trace"]
    )


def _child(request: Request, folder: Path, sender: Connection) -> None:
    """What runs in the child."""
    cancelled = threading.Event()
    _confine(folder, cancelled)

    def tell(stage: str, done: int, total: int | None) -> None:
        with contextlib.suppress(OSError):  # the parent has gone
            sender.send_bytes(json.dumps([stage, done, total]).encode())

    try:
        result: dict[str, Any] = {"facts": build_plan(request, folder, tell, cancelled)}
    except BaseException as error:
        result = {"error": _as_data(_translated(error, request), traceback.format_exc())}
    status = 0
    try:
        (folder / _RESULT).write_text(json.dumps(result), encoding="utf-8")
    except OSError:  # a full disk: what failed before this failed for the same reason
        status = _UNWRITTEN
    # TensorRT's and CUDA's libraries may crash on the way out; there is nothing left to do.
    os._exit(status)


def _confine(folder: Path, cancelled: threading.Event) -> None:
    log = os.open(folder / _LOG, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_await_sigterm, args=(cancelled,), daemon=True).start()
    threading.Thread(target=_follow_parent, daemon=True).start()


def _await_sigterm(cancelled: threading.Event) -> None:
    """A handler would run in the main thread only, which is deep in native code."""
    signal.sigwait({signal.SIGTERM})
    cancelled.set()


def _follow_parent() -> None:
    """Ends this process when the parent was killed and could not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _translated(error: BaseException, request: Request) -> EdgevisionError:
    if isinstance(error, EdgevisionError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return _unwritable(request.model.name, error.strerror)
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return BackendError(
        f"building {request.model.name} failed",
        received=printable(f"{type(error).__name__}: {first}", 400),
        hint="--debug shows where; --backend ort runs the model without an engine",
    )


def _unwritable(name: str, why: str) -> OutputError:
    return OutputError(
        f"the engine of {name} cannot be written: {why}",
        hint="make room there; --engine-dir puts engines somewhere else",
    )


def _as_data(error: EdgevisionError, trace: str) -> dict[str, str]:
    parts = {name: getattr(error, name) for name in ("problem", "received", "expected", "hint")}
    return {"kind": type(error).__name__, "trace": trace, **parts}


def _too_long(request: Request, seconds: float, stage: str) -> BackendError:
    return BackendError(
        f"building {request.model.name} was stopped",
        received=f"more than {duration_text(seconds)}, at the stage {stage!r}",
        hint="--seconds allows more; the next build is faster where kernel times were kept",
    )


def _crashed(request: Request, folder: Path, status: int, stage: str) -> BackendError:
    how = _how(status)
    last = _last_line(folder / _LOG)
    hint = "please report it with the model; --backend ort runs it"
    if how == "SIGKILL":
        hint = "most often memory ran out: close other programs, or --workspace MIB"
    elif request.timing_cache is not None and request.cc is None:  # native code reads them
        hint = f"--no-cache builds without the kernel times of earlier builds; if that crashes too: {hint}"
    return BackendError(
        f"TensorRT crashed while building {request.model.name}",
        received=f"its process ended with {how} at the stage {stage!r}"
        + (f"; last it said: {printable(last, 300)}" if last else ""),
        expected="an engine, or a refusal",
        hint=hint,
    )


def _how(status: int) -> str:
    try:
        return signal.Signals(-status).name if status < 0 else f"status {status}"
    except ValueError:  # a real-time signal has no name
        return f"signal {-status}"


def _last_line(log: Path) -> str:
    """What a library printed last; it may have printed without end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL))
            lines = file.read(_LOG_TAIL).decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
