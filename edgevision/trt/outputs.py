"""The output tensors of one slot of the backend ``trt``: in one block of memory, so that one copy brings them back.

An output whose size depends on the data is asked for by TensorRT while it runs, and copied once its size is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.cuda.memory import Twin, aligned
from edgevision.spec import TensorSpec
from edgevision.trt.library import Library

__all__ = ["Outputs"]


class Outputs:
    """The outputs of one slot.

    Args:
        library: TensorRT.
        context: Its execution context, with the shapes of all inputs set; it is told where they are by `bind`.
        tensors: The engine's outputs.
        mapped: Whether the GPU writes into the host's memory in place.

    Attributes:
        arrays: By name, views that stay; those of data-dependent size change with each `collect`.
    """

    def __init__(
        self, library: Library, context: Any, tensors: Mapping[str, TensorSpec], *, mapped: bool
    ) -> None:
        shapes = {name: tuple(context.get_tensor_shape(name)) for name in tensors}
        fixed = {name: shape for name, shape in shapes.items() if min(shape, default=0) >= 0}
        dtypes = {name: np.dtype(tensor.dtype) for name, tensor in tensors.items()}
        sizes = {name: _bytes(shape, dtypes[name]) for name, shape in fixed.items()}
        # TensorRT wants an address of its own also for an output of no elements.
        places = {name: aligned(max(1, size)) for name, size in sizes.items()}
        self._block = Twin(sum(places.values()), mapped=mapped)
        self.arrays: dict[str, NDArray[Any]] = {}
        self._offsets: dict[str, int] = {}
        offset = 0
        for name, size in sizes.items():
            part = self._block.host[offset : offset + size]
            self.arrays[name] = part.view(dtypes[name]).reshape(fixed[name])
            self._offsets[name] = offset
            offset += places[name]
        self._open = {
            name: _open_output(library, dtypes[name]) for name in tensors if name not in fixed
        }
        self.arrays |= {name: np.zeros((0,), dtypes[name]) for name in self._open}

    @property
    def settled(self) -> bool:
        """Whether all sizes are known before a run, so that it can be captured."""
        return not self._open

    def bind(self, context: Any, take: Callable[[bool, str], None]) -> None:
        """Tells an execution context where the outputs go; ``take`` raises where it does not accept one."""
        for name, offset in self._offsets.items():
            accepted = context.set_tensor_address(name, self._block.address + offset)
            take(accepted, f"the address of {name}")
        for name, output in self._open.items():
            take(context.set_output_allocator(name, output), f"an allocator for {name}")

    def download(self, stream: Any) -> None:
        """Copies what has a known size back to the host."""
        if self._block.host.size:
            self._block.download(self._block.host.size, stream)

    def collect(self, stream: Any) -> None:
        """After a run has ended: fetches what had no known size before."""
        for name, output in self._open.items():
            self.arrays[name] = output.fetch(stream)
        if self._open:
            stream.synchronize()

    def close(self) -> None:
        """Frees all; may be called twice. Arrays that somebody keeps stay readable, and `arrays` become copies."""
        self.arrays.update({name: array.copy() for name, array in self.arrays.items()})
        self._block.close()
        for output in self._open.values():
            output.memory.close()


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _open_output(library: Library, dtype: np.dtype[Any]) -> Any:
    """An allocator for one output; its class derives from TensorRT's, which is only known now."""

    class OpenOutput(library.module.IOutputAllocator):  # type: ignore[misc, name-defined]
        """Memory that TensorRT asks for while it runs; it grows, and is never captured in a graph."""

        def __init__(self) -> None:
            library.module.IOutputAllocator.__init__(self)
            self.memory = Twin()
            self.shape: tuple[int, ...] = (0,)

        def reallocate_output(
            self, tensor_name: str, memory: int, size: int, alignment: int
        ) -> int:
            del tensor_name, memory, alignment  # what the driver gives is aligned to 256
            try:
                self.memory.reserve(max(1, size))
            except (
                Exception
            ):  # it finds no way through native code; at 0 TensorRT fails, and says so
                return 0
            return self.memory.address

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            del stream  # the slot was idle when the run began: nothing uses the old memory
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            del tensor_name
            self.shape = tuple(shape)

        def fetch(self, stream: Any) -> NDArray[Any]:
            size = _bytes(self.shape, dtype)
            if size:
                self.memory.download(size, stream)
            return self.memory.host[:size].view(dtype).reshape(self.shape)

    return OpenOutput()
