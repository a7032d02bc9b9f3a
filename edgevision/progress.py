"""Progress of long work on stderr: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from types import TracebackType

from edgevision.clock import now_ns
from edgevision.streams import tell
from edgevision.text import printable

__all__ = ["Progress", "Tell", "duration_text", "silent"]

#: Told how far long work is: the stage, how much is done, of how much (None: unknown). A `Progress` is one.
Tell = Callable[[str, int, int | None], None]

_TERMINAL_NS = 100_000_000
_PLAIN_NS = 10_000_000_000
_LONGEST = 1000  # characters of a line


def silent(_stage: str, _done: int, _total: int | None) -> None:
    """A `Tell` that shows nothing."""


def duration_text(seconds: float) -> str:
    """``4.2 s``, ``3:07`` or ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Called as ``progress(stage, done, total)``; ``total`` is None when unknown.

    A stage's first call starts its clock, so elapsed and remaining are the stage's own.

    Args:
        quiet: Show nothing (``--json``).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._stage = ""
        self._started = self._shown = 0
        self._open = False

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if self._quiet:
            return
        now = now_ns()
        if stage != self._stage:
            self._end_line()
            self._stage, self._started = stage, now
            self._shown = 0 if self._terminal else now
        finished = total is not None and done >= total
        if not finished and now - self._shown < (_TERMINAL_NS if self._terminal else _PLAIN_NS):
            return
        self._shown = now
        self._print(_line(stage, done, total, (now - self._started) / 1e9))
        if finished:
            self._end_line()
            self._stage = ""

    def say(self, text: str) -> None:
        """One whole line."""
        if not self._quiet:
            self._end_line()
            tell(printable(text, _LONGEST))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_line()

    def _print(self, line: str) -> None:
        if not self._terminal:
            tell(line)
            return
        width = shutil.get_terminal_size().columns - 1
        tell("\r" + line[:width].ljust(width), end="")
        self._open = True

    def _end_line(self) -> None:
        if self._open:
            tell()
            self._open = False


def _line(stage: str, done: int, total: int | None, elapsed_s: float) -> str:
    if total is None:
        return f"{stage}: {done} · {duration_text(elapsed_s)}"
    parts = [f"{stage}: {done}/{total}", duration_text(elapsed_s)]
    if 0 < done < total:
        parts.append(f"{duration_text(elapsed_s * (total - done) / done)} left")
    return " · ".join(parts)
