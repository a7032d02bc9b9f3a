"""The pre-processing kernel, compiled for a GPU and loaded on it."""

from __future__ import annotations

from typing import Any

from edgevision.cuda.compile import binary
from edgevision.cuda.driver import Gpu
from edgevision.cuda.failures import explaining
from edgevision.cuda.job import KERNEL
from edgevision.cuda.library import pycuda_driver

__all__ = ["Kernel"]


class Kernel:
    """The loaded kernel; several slots may launch it. Made and closed in the GPU's context.

    Args:
        gpu: Which it is compiled for.

    Raises:
        EdgevisionError: It cannot be compiled here.
    """

    def __init__(self, gpu: Gpu) -> None:
        code = binary(gpu.sm, gpu.driver)
        with explaining("the pre-processing kernel was loaded"):
            self._module: Any = pycuda_driver().module_from_buffer(code)
            self._function: Any = self._module.get_function(KERNEL).prepare("PPP")

    def launch(
        self,
        stream: Any,
        source: int,
        target: int,
        job: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
    ) -> None:
        """Starts it on a stream, for one row.

        Args:
            stream: pycuda's stream.
            source: Address of the frame's pixels, on the device.
            target: Of the tensor's row.
            job: Of the `edgevision.cuda.job.JOB`.
            grid: Blocks.
            block: Threads of each.
        """
        self._function.prepared_async_call(grid, block, stream, source, target, job)

    def close(self) -> None:
        """Unloads it; may be called twice."""
        self._function = self._module = None
