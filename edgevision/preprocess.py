"""Writes a picture into an input tensor as an `InputSpec` says, on the CPU, into buffers that stay.

The way is: cut, resize to uint8 (OpenCV), split the channels, convert, scale. Padding is written once and
stays until the geometry changes, so only the pixels of the picture are touched for each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.spec import InputSpec

__all__ = ["Fit", "Preprocessor", "fit", "fit_into", "gain_and_offset", "one_thread", "tensor_size"]

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    # The exact one gives the same bits on every processor and allocates a third (measured:
    # docs/performance.md); it lies within one grey level of INTER_LINEAR.
    "linear": cv2.INTER_LINEAR_EXACT,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
#: Factors at which 1 / (1 / k) is k again in floating point.
_ODD = (3, 5, 7)


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a picture goes: the part that is cut out of it, and the place it takes in the tensor.

    Attributes:
        cut: ``(x, y, width, height)`` in the picture.
        place: ``(x, y, width, height)`` in the tensor.
        tensor_hw: Height and width of the tensor.
    """

    cut: tuple[int, int, int, int]
    place: tuple[int, int, int, int]
    tensor_hw: tuple[int, int]

    def matrix(self) -> NDArray[np.float64]:
        """float64 ``(2, 3)``: tensor pixels → picture pixels."""
        (cx, cy, cw, ch), (px, py, pw, ph) = self.cut, self.place
        sx, sy = cw / pw, ch / ph
        return np.array([[sx, 0.0, cx - px * sx], [0.0, sy, cy - py * sy]])

    def transform(self, region: Affine | None, height: int, width: int) -> Transform:
        """The way back from tensor pixels to a picture of ``height × width``, where this places a region of it."""
        matrix = self.matrix()
        if region is not None:
            # Plain numbers: a product of such small matrices costs numpy ten times as much.
            (sx, _, left), (_, sy, top) = matrix.tolist()
            matrix = np.array(
                [
                    [a * sx, b * sy, a * left + b * top + offset]
                    for a, b, offset in region.matrix.tolist()
                ]
            )
        return Transform(matrix, width, height, self.tensor_hw)


def tensor_size(spec: InputSpec, height: int, width: int) -> tuple[int, int]:
    """The tensor's ``(height, width)`` for a picture: the spec's own, or the next multiple that holds it."""
    if spec.size is not None:
        return spec.size
    m = spec.multiple_of
    ratio = 1.0
    if spec.max_size is not None:
        ratio = min(1.0, spec.max_size[0] / height, spec.max_size[1] / width)
    fitted = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    up = (-(-fitted[0] // m) * m, -(-fitted[1] // m) * m)
    if spec.max_size is None:
        return up
    # A maximum that is no multiple itself still bounds the tensor: the largest multiple below it.
    most = (max(m, spec.max_size[0] // m * m), max(m, spec.max_size[1] // m * m))
    return min(up[0], most[0]), min(up[1], most[1])


@lru_cache(maxsize=64)
def fit(spec: InputSpec, height: int, width: int) -> Fit:
    """Places a picture of ``height × width`` in the tensor."""
    th, tw = tensor_size(spec, height, width)
    whole = (0, 0, width, height)
    if spec.resize == "stretch":
        return Fit(whole, (0, 0, tw, th), (th, tw))
    if spec.resize == "centre-crop":
        ratio = min(height / th, width / tw) * spec.crop_fraction
        ch, cw = max(1, round(th * ratio)), max(1, round(tw * ratio))
        return Fit(
            ((width - cw + 1) // 2, (height - ch + 1) // 2, cw, ch), (0, 0, tw, th), (th, tw)
        )
    ratio = min(th / height, tw / width)
    if spec.size is None:
        ratio = min(ratio, 1.0)  # a tensor sized after the picture pads it, it never enlarges it
    ph, pw = max(1, round(height * ratio)), max(1, round(width * ratio))
    px, py = ((tw - pw) // 2, (th - ph) // 2) if spec.pad_side == "both" else (0, 0)
    return Fit(whole, (px, py, pw, ph), (th, tw))


def fit_into(spec: InputSpec, height: int, width: int, tensor_hw: tuple[int, int]) -> Fit:
    """Places a picture in a tensor that is there already.

    Raises:
        DataError: The picture needs one of another size.
    """
    place = fit(spec, height, width)
    if place.tensor_hw != tensor_hw:
        raise DataError(
            "the picture needs a tensor of another size",
            received=f"{place.tensor_hw[0]}×{place.tensor_hw[1]} for {width}×{height} pixels",
            expected=f"{tensor_hw[0]}×{tensor_hw[1]}",
            hint="make a slot for that size",
        )
    return place


class Preprocessor:
    """Loads pictures into one preallocated tensor; owned by a slot, used by one thread at a time.

    Args:
        spec: The input spec.
        tensor: The input's buffer, ``(rows, *spec.tensor_shape(h, w))`` in the spec's dtype; written in place.
    """

    def __init__(self, spec: InputSpec, tensor: NDArray[Any]) -> None:
        self._spec = spec
        self._tensor = tensor
        self._nchw = spec.layout == "nchw"
        self._hw: tuple[int, int] = tensor.shape[2:4] if self._nchw else tensor.shape[1:3]
        self._fits: list[Fit | None] = [None] * len(tensor)
        # Such a tensor holds the picture itself: nothing is converted, and OpenCV writes into it.
        self._plain = tensor.dtype == np.uint8 and spec.colour != "gray"
        self._gain, self._offset = gain_and_offset(spec)
        self._pixels = np.empty(0, np.uint8)
        self._numbers = np.empty(0, np.float32)
        self._picture = np.empty((0, 0, 3), np.uint8)
        self._planes: list[Image] = []
        self._wide = np.empty((0, 0), np.float32)
        self._cut = np.empty(0, np.uint8)

    def load(self, image: Image, row: int = 0, region: Affine | None = None) -> Transform:
        """Writes a picture, or a region of it, into a row of the tensor.

        Args:
            image: uint8 ``(H, W, 3)`` BGR; only read.
            row: Which row of the tensor.
            region: The part to take; the default is all of it. What lies outside the picture is padding.

        Returns:
            The way back from tensor pixels to the pixels of ``image``.

        Raises:
            DataError: The image is no uint8 BGR picture.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(
                "this is no picture that can be loaded",
                received=f"{image.dtype} {image.shape}",
                expected="uint8 (height, width, 3), blue-green-red",
                hint="cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) makes one of a grey picture",
            )
        height, width = image.shape[:2]
        if region is not None:
            image = self._cut_out(image, region)
        place = fit_into(self._spec, image.shape[0], image.shape[1], self._hw)
        if self._fits[row] != place:
            self._prepare(row, place)
        self._write(image, row, place)
        return place.transform(region, height, width)

    def forget(self) -> None:
        """Somebody else wrote into the tensor: its padding is written again."""
        self._fits = [None] * len(self._fits)

    def _cut_out(self, image: Image, region: Affine) -> Image:
        corner = region.rectangle()
        w, h = region.width, region.height
        if corner is not None:
            x, y = corner
            if x >= 0 and y >= 0 and x + w <= image.shape[1] and y + h <= image.shape[0]:
                return image[y : y + h, x : x + w]
        # OpenCV maps pixel centres; the half pixels turn the continuous map into that one.
        half = region.matrix[:, :2] @ (0.5, 0.5) + region.matrix[:, 2] - 0.5
        matrix = np.column_stack([region.matrix[:, :2], half])
        if len(self._cut) < h * w * 3:
            self._cut = np.empty(h * w * 3, np.uint8)
        cut = self._cut[: h * w * 3].reshape(h, w, 3)
        cv2.warpAffine(
            image,
            matrix,
            (w, h),
            dst=cut,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(self._spec.pad_value,) * 3,
        )
        return cut

    def _prepare(self, row: int, place: Fit) -> None:
        """The padding."""
        pad = (
            np.full(self._spec.channels, self._spec.pad_value, np.float32) * self._gain
            + self._offset
        )
        self._tensor[row] = pad[:, None, None] if self._nchw else pad
        self._fits[row] = place

    def _size_buffers(self, height: int, width: int) -> None:
        """Views of that size into buffers that only grow: rows may hold pictures of any shapes."""
        count = height * width
        if len(self._pixels) < 6 * count:
            self._pixels = np.empty(6 * count, np.uint8)
        self._picture = self._pixels[: 3 * count].reshape(height, width, 3)
        self._planes = list(self._pixels[3 * count : 6 * count].reshape(3, height, width))
        if self._tensor.dtype == np.float16:
            if self._numbers.size < count:
                self._numbers = np.empty(count, np.float32)
            self._wide = self._numbers[:count].reshape(height, width)

    def _write(self, image: Image, row: int, place: Fit) -> None:
        cx, cy, cw, ch = place.cut
        px, py, pw, ph = place.place
        part = image[cy : cy + ch, cx : cx + cw]
        if self._plain and not self._nchw and self._spec.colour == "bgr":
            self._copy(part, self._tensor[row, py : py + ph, px : px + pw], place)
            return
        if self._picture.shape[:2] != (ph, pw):
            self._size_buffers(ph, pw)
        if (cw, ch) != (pw, ph):
            part = self._resize(part, place)
        if self._nchw:
            out = self._tensor[row, :, py : py + ph, px : px + pw]
        else:
            out = self._tensor[row, py : py + ph, px : px + pw].transpose(2, 0, 1)
        if self._plain and self._nchw:
            cv2.split(part, list(out if self._spec.colour == "bgr" else out[::-1]))
            return
        for channel, plane in enumerate(self._channels(part)):
            self._convert(plane, out[channel], channel)

    def _copy(self, part: Image, out: Image, place: Fit) -> None:
        """The part, resized if need be, straight into the tensor."""
        if part.shape == out.shape:
            np.copyto(out, part)
            return
        self._picture = out
        self._resize(part, place)

    def _resize(self, part: Image, place: Fit) -> Image:
        (_, _, cw, ch), (_, _, pw, ph) = place.cut, place.place
        if self._spec.antialias and (pw < cw or ph < ch):
            return self._resized(part, None, cv2.INTER_AREA)
        k = cw // pw
        if self._spec.interpolation == "linear" and k in _ODD and (cw, ch) == (pw * k, ph * k):
            # At an odd whole factor (1920 → 640) every linear sample falls on the centre of a
            # pixel, so picking those pixels gives the same picture in half the time.
            return self._resized(part[k // 2 :, k // 2 :], k, cv2.INTER_NEAREST)
        return self._resized(part, None, _INTERPOLATION[self._spec.interpolation])

    def _resized(self, part: Image, factor: int | None, method: int) -> Image:
        """The part in the picture's buffer: at its size, or shrunk by exactly a factor."""
        height, width = self._picture.shape[:2]
        size, scale = ((width, height), 0.0) if factor is None else (None, 1 / factor)
        small: Image = cv2.resize(part, size, self._picture, scale, scale, method)
        return small

    def _channels(self, part: Image) -> list[Image]:
        """The picture's planes in the tensor's order."""
        if self._spec.colour == "gray":
            return [cv2.cvtColor(part, cv2.COLOR_BGR2GRAY, dst=self._planes[0])]
        planes = cv2.split(part, self._planes)
        return list(planes if self._spec.colour == "bgr" else reversed(planes))

    def _convert(self, plane: Image, out: NDArray[Any], channel: int) -> None:
        # Copying with conversion and scaling in place is faster in numpy than one multiply of mixed types.
        wide = self._wide if out.dtype == np.float16 else out
        np.copyto(wide, plane)
        if self._gain[channel] != 1:
            np.multiply(wide, self._gain[channel], out=wide)
        if self._offset[channel] != 0:
            np.add(wide, self._offset[channel], out=wide)
        if wide is not out:
            np.copyto(out, wide, casting="same_kind")


def gain_and_offset(spec: InputSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``(x · scale − mean) / std`` as ``x · gain + offset``, float32 ``(channels,)`` each."""
    mean, std = (
        np.broadcast_to(np.asarray(v, np.float64), spec.channels) for v in (spec.mean, spec.std)
    )
    return (spec.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def one_thread() -> None:
    """Keeps OpenCV to one thread in this process, as the command line does.

    Resizing a frame takes a fraction of a millisecond; a second thread for it takes its core from the
    engine's, and doubles what is allocated. It is a setting of the whole process, so a library must not
    make it by itself: call this in a program of your own where OpenCV has nothing larger to do.
    """
    cv2.setNumThreads(1)
