"""Starts the sampling process beside a run, and reads what it left; the run goes on whatever becomes of it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from edgevision.benchmarks.sampling.timeline import Timeline, read_lines, timeline_of

__all__ = ["Sampler", "interval_for"]

#: So many samples at most in a run of known length.
_MOST_SAMPLES = 6000
_INTERVAL_S = 0.1
_READY_S = 10.0
_END_S = 5.0
_CODE = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from edgevision.benchmarks.sampling.process import sample_until_told
sample_until_told(sys.argv[2])"""


def interval_for(duration_s: float) -> float:
    """Ten samples a second; in long runs fewer, so that a record does not grow without a bound."""
    return max(_INTERVAL_S, duration_s / _MOST_SAMPLES)


class Sampler:
    """Samples this machine from entering until leaving; a context manager that can be entered once.

    The process writes into anonymous memory, a line at a time, so nothing here reads while the run goes on, and what
    was written stays when it is lost. It ends when this process ends, in whatever way: then its standard input is
    closed. It is in a session of its own, so that Ctrl-C does not reach it.

    Args:
        pid: The measured process; None is this one.
        interval_s: Between two samples.
        root: Where the file system begins; for tests.

    Attributes:
        problem: Why there is no timeline, or only a part of one; None if all went well.
        facts: What sensors say that does not change: sensor → JSON-ready.
    """

    def __init__(
        self, pid: int | None = None, interval_s: float = _INTERVAL_S, root: Path = Path("/")
    ) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._interval_s = interval_s
        self._root = root
        self._file = -1
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: list[Any] = []
        self.problem: str | None = None

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Of the sampling process; None if it was not started."""
        return None if self._child is None else self._child.pid

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self._lines[0]["facts"]) if self._lines else {}

    def start(self) -> None:
        """Returns when the first sample was taken, so that none of the start falls into the run."""
        try:
            self._file = _anonymous_file()
            self._child = self._started()
        except (OSError, ValueError) as error:
            self.problem = f"the sampler could not be started: {error}"
            return
        if not self._heard(self._child):
            self.problem = f"the sampler took no sample within {_READY_S:g} s"

    def stop(self) -> None:
        """Ends the process and reads what it wrote; does nothing the second time."""
        child, self._child = self._child, None
        if child is not None:
            self._end(child)
        if self._file >= 0:
            self._lines = read_lines(_content(self._file))
            os.close(self._file)
            self._file = -1

    def timeline(self, origin_ns: int, counted_s: float = 0.0) -> Timeline | None:
        """What was sampled, once it is stopped; None if nothing was.

        Args:
            origin_ns: The monotonic time that becomes 0, the first counted query's begin.
            counted_s: When the last counted query was complete, seconds after that.
        """
        return timeline_of(self._lines, origin_ns, counted_s)

    def _started(self) -> subprocess.Popen[bytes]:
        given = {
            "file": self._file,
            "pid": self._pid,
            "parent": os.getpid(),
            "interval_s": self._interval_s,
            "root": str(self._root),
            "most_samples": _MOST_SAMPLES,
        }
        path = [place or str(Path.cwd()) for place in sys.path]
        # -I: it looks in no current folder and in no user's; it gets this process's path instead.
        return subprocess.Popen(
            [sys.executable, "-I", "-c", _CODE, json.dumps(path), json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._file,),
            start_new_session=True,
        )

    def _heard(self, child: subprocess.Popen[bytes]) -> bool:
        """Waits until the process says that it is ready, or has ended: `_end` finds that out."""
        if child.stdout is None:
            return False
        with child.stdout:
            poll = select.poll()
            poll.register(child.stdout, select.POLLIN)
            return bool(poll.poll(_READY_S * 1000))

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        lost = child.poll()
        if child.stdin is not None:
            with suppress(OSError):
                child.stdin.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_END_S)
            self.problem = self.problem or f"the sampler did not end within {_END_S:g} s"
        if self.problem is None and (lost is not None or child.returncode != 0):
            self.problem = f"the sampler was lost: {_how(child.returncode)}"


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("edgevision-sampler")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _how(status: int | None) -> str:
    if status is None or status >= 0:
        return f"it ended with status {status}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-status).name}"
    return f"killed by signal {-status}"
