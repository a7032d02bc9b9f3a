"""What the kernel in ``preprocess.cu`` is told: where a frame lies in memory, and how it becomes a row of the tensor.

A `Job` is made once for a slot's input and filled for each frame; its ``record`` is what the kernel reads. It takes
the geometry of `edgevision.preprocess`, so that the tensor is the one that the CPU path makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.preprocess import Fit, fit_into, gain_and_offset
from edgevision.spec import InputSpec

__all__ = ["FORMATS", "JOB", "KERNEL", "Job", "Pixels", "supports"]

#: The kernel's name in the compiled file.
KERNEL = "edgevision_preprocess"

# The orders are those of the enums in preprocess.cu.
FORMATS = ("bgr", "nv12", "yuyv", "gray")
_COLOURS = ("rgb", "bgr", "gray")
_LAYOUTS = ("nchw", "nhwc")
_TYPES = ("float32", "float16", "uint8", "int32")

#: ``struct Job`` of preprocess.cu.
JOB = np.dtype(
    [
        *((name, "<i8") for name in ("column_x", "column_y", "column_0")),
        *((name, "<i8") for name in ("row_x", "row_y", "row_0")),
        *((name, "<i4") for name in ("tensor_width", "tensor_height")),
        *((name, "<i4") for name in ("left", "top", "right", "bottom")),
        *((name, "<i4") for name in ("first_column", "first_row", "last_column", "last_row")),
        *((name, "<i4") for name in ("width", "height", "stride", "chroma")),
        *((name, "<i4") for name in ("format", "colour", "layout", "type")),
        ("pad", "<i4"),
        ("gain", "<f4", 3),
        ("offset", "<f4", 3),
        ("unused", "<i4", 3),
    ],
    align=True,
)
_MATRIX = ("column_x", "column_y", "column_0", "row_x", "row_y", "row_0")

#: Positions are in 2^-40 pixels: their upper 32 bits are in 1/256 pixels, the weights' unit.
_UNIT = float(1 << 40)
#: So a sample may lie this far from the frame's corner, in pixels, with room to spare.
_FARTHEST = float(1 << 22)
#: The kernel counts the elements of a row of the tensor in 32 bits.
_MOST_ELEMENTS = 1 << 31
#: Threads of a block: a warp is a run of 32 columns.
_BLOCK = (32, 8, 1)
#: Rows that one thread works on: reading the job costs about as much as one of them.
_ROWS = 4


def supports(spec: InputSpec) -> str | None:
    """Why the kernel cannot do what a spec says, so that the CPU path has to; None if it can."""
    if spec.antialias:
        return "antialias averages areas; the kernel takes the four nearest pixels"
    if spec.interpolation != "linear":
        return f"interpolation {spec.interpolation!r}; the kernel knows 'linear' only"
    return None


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a frame lies in memory.

    Attributes:
        format: ``bgr``, ``gray``, ``nv12`` or ``yuyv``, as in `edgevision.frame.Frame`. The last two are BT.601 in
            studio range, as in OpenCV.
        width: In pixels; even for ``nv12`` and ``yuyv``.
        height: In pixels; even for ``nv12``.
        stride: Bytes from one row to the next.
        chroma: For ``nv12``: the byte at which the rows of U and V begin; 0 elsewhere.
    """

    format: str
    width: int
    height: int
    stride: int
    chroma: int = 0

    def __post_init__(self) -> None:
        row = self.row_bytes
        fine = self.format in FORMATS and self.width > 0 and self.height > 0 and self.stride >= row
        if self.format in ("nv12", "yuyv"):
            fine = fine and self.width % 2 == 0
        if self.format == "nv12":
            fine = (
                fine
                and self.height % 2 == 0
                and self.chroma >= self.stride * (self.height - 1) + row
            )
        if (
            not fine
            or max(self.stride, self.chroma) >= 1 << 31
            or max(self.width, self.height) > _FARTHEST
        ):
            raise DataError(
                "this is no frame that can be loaded",
                received=f"{self.format} {self.width}×{self.height}, stride {self.stride}, chroma at {self.chroma}",
                expected="bgr or gray, or nv12 or yuyv with an even width; rows that do not overlap",
            )

    @classmethod
    def packed(cls, format: str, width: int, height: int) -> Pixels:
        """Of rows without gaps."""
        stride = width * {"bgr": 3, "yuyv": 2}.get(format, 1)
        return cls(format, width, height, stride, stride * height if format == "nv12" else 0)

    @classmethod
    def of(cls, image: Image, format: str = "bgr") -> Pixels:
        """Of a picture: uint8, of the shape that `edgevision.frame.Frame` says.

        Raises:
            DataError: It is no such picture, or the pixels of its rows do not lie side by side.
        """
        inner = {"bgr": (3, 1), "yuyv": (2, 1), "nv12": (1,), "gray": (1,)}.get(format, ())
        shape, strides = image.shape, image.strides
        fine = image.dtype == np.uint8 and image.ndim == len(inner) + 1 and strides[1:] == inner
        fine = fine and image.size > 0 and strides[0] > 0 and shape[2:] == inner[:-1]
        if not fine or (format == "nv12" and shape[0] % 3):
            raise DataError(
                "this is no frame that can be loaded",
                received=f"{image.dtype} {shape} with strides {strides} as {format}",
                expected="uint8: bgr (height, width, 3), gray (height, width), nv12 (height * 3 / 2, width), "
                "yuyv (height, width, 2)",
            )
        height = shape[0] * 2 // 3 if format == "nv12" else shape[0]
        chroma = strides[0] * height if format == "nv12" else 0
        return cls(format, shape[1], height, strides[0], chroma)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row that hold pixels."""
        return self.width * {"bgr": 3, "yuyv": 2}.get(self.format, 1)

    @property
    def size_bytes(self) -> int:
        """From the first byte to the last one that holds a pixel."""
        if self.format == "nv12":
            return self.chroma + self.stride * (self.height // 2 - 1) + self.row_bytes
        return self.stride * (self.height - 1) + self.row_bytes


class Job:
    """Fills the kernel's struct for one row of an input; owned by a slot, used by one thread at a time.

    Args:
        spec: The input spec; `supports` has nothing against it.
        tensor_hw: Height and width of the tensor.
        record: Where to write: one `JOB`, such as in page-locked memory; the default is memory of its own.

    Raises:
        DataError: The tensor has more elements than the kernel counts.

    Attributes:
        record: `JOB`, of shape ``()``: the bytes for the device, at an address that is a multiple of 16.
        changes: How often the bytes changed: those of frame after frame stay, and need not be copied again.
        block: Threads of a block.
        grid: Blocks of a launch for one row of the tensor.
    """

    def __init__(
        self, spec: InputSpec, tensor_hw: tuple[int, int], record: NDArray[Any] | None = None
    ) -> None:
        self.record: NDArray[Any] = np.zeros((), JOB) if record is None else record.reshape(())
        self.changes = 0
        self.block = _BLOCK
        height, width = self._hw = tensor_hw
        if spec.channels * height * width >= _MOST_ELEMENTS:
            raise DataError(
                "the input tensor is too large",
                received=f"{spec.channels}×{height}×{width}",
                expected=f"fewer than {_MOST_ELEMENTS} elements",
                hint="set 'max_size' in the input spec",
            )
        self.grid = (-(-width // _BLOCK[0]), -(-height // (_BLOCK[1] * _ROWS)), 1)
        self._spec = spec
        self._filled: tuple[Pixels, Affine | None, Transform] | None = None
        self._write_constants()

    def fill(self, pixels: Pixels, region: Affine | None = None) -> Transform:
        """Tells the kernel to load a frame, or a region of it.

        Args:
            pixels: How the frame lies in the memory that the kernel is given.
            region: The part to take; the default is all of it. What lies outside the frame is padding. Its
                matrix is not changed while the same region is passed again.

        Returns:
            The way back from tensor pixels to the frame's pixels.

        Raises:
            DataError: The frame needs a tensor of another size, or the region lies too far out; the record is as
                it was.
        """
        if self._filled is not None and self._filled[1] is region and self._filled[0] == pixels:
            return self._filled[2]
        height, width = (
            (pixels.height, pixels.width) if region is None else (region.height, region.width)
        )
        place = fit_into(self._spec, height, width, self._hw)
        transform = place.transform(region, pixels.height, pixels.width)
        samples = self._samples(transform)  # refused before anything is written
        for name, number in zip(_MATRIX, samples, strict=True):
            self.record[name] = number
        self._write_places(place, pixels, region)
        self._filled = (pixels, region, transform)
        self.changes += 1
        return transform

    def _write_constants(self) -> None:
        spec, record = self._spec, self.record
        record["tensor_height"], record["tensor_width"] = self._hw
        record["colour"] = _COLOURS.index(spec.colour)
        record["layout"] = _LAYOUTS.index(spec.layout)
        record["type"] = _TYPES.index(spec.dtype)
        record["pad"] = spec.pad_value
        gain, offset = gain_and_offset(spec)
        record["gain"][: spec.channels] = gain
        record["offset"][: spec.channels] = offset

    def _samples(self, transform: Transform) -> list[int]:
        """Where the tensor's pixels are in the frame: `_MATRIX`."""
        height, width = self._hw
        numbers: list[int] = []
        for a, b, c in transform.to_source.tolist():
            # Samples are at pixels' centres, and so are the frame's pixels.
            c += 0.5 * a + 0.5 * b - 0.5
            far = abs(a) * width + abs(b) * height + abs(c)
            if not far < _FARTHEST:  # not a number, too
                raise DataError(
                    "the region lies too far from the frame",
                    received=f"samples up to {far:.4g} pixels away",
                    expected=f"less than {_FARTHEST:.0f}",
                )
            numbers += (round(a * _UNIT), round(b * _UNIT), round(c * _UNIT))
        return numbers

    def _write_places(self, place: Fit, pixels: Pixels, region: Affine | None) -> None:
        record = self.record
        x, y, width, height = place.place
        record["left"], record["right"] = x, x + width
        record["top"], record["bottom"] = y, y + height
        # A resized cut sees nothing beyond its border. A turned region has no upright border: it sees the frame,
        # and one pixel beyond, which is padding.
        columns, rows = (-1, pixels.width), (-1, pixels.height)
        corner = (0, 0) if region is None else region.rectangle()
        if corner is not None:
            x, y, width, height = place.cut
            columns = (corner[0] + x, corner[0] + x + width - 1)
            rows = (corner[1] + y, corner[1] + y + height - 1)
        record["first_column"], record["last_column"] = columns
        record["first_row"], record["last_row"] = rows
        record["width"], record["height"] = pixels.width, pixels.height
        record["stride"], record["chroma"] = pixels.stride, pixels.chroma
        record["format"] = FORMATS.index(pixels.format)
