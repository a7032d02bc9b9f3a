"""One picture input on the device: raw frames go up, and the kernel makes rows of the tensor of them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.cuda.job import JOB, Job, Pixels
from edgevision.cuda.kernel import Kernel
from edgevision.cuda.memory import DeviceMemory, Twin, aligned
from edgevision.errors import DataError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.spec import InputSpec, TensorSpec

__all__ = ["KernelPictures"]

#: A row's memory: the job, then the frame, so that one copy brings both.
_PIXELS = aligned(JOB.itemsize)
#: Channels behind height and width, by format.
_INNER = {"bgr": (3,), "yuyv": (2,), "nv12": (), "gray": ()}


class KernelPictures:
    """The rows of one input tensor, each made from a frame.

    Args:
        spec: How; the kernel can do it.
        tensor: The input, with a shape of numbers.
        kernel: Does it.
        mapped: Whether the GPU reads frames from the host's memory in place.
    """

    def __init__(
        self, spec: InputSpec, tensor: TensorSpec, kernel: Kernel, *, mapped: bool
    ) -> None:
        rows, *inner = (int(dim) for dim in tensor.shape)
        first = 1 if spec.layout == "nchw" else 0
        self._row_bytes = int(np.prod(inner)) * np.dtype(tensor.dtype).itemsize
        self._kernel = kernel
        self._target = DeviceMemory(rows * self._row_bytes)
        self._cleared = False
        self._rows = [_Row(spec, (inner[first], inner[first + 1]), mapped) for _ in range(rows)]

    @property
    def target(self) -> int:
        """Address of the tensor."""
        return self._target.address

    def places(self) -> tuple[int, ...]:
        """Addresses that launches hold, 0 for rows that are left out; they change only when frames get larger."""
        return (self._target.address, *(row.place for row in self._rows))

    def load(self, image: Image, row: int, region: Affine | None, format: str) -> Transform:
        """Copies a frame to page-locked memory, and says what the kernel is to do with it.

        Args:
            image: uint8 ``(H, W, 3)`` for ``bgr``, ``(H, W)`` for ``gray``, ``(H * 3 / 2, W)`` for ``nv12``,
                ``(H, W, 2)`` for ``yuyv``; any strides; read before this returns.
            row: Of the tensor.
            region: The part of the frame to take.
            format: How the pixels are.

        Raises:
            DataError: It is no such picture, or it needs a tensor of another size.
        """
        return self._rows[row].load(image, region, format)

    def upload(self, stream: Any) -> None:
        """Copies what was loaded since the last time."""
        if not self._cleared:  # a row that is never loaded is zeros, as on the CPU path
            self._target.clear(stream)
            self._cleared = True
        for row in self._rows:
            row.upload(stream)

    def launch(self, stream: Any, rows: int) -> None:
        """Makes the first rows; those that were never loaded stay as they are."""
        for number, row in enumerate(self._rows[:rows]):
            if row.place and row.job is not None:
                place, target = row.place, self.target + number * self._row_bytes
                job = row.job
                self._kernel.launch(stream, place + _PIXELS, target, place, job.grid, job.block)

    def close(self) -> None:
        """Frees all; may be called twice."""
        for row in self._rows:
            with suppress(Exception):
                row.close()
        self._target.close()


class _Row:
    """A job and a frame in page-locked memory, and the same on the device.

    Attributes:
        job: Fills the memory's beginning; None before there is any.
        place: Address of the job on the device; 0 until a frame is loaded. A load that fails leaves the frame
            before it, or none where its memory is gone.
    """

    def __init__(self, spec: InputSpec, tensor_hw: tuple[int, int], mapped: bool) -> None:
        self._spec, self._hw = spec, tensor_hw
        self._twin = Twin(mapped=mapped)
        self.job: Job | None = None
        self.place = 0
        self._pixels: Pixels | None = None
        self._frame: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._fresh = False

    def load(self, image: Image, region: Affine | None, format: str) -> Transform:
        pixels = self._described(image, format)
        transform = self._job_before(pixels).fill(pixels, region)
        if pixels is not self._pixels:
            self._frame = self._twin.host[_PIXELS:][: pixels.size_bytes].reshape(image.shape)
            self._pixels = pixels
        np.copyto(self._frame, image)
        self._fresh = True
        self.place = self._twin.address
        return transform

    def upload(self, stream: Any) -> None:
        if self._fresh and self._pixels is not None:
            self._twin.upload(_PIXELS + self._pixels.size_bytes, stream)
            self._fresh = False

    def close(self) -> None:
        self._let_go()
        self._twin.close()

    def _described(self, image: Image, format: str) -> Pixels:
        known = self._pixels
        uint8 = image.dtype == np.uint8
        same = known is not None and known.format == format and image.shape == self._frame.shape
        if same and uint8 and known is not None:
            return known
        inner = _INNER.get(format)
        fine = inner is not None and image.ndim == 2 + len(inner) and image.shape[2:] == inner
        if not fine or not uint8 or (format == "nv12" and image.shape[0] % 3):
            raise DataError(
                "this is no picture that can be loaded",
                received=f"{image.dtype} {image.shape} as {format}",
                expected="uint8 (height, width, 3), blue-green-red",
                hint="cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) makes one of a grey picture",
            )
        height = image.shape[0] * 2 // 3 if format == "nv12" else image.shape[0]
        return Pixels.packed(format, image.shape[1], height)

    def _job_before(self, pixels: Pixels) -> Job:
        """The job, after there is memory for the frame behind it."""
        size = _PIXELS + pixels.size_bytes
        if self.job is None or size > self._twin.host.size:
            self._let_go()
            self._twin.reserve(size)
            record = self._twin.host[: JOB.itemsize]
            record[:] = 0
            self.job = Job(self._spec, self._hw, record.view(JOB))
        return self.job

    def _let_go(self) -> None:
        """Of the memory, which moves or is freed."""
        self.job = self._pixels = None
        self._frame = np.empty(0, np.uint8)
        self.place, self._fresh = 0, False
