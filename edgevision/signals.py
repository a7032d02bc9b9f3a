"""Ctrl-C and SIGTERM: either finish what is in hand, or unwind at once; the exit status says which signal it was."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

__all__ = ["Interrupted", "Stop", "unwind_on_sigterm"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; ``exit_code`` is 130 for Ctrl-C and 143 for SIGTERM."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Stop:
    """While this is entered, the first signal only sets ``number``; a second one unwinds at once.

    Attributes:
        number: The signal that came, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, object] = {}

    @property
    def exit_code(self) -> int:
        return 128 + self.number if self.number else 0

    def __enter__(self) -> Stop:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            raise Interrupted(number)
        self.number = number


def unwind_on_sigterm() -> None:
    """From now on SIGTERM raises `Interrupted`, so that ``finally`` blocks clean up as they do for Ctrl-C."""

    def unwind(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    signal.signal(signal.SIGTERM, unwind)
