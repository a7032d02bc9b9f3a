"""Several models in one call: each in a process of its own, one after another, and a summary of all.

A model that fails, crashes or takes all memory stops no other, and memory does not grow from one to the next.
Ctrl-C and SIGTERM end the one in hand; what was finished before stays, and the summary says so.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgevision.cli import explained
from edgevision.clock import now_ns
from edgevision.converters.bundle_writer import json_text, leftovers, sweep, write_text
from edgevision.converters.orders import Job
from edgevision.converters.report.summary import (
    failed_entry,
    finished_entry,
    summary_json,
    summary_markdown,
)
from edgevision.errors import EdgevisionError, GateError
from edgevision.progress import Progress
from edgevision.signals import held_back, let_through, unwind_on_sigterm

__all__ = ["convert_many"]

_RESULT = "result.json"
_INTERRUPTED = {"kind": "Interrupted", "problem": "interrupted"}
#: Time for a child to unwind once it was told to end; what it left is then swept up here.
_UNWIND_S = 30.0
_KILLED = "most often this machine ran out of memory: a smaller --size, fewer --samples, or convert it alone"


def convert_many(
    jobs: Sequence[Job], folder: Path, progress: Progress, *, quiet: bool
) -> dict[str, Any]:
    """Converts one model after another.

    Args:
        jobs: Each with a place of its own below ``folder``.
        folder: Gets ``summary.json`` and ``summary.md`` too.
        progress: Told which model is in hand.
        quiet: The children show no progress of their own.

    Returns:
        What `summary_json` describes; it is written too, even if a signal ends the work.
    """
    entries: list[dict[str, Any]] = []
    try:
        for number, job in enumerate(jobs, 1):
            progress.say(f"[{number}/{len(jobs)}] {job.order.model}")
            entries.append(failed_entry(job, "interrupted", _INTERRUPTED))
            started = now_ns()
            entries[-1] = _convert(job, quiet=quiet) | {
                "seconds": round((now_ns() - started) / 1e9, 1)
            }
            _tell(entries[-1], progress)
    finally:
        rest = jobs[len(entries) :]
        entries += [failed_entry(job, "not run", _INTERRUPTED) for job in rest]
        summary = summary_json(entries)
        write_text(folder / "summary.json", json_text(summary))
        write_text(folder / "summary.md", summary_markdown(summary))
    return summary


def _tell(entry: dict[str, Any], progress: Progress) -> None:
    """An error is shown when it comes, and not an hour later."""
    error = entry["error"]
    for name in ("problem", "received", "expected", "hint") if error else ():
        if error.get(name):
            progress.say(f"  {'try' if name == 'hint' else name}: {error[name]}")


def _convert(job: Job, *, quiet: bool) -> dict[str, Any]:
    output = job.order.output
    before = leftovers(output)
    with tempfile.TemporaryDirectory(prefix="edgevision-") as name:
        place = Path(name)
        try:
            status = _run(job, place, quiet=quiet)
        finally:
            sweep(output, before)
        try:
            result = json.loads((place / _RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return failed_entry(job, "failed", _crashed(status))
    error = result["error"]
    if error is None or error["kind"] == GateError.__name__:
        return finished_entry(job, error)
    return failed_entry(job, "failed", error)


def _run(job: Job, place: Path, *, quiet: bool) -> int:
    """Runs a child to its end, or to ours; gives its exit status."""
    context = multiprocessing.get_context("spawn")
    # No daemon: it has children of its own, the readers.
    process = context.Process(target=_child, args=(job, place, quiet))
    try:
        with held_back():
            process.start()
        process.join()
    except BaseException:  # Ctrl-C, SIGTERM: the child unwinds first, so that it leaves nothing
        _end(process)
        raise
    return process.exitcode or 0


def _end(process: BaseProcess) -> None:
    if process.pid is None:  # it was not started
        return
    process.terminate()
    try:
        process.join(_UNWIND_S)
    finally:
        process.kill()
        process.join()


def _child(job: Job, place: Path, quiet: bool) -> None:
    """What runs in the child; its result is a file."""
    unwind_on_sigterm()
    let_through(signal.SIGTERM)  # not Ctrl-C: the parent tells
    threading.Thread(target=_follow_parent, daemon=True).start()
    tempfile.tempdir = str(place)  # what a crash leaves there goes away with the folder
    error = None
    try:
        _convert_here(job, quiet=quiet)
    except KeyboardInterrupt as interrupt:
        os._exit(int(getattr(interrupt, "exit_code", 130)))
    except BaseException as problem:
        error = _as_data(problem)
    (place / _RESULT).write_text(json.dumps({"error": error}), encoding="utf-8")


def _convert_here(job: Job, *, quiet: bool) -> None:
    import onnxruntime

    from edgevision.converters.convert import convert

    onnxruntime.set_default_logger_severity(4)  # errors reach us as exceptions, in our words
    with Progress(quiet=quiet) as progress:
        convert(job.order, progress)


def _follow_parent() -> None:
    """Unwinds this process when the parent was killed and could not tell it to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _as_data(problem: BaseException) -> dict[str, str]:
    known = problem if isinstance(problem, EdgevisionError) else explained(problem)
    if known is None:
        traceback.print_exception(problem)
        return {
            "kind": type(problem).__name__,
            "problem": f"a fault in edgevision: {type(problem).__name__}: {problem}",
            "received": "",
            "expected": "",
            "hint": "please report it with the model; convert it alone with --debug to see where",
        }
    parts = {
        name: str(getattr(known, name)) for name in ("problem", "received", "expected", "hint")
    }
    return {"kind": type(known).__name__, **parts}


def _crashed(status: int) -> dict[str, str]:
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return {
        "kind": "Crash",
        "problem": f"its process was ended by {how}",
        "received": "",
        "expected": "",
        "hint": _KILLED if how == "SIGKILL" else "convert it alone to see more",
    }
