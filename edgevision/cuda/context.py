"""The GPU's primary context: retained once a process, pushed once by each thread that uses it, released at exit.

It is the context that CUDA's runtime, and so TensorRT, uses by itself. pycuda's ``autoinit`` would make another
one, tied to the thread that imports it; and a context that is still on a thread's stack when the thread or the
process ends makes pycuda abort the process. So each push here is paired with a pop, and exit comes last.

A context takes its memory with it. So it is left to the end of the process where somebody still reads outputs, such as
a daemon thread; and where the GPU is lost, for then nothing can be freed, and giving it up may hang.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from edgevision.cuda.driver import call
from edgevision.cuda.failures import explaining, lost, lost_error, not_started
from edgevision.cuda.library import pycuda_driver
from edgevision.cuda.memory import page_locked_in_use
from edgevision.errors import BackendError

__all__ = ["PrimaryContext", "primary_context"]

_lock = threading.Lock()
_contexts: list[PrimaryContext] = []


class PrimaryContext:
    """The primary context of the first GPU. Made by `primary_context`."""

    def __init__(self) -> None:
        cuda = pycuda_driver()
        try:
            self._context: Any = cuda.Device(0).retain_primary_context()
        except cuda.Error as error:
            raise not_started(error) from error
        self._threads = threading.local()
        self._owners: WeakSet[Any] = WeakSet()
        self._kept: list[Callable[[], object]] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The context is this thread's current one inside; entering again inside costs nothing.

        Raises:
            BackendError: The GPU has failed before, or the process is ending.
        """
        stack = self._enter()
        try:
            yield
        finally:
            # A generator may be finished by another thread than began it: the push is not on that one's stack.
            if stack is self._stack():
                self._leave()

    def opened(self, owner: Any) -> None:
        """Notes somebody who has work and memory here; ``owner.close()`` is called at exit if nobody did before."""
        self._owners.add(owner)

    def closed(self, owner: Any) -> None:
        """The owner's last `free` follows."""
        self._owners.discard(owner)

    def free(
        self, work: Iterable[Callable[[], object]], memory: Iterable[Callable[[], object]]
    ) -> None:
        """Calls what frees things, in order, in the context; a failure does not stop the others.

        A GPU that is lost refuses to free memory, and pycuda would complain of each piece: it is kept then.

        Args:
            work: Frees what uses memory: graphs, execution contexts, engines.
            memory: Frees buffers, events and streams, which are pycuda's.
        """
        entered = self._context is not None
        if entered:
            with suppress(Exception):  # a lost GPU may refuse it
                self._push()
        try:
            _each(work)
            if lost():
                self._kept += memory
            else:
                _each(memory)
        finally:
            if entered:
                self._leave()

    def release(self) -> None:
        """Closes what is open, pops what is pushed in this thread, and releases the context if it can be."""
        _each([owner.close for owner in self._owners])
        while self._stack().depth > 0:
            self._leave()
        if lost() or page_locked_in_use():
            # A reference that nobody gives back: Python's end would free the context, and what is kept, nevertheless.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        else:
            self._give_up()

    def _stack(self) -> _Stack:
        if not hasattr(self._threads, "life"):
            self._threads.life = _ThreadsLife(_Stack())
        found: _Stack = self._threads.life.stack
        return found

    def _enter(self) -> _Stack:
        if lost():
            raise lost_error()
        if self._context is None:
            raise BackendError("the GPU's context is released: the process is ending")
        with explaining("the GPU's context was entered"):
            return self._push()

    def _push(self) -> _Stack:
        stack = self._stack()
        if stack.depth == 0:
            self._context.push()
        stack.depth += 1
        return stack

    def _leave(self) -> None:
        stack = self._stack()
        stack.depth -= 1
        if stack.depth == 0:
            try:
                pycuda_driver().Context.pop()
            except Exception:
                if not lost():
                    raise

    def _give_up(self) -> None:
        """Releases the context, which this thread has left.

        pycuda pushes a context to detach it, and leaves it pushed; one that is current it only detaches. Its own
        stack forgets what is detached.
        """
        context, self._context = self._context, None
        if context is None:
            return
        with suppress(Exception):
            context.push()
            context.detach()
        call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


@dataclass(slots=True, eq=False)
class _Stack:
    """How often a thread has entered."""

    depth: int = 0


class _ThreadsLife:
    """Ends with the thread, whoever still has its stack in hand: what the thread has not left is popped then.

    Python drops what is local to a thread before pycuda looks at the thread's stack, and aborts the process.
    """

    def __init__(self, stack: _Stack) -> None:
        self.stack = stack
        self._thread = threading.get_ident()

    def __del__(self) -> None:
        # At the end of the process those of all threads are dropped in one; pycuda does not look then.
        if self.stack.depth > 0 and threading.get_ident() == self._thread:
            self.stack.depth = 0
            with suppress(Exception):
                pycuda_driver().Context.pop()


def primary_context() -> PrimaryContext:
    """This process's handle on the first GPU's primary context.

    Raises:
        BackendError: There is no usable GPU, or it has failed before.
    """
    with _lock:
        if lost():
            raise lost_error()
        if not _contexts:
            _contexts.append(PrimaryContext())
            # The first finalizer registers weakref's handler, behind which none is called any more; it has to be
            # registered before this one, for the last one is called first.
            weakref.finalize(_contexts[0], bool).atexit = False
            atexit.register(_release_all)
        return _contexts[0]


def _release_all() -> None:
    for context in _contexts:
        context.release()


def _each(steps: Iterable[Callable[[], object]]) -> None:
    for step in steps:
        with suppress(Exception):
            step()
