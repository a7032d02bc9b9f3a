"""CUDA graphs: what a stream is given again and again, captured once and then started by one call.

pycuda has no functions for them, so these are the driver's own, by ctypes.
https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__GRAPH.html
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from edgevision.cuda.driver import call, code_text
from edgevision.cuda.failures import checked
from edgevision.errors import BackendError

__all__ = ["Graph", "Replay"]

# CUstreamCaptureMode: what other threads do meanwhile does not spoil the capture.
_THREAD_LOCAL = 1
#: The collector is one for all threads: one would turn it on again while another still captures.
_capturing = threading.Lock()


class Graph:
    """Work that was captured on a stream, ready to be started."""

    def __init__(self, executable: ctypes.c_void_p) -> None:
        self._executable = executable

    @classmethod
    def capture(cls, stream: int, work: Callable[[], None]) -> Graph:
        """What ``work`` gives to a stream; nothing of it is run.

        Args:
            stream: The handle of a stream that is idle.
            work: Gives it work; may neither allocate nor wait.

        Raises:
            BackendError: The work cannot be captured. The stream is as it was before.
            Exception: What ``work`` raises.
        """
        with _capturing, _no_collection():
            graph = _captured(ctypes.c_void_p(stream), work)
        return cls(_instantiated(graph))

    def launch(self, stream: int) -> None:
        """Gives the whole of it to a stream."""
        checked(
            call("cuGraphLaunch", self._executable, ctypes.c_void_p(stream)),
            "the captured work was started",
        )

    def close(self) -> None:
        """Frees it; may be called twice."""
        executable, self._executable = self._executable, ctypes.c_void_p()
        if executable:
            call("cuGraphExecDestroy", executable)


class Replay:
    """Gives work to a stream: the first time as it is, then captured, from then on as a graph.

    The first time has to be direct: TensorRT settles its buffers in it. Work with another key is other work; each
    key keeps its graph. Where a capture fails, all work is given directly from then on, and `note` says why.

    Attributes:
        captures: How often something was captured.
        replays: How often a graph was started.
        note: Why nothing is captured; empty while it is.
    """

    def __init__(self, stream: Any, *, note: str = "") -> None:
        self._stream = int(stream.handle)
        self._graphs: dict[Hashable, Graph | None] = {}
        self.captures = self.replays = 0
        self.note = note

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Gives the work to the stream.

        Args:
            key: Tells work that differs by more than what lies in its buffers.
            work: Gives it to the stream, call by call.
        """
        if self.note or key not in self._graphs:
            work()
            if not self.note:
                self._graphs[key] = None
            return
        graph = self._graphs[key] or self._captured(key, work)
        if graph is None:
            work()
            return
        graph.launch(self._stream)
        self.replays += 1

    def forget(self) -> None:
        """Frees all graphs: addresses they hold have changed."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()

    def _captured(self, key: Hashable, work: Callable[[], None]) -> Graph | None:
        try:
            graph = Graph.capture(self._stream, work)
        except (
            Exception
        ) as error:  # whatever it was: directly given, the work shows what is really wrong
            self.forget()
            self.note = f"no CUDA graph: {getattr(error, 'problem', error)}"
            return None
        self.captures += 1
        self._graphs[key] = graph
        return graph


@contextmanager
def _no_collection() -> Iterator[None]:
    """The collector may free a buffer, which a capturing thread is not allowed to."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _captured(stream: ctypes.c_void_p, work: Callable[[], None]) -> ctypes.c_void_p:
    graph = ctypes.c_void_p()
    code = call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
    if code != 0:
        raise BackendError(f"the capture cannot begin: {code_text(code)}")
    try:
        work()
    except BaseException:
        call("cuStreamEndCapture", stream, ctypes.byref(graph))
        _destroy_graph(graph)
        raise
    code = call("cuStreamEndCapture", stream, ctypes.byref(graph))
    if code != 0:
        _destroy_graph(graph)
        raise BackendError(f"the capture was not completed: {code_text(code)}")
    return graph


def _instantiated(graph: ctypes.c_void_p) -> ctypes.c_void_p:
    executable = ctypes.c_void_p()
    code = call(
        "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0)
    )
    _destroy_graph(graph)
    if code != 0:
        raise BackendError(f"the captured work cannot be made ready: {code_text(code)}")
    return executable


def _destroy_graph(graph: ctypes.c_void_p) -> None:
    if graph:
        call("cuGraphDestroy", graph)
