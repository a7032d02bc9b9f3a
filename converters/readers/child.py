"""Runs a reader in a child process, with limits of time and memory, and gives its errors back as ours.

The child is started with multiprocessing's spawn. Its limits are the kernel's: ``RLIMIT_DATA`` counts what it
allocates, and not the address space that frameworks reserve without using it. What it prints goes into a file.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgevision import errors
from edgevision.converters.readers import KINDS, Facts, Kind, Request
from edgevision.errors import DependencyError, EdgevisionError, ModelError
from edgevision.text import printable

__all__ = ["Limits", "ReaderError", "read_in_child"]

_RESULT, _LOG = "result.json", "log.txt"
_GIB = 2**30
_THREADS = 4
#: What allocators say when the limit is reached and no MemoryError comes of it.
_NO_MEMORY = (
    "memoryerror",
    "allocate memory",
    "bad_alloc",
    "out of memory",
    "cannot allocate",
    "unable to allocate",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader may use.

    Attributes:
        seconds: From its start, importing the framework included.
        memory_gib: Memory that it allocates, GiB.
    """

    seconds: float = 600.0
    memory_gib: float = 8.0

    def __str__(self) -> str:
        return f"{self.seconds:g} s and {self.memory_gib:g} GiB"


class ReaderError(Exception):
    """Where the child failed: the cause of the error that is raised here, shown with ``--debug``."""


def read_in_child(request: Request, folder: Path, limits: Limits) -> Facts:
    """Runs the reader of ``request.kind``; what it writes lies in ``folder``.

    Args:
        request: What to read.
        folder: An empty folder.
        limits: When to stop it.

    Raises:
        EdgevisionError: The reader's own error, or that it was stopped or crashed.
    """
    context = multiprocessing.get_context("spawn")
    kind = KINDS[request.kind]
    process = context.Process(target=_child, args=(kind, request, folder, limits), daemon=True)
    process.start()
    try:
        process.join(limits.seconds)
        if process.is_alive():
            raise _stopped(request, limits, f"longer than {limits.seconds:g} s", "--reader-seconds")
    finally:
        process.kill()
        process.join()
    return _facts(request, folder, limits, process)


def _facts(request: Request, folder: Path, limits: Limits, process: BaseProcess) -> Facts:
    try:
        result = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _crashed(request, folder, limits, process.exitcode or 0) from None
    if "facts" in result:
        facts: Facts = result["facts"]
        return facts
    error = result["error"]
    if error["kind"] == "MemoryError":
        wrong: EdgevisionError = _stopped(
            request, limits, f"more than {limits.memory_gib:g} GiB of memory", "--reader-memory"
        )
    else:
        wrong = getattr(errors, error["kind"])(
            error["problem"],
            received=error["received"],
            expected=error["expected"],
            hint=error["hint"],
        )
    raise wrong from ReaderError(error["trace"])


def _child(kind: Kind, request: Request, folder: Path, limits: Limits) -> None:
    """What runs in the child; its result is a file, so that nothing is unpickled of what it made."""
    _confine(folder, limits)
    try:
        reader = importlib.import_module(kind.module)
        result: dict[str, Any] = {"facts": reader.read(request, folder)}
    except BaseException as error:
        result = {"error": _as_data(_translated(error, kind, request.path), traceback.format_exc())}
    (folder / _RESULT).write_text(json.dumps(result), encoding="utf-8")
    # Frameworks have threads and libraries that may hang or crash on the way out; there is nothing left to do.
    sys.stdout.flush()
    os._exit(0)


def _confine(folder: Path, limits: Limits) -> None:
    log = os.open(folder / _LOG, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    size, hard = int(limits.memory_gib * _GIB), resource.getrlimit(resource.RLIMIT_DATA)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    # Reading takes no accelerator, and a model that was saved on one is read without.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    # The stack of every thread counts, and sums are rounded by how they are divided among threads.
    os.environ["OMP_NUM_THREADS"] = str(min(_THREADS, os.cpu_count() or 1))


def _follow_parent() -> None:
    """Ends this process when the parent was killed and could not."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _translated(error: BaseException, kind: Kind, path: Path) -> BaseException:
    """An error of ours, or a MemoryError; what is neither becomes a `ModelError`."""
    if isinstance(error, EdgevisionError | MemoryError):
        return error
    said = str(error)
    if any(words in said.lower() for words in _NO_MEMORY):
        return MemoryError(said)
    if isinstance(error, ModuleNotFoundError):
        return DependencyError(
            f"reading {kind.title} needs {error.name}, which is not installed",
            hint=f"pip install 'edgevision[{kind.extra}]'",
        )
    first = next((line for line in said.splitlines() if line.strip()), "")
    return ModelError(
        f"{kind.framework} cannot read {path}",
        received=printable(f"{type(error).__name__}: {first}", 400),
        expected=f"{kind.title} that this version of {kind.framework} loads and exports",
        hint="--debug shows where it failed; or export it to ONNX where it was made, and convert that",
    )


def _as_data(error: BaseException, trace: str) -> dict[str, str]:
    parts = {
        name: str(getattr(error, name, "")) for name in ("problem", "received", "expected", "hint")
    }
    kind = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
    return {"kind": kind, "trace": trace, **parts}


def _stopped(request: Request, limits: Limits, what: str, option: str) -> ModelError:
    return ModelError(
        f"reading {request.path} was stopped",
        received=f"a reader that takes {what}",
        expected=f"at most {limits}",
        hint=f"{option} allows more, if you trust the file",
    )


def _crashed(request: Request, folder: Path, limits: Limits, status: int) -> ModelError:
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    log = folder / _LOG
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    last = next((line for line in reversed(lines) if line.strip()), "")
    if any(words in last.lower() for words in _NO_MEMORY):
        return _stopped(
            request, limits, f"more than {limits.memory_gib:g} GiB of memory", "--reader-memory"
        )
    return ModelError(
        f"reading {request.path} crashed {KINDS[request.kind].framework}",
        received=f"its process ended with {how}"
        + (f"; last it said: {printable(last)}" if last else ""),
        expected=f"a file that can be read within {limits}",
        hint="the file is damaged, or needs more memory than --reader-memory or this machine gives",
    )
