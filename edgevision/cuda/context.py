"""The GPU's primary context: retained once a process, pushed once by each thread that uses it, released at exit.

It is the context that CUDA's runtime, and so TensorRT, uses by itself. pycuda's ``autoinit`` would make another
one, tied to the thread that imports it; and a context that is still on a thread's stack when the thread or the
process ends makes pycuda abort the process. So each push here is paired with a pop, and exit comes last.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

from edgevision.cuda.driver import call
from edgevision.cuda.failures import explaining, lost, lost_error
from edgevision.cuda.library import pycuda_driver
from edgevision.errors import BackendError

__all__ = ["PrimaryContext", "primary_context"]

_lock = threading.Lock()
_contexts: list[PrimaryContext] = []


class PrimaryContext:
    """The primary context of one GPU. Made by `primary_context`."""

    def __init__(self, ordinal: int) -> None:
        cuda = pycuda_driver()
        with explaining("the GPU's context was made"):
            self._context: Any = cuda.Device(ordinal).retain_primary_context()
        self._depth = threading.local()
        self._owners: WeakSet[Any] = WeakSet()
        self._left: list[Callable[[], object]] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The context is this thread's current one inside; entering again inside costs nothing.

        Raises:
            BackendError: The GPU has failed before, or the process is ending.
        """
        thread = threading.get_ident()
        self._enter()
        try:
            yield
        finally:
            # A generator that is dropped may be finished by another thread: its push is not on that one's stack.
            if threading.get_ident() == thread:
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

        A GPU that is lost refuses to free memory, and pycuda would complain of each piece. It is freed with the
        context then, which is given up when the last owner has freed its work.

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
            if not lost():
                _each(memory)
            else:
                self._left += memory
                if not self._owners:
                    self._give_up()
        finally:
            if entered:
                self._leave()

    def release(self) -> None:
        """Closes what is open, pops what is pushed in this thread, and releases the context."""
        for owner in list(self._owners):
            owner.close()
        while self._count() > 0:
            self._leave()
        self._give_up()

    def _count(self) -> int:
        return int(getattr(self._depth, "count", 0))

    def _enter(self) -> None:
        if lost():
            raise lost_error()
        if self._context is None:
            raise BackendError("the GPU's context is released: the process is ending")
        with explaining("the GPU's context was entered"):
            self._push()

    def _push(self) -> None:
        if self._count() == 0:
            self._context.push()
        self._depth.count = self._count() + 1

    def _leave(self) -> None:
        if self._count() == 0:  # given up in this thread
            return
        self._depth.count = self._count() - 1
        if self._depth.count == 0:
            try:
                pycuda_driver().Context.pop()
            except (
                Exception
            ):  # given up by another thread: off the driver's stack it is all the same
                if self._context is not None and not lost():
                    raise

    def _give_up(self) -> None:
        """Releases the context, with nothing of this thread left on any stack.

        pycuda pushes a context to detach it, and leaves it pushed; one that is current it only detaches. Its own
        stack forgets what is detached.
        """
        context, self._context = self._context, None
        if context is None:
            return
        with suppress(Exception):
            if self._count() == 0:
                context.push()
            context.detach()
        self._depth.count = 0
        call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        _each(self._left)  # pycuda takes no step for memory of a context that is detached
        self._left.clear()


def primary_context(ordinal: int = 0) -> PrimaryContext:
    """This process's handle on a GPU's primary context.

    Raises:
        BackendError: There is no usable GPU, or it has failed before.
    """
    with _lock:
        if lost():
            raise lost_error()
        if not _contexts:
            _contexts.append(PrimaryContext(ordinal))
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
