"""The GPU's primary context: retained once a process, pushed for the length of each call, given back by the driver.

It is the context that CUDA's runtime, and so TensorRT, uses by itself. pycuda's ``autoinit`` would make another
one, tied to the thread that imports it.

pycuda has a stack of contexts for each thread, and aborts the process if a thread ends while its stack holds one. A
daemon thread ends wherever it is when Python does. So no thread keeps the context between two calls, and the end of
the program waits for the calls that threads are in.

The context is never given up, as CUDA's runtime never gives up its own: it takes its memory with it, where a daemon
thread may still be reading outputs, and giving up that of a lost GPU may hang. The driver frees all with the process.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from threading import get_ident
from typing import Any
from weakref import WeakSet

from edgevision.clock import now_ns
from edgevision.cuda.failures import explained, lost, lost_error, not_started
from edgevision.cuda.library import pycuda_driver
from edgevision.errors import BackendError

__all__ = ["PrimaryContext", "primary_context"]

#: How long the end of the program waits for other threads' calls; only opening a model may take longer.
_PATIENCE_NS = 10 * 10**9
_NAP_S = 0.001

# A finalizer, which asks for the context, may run in the midst of any line, also of those that hold the lock.
_lock = threading.RLock()
_contexts: list[PrimaryContext] = []


class PrimaryContext:
    """The primary context of the first GPU. Made by `primary_context`."""

    def __init__(self) -> None:
        cuda = pycuda_driver()
        try:
            self._context: Any = cuda.Device(0).retain_primary_context()
        except cuda.Error as error:
            raise not_started(error) from error
        # A reference that nobody gives back. Python's end would free what is kept, and the context, for which pycuda
        # calls cuCtxDetach: CUDA does not allow that for a primary one.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        self._attachment = _Attachment(self)
        self._stack: Any = cuda.Context
        self._owners: WeakSet[Any] = WeakSet()
        self._kept: list[Callable[[], object]] = []
        #: The thread of each call that is under way.
        self._calls: list[int] = []
        #: The thread that ends the program.
        self._ender: int | None = None

    def attached(self) -> AbstractContextManager[None]:
        """The context is this thread's current one inside, which is to be left before the thread may end.

        Entering raises:
            BackendError: The GPU has failed before, or the process is ending.
        """
        return self._attachment

    def opened(self, owner: Any) -> None:
        """Notes somebody who has work and memory here; ``owner.close()`` is called at exit if nobody did before."""
        with _lock:
            self._owners.add(owner)

    def closed(self, owner: Any) -> None:
        """The owner's last `free` follows."""
        with _lock:
            self._owners.discard(owner)

    def free(
        self, work: Iterable[Callable[[], object]], memory: Iterable[Callable[[], object]]
    ) -> bool:
        """Calls what frees things, in order, in the context; a failure does not stop the others.

        A GPU that is lost refuses to free memory, and pycuda would complain of each piece: it is kept then. While
        the program ends, other threads' is left to the one that ends it.

        Args:
            work: Frees what uses memory: graphs, execution contexts, engines.
            memory: Frees buffers, events and streams.

        Returns:
            Whether the work was freed.
        """
        try:
            with self.attached():
                _each(work)
                if lost():
                    self._kept.extend(memory)
                else:
                    _each(memory)
        except BackendError:  # nothing can be freed here, or not by this thread
            self._kept.extend([*work, *memory])
            return False
        return True

    def release(self) -> None:
        """Ends the work on the GPU: waits for the calls of other threads, refuses more of them, closes what is open.

        A call that does not end waits for a GPU that hangs. To close something would be to wait, too: all is kept.
        """
        self._ender = get_ident()
        end = now_ns() + _PATIENCE_NS
        while self._busy() and now_ns() < end:
            time.sleep(_NAP_S)
        with _lock:
            closings = [owner.close for owner in self._owners]
        if self._busy():
            self._kept.extend(closings)
        else:
            _each(closings)
            if not lost():
                self.free(tuple(self._kept), [])
        while self._stack.get_current() == self._context:  # Ctrl-C came between a push and its pop
            self._stack.pop()

    def _busy(self) -> bool:
        """Whether another thread is in a call."""
        return any(thread != self._ender for thread in tuple(self._calls))

    def _enter(self) -> None:
        thread = get_ident()
        self._calls.append(thread)  # before the look at the ender, who looks at the calls
        try:
            if lost():
                raise lost_error()
            if self._ender not in (None, thread):
                raise BackendError("the GPU cannot be used any more: the process is ending")
            self._context.push()
        except BaseException as error:
            self._calls.remove(thread)
            if type(error).__module__.startswith("pycuda"):
                raise explained(error, "the GPU's context was entered") from error
            raise

    def _leave(self) -> None:
        try:
            self._stack.pop()
        except Exception:
            if not lost():
                raise
        finally:
            self._calls.remove(get_ident())


class _Attachment:
    """What `PrimaryContext.attached` gives: one for all threads, since nothing is kept in it. Entered for each call."""

    def __init__(self, context: PrimaryContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._context._enter()

    def __exit__(self, *_: object) -> None:
        self._context._leave()


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
