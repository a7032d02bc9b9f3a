"""Asks libraries what they are, each in a process of its own that may crash or hang without harm.

Not multiprocessing: at its end it waits for its children without limit, and one that a driver holds in the kernel
cannot be killed. The child gets this process's ``sys.path`` and looks in no current folder, so it imports the same.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.doctor.questions import QUESTIONS
from edgevision.text import printable

__all__ = ["LIMIT_S", "Answer", "answer_in_child", "ask"]

#: For all questions together. A cold start of a large library from an SD card takes seconds.
LIMIT_S = 45.0
#: One that has long answered, but is read after another used up the time, needs a moment.
_GRACE_S = 0.5
_LONGEST = 400
_CODE = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from edgevision.doctor.ask import answer_in_child
answer_in_child(sys.argv[2])"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a library said.

    Attributes:
        facts: JSON-ready; empty if it said nothing.
        missing: It is not installed; otherwise, without facts, it failed.
        error: Why there are no facts.
    """

    facts: Mapping[str, Any]
    missing: bool = False
    error: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Answer:
        """From what the child wrote."""
        facts = data.get("facts")
        return cls(
            facts if isinstance(facts, Mapping) else {},
            data.get("missing") is True,
            printable(str(data.get("error", "")), _LONGEST),
        )


def ask(names: Iterable[str] = QUESTIONS, limit_s: float = LIMIT_S) -> dict[str, Answer]:
    """Asks all at once; every name has an answer within the limit.

    Args:
        names: Keys of `QUESTIONS`.
        limit_s: For all of them together.
    """
    children: dict[str, subprocess.Popen[bytes] | OSError] = {}
    until = time.monotonic() + limit_s
    try:
        for name in names:
            children[name] = _start(name)
        return {name: _collect(child, until, limit_s) for name, child in children.items()}
    finally:
        for child in children.values():
            if isinstance(child, subprocess.Popen):
                _end(child)


def answer_in_child(name: str) -> None:
    """What runs in the child: one line of JSON on the standard output it was started with."""
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # libraries print
    os.dup2(nowhere, 2)
    with suppress(AttributeError):  # not on Windows
        signal.alarm(int(LIMIT_S) + 15)  # the parent may have been killed
    try:
        answer: dict[str, Any] = {"facts": QUESTIONS[name]()}
    except ModuleNotFoundError as error:
        # One that is there, but lacks another, is not missing.
        own = str(error.name or name).partition(".")[0] in (name, "cv2", "tensorrt_rtx_bindings")
        answer = {"missing": own, "error": str(error)}
    except BaseException as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        answer = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"[:_LONGEST]}
    os.write(out, json.dumps(answer).encode())
    os._exit(0)  # a library may crash on the way out


def _start(name: str) -> subprocess.Popen[bytes] | OSError:
    path = json.dumps([place or str(Path.cwd()) for place in sys.path])
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _CODE, path, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # with what it starts, such as nvcc, it is ended as one
        )
    except OSError as error:
        return error


def _collect(child: subprocess.Popen[bytes] | OSError, until: float, limit_s: float) -> Answer:
    if isinstance(child, OSError):
        return Answer({}, error=f"no process could be started: {child.strerror}")
    try:
        text, _ = child.communicate(timeout=max(_GRACE_S, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return Answer({}, error=f"gave no answer within {limit_s:g} s")
    try:
        return Answer.of(json.loads(text))
    except (ValueError, AttributeError):
        return Answer({}, error=f"crashed: {_how(child.returncode)}")


def _how(status: int) -> str:
    try:
        return signal.Signals(-status).name if status < 0 else f"it ended with status {status}"
    except ValueError:
        return f"signal {-status}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends it if it still runs; one that the kernel does not let go is left behind."""
    if child.stdout is not None:
        child.stdout.close()
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)
