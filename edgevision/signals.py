"""Ctrl-C and SIGTERM: either finish what is in hand, or unwind at once; the exit status says which signal it was."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

__all__ = ["Interrupted", "Stop", "held_back", "let_through", "unwind_on_sigterm"]

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


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait while a child is started with multiprocessing, for then it could not be ended.

    The child has both blocked until it calls `let_through`: a terminal sends Ctrl-C to it too, and it has to load
    before it can say what is to become of it.
    """
    from multiprocessing import resource_tracker

    # It unblocks both where it is started, which is with the first child.
    resource_tracker.ensure_running()
    came: list[int] = []
    # What is blocked is for the child. Here another thread may take the signal, and Python then calls the handler.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.signal(n, lambda number, _: came.append(number)) for n in _SIGNALS}
    try:
        yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number in came:  # also where no child could be started
            signal.raise_signal(number)


def let_through(*numbers: int) -> None:
    """In a child that was started in `held_back`: these signals are heard again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
