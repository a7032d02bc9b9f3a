"""Frames as cameras give them, turned into blue-green-red where nobody takes them as they are."""

from __future__ import annotations

import cv2
import numpy as np

from edgevision.errors import DataError
from edgevision.frame import Frame, Image

__all__ = ["bgr_copy", "to_bgr"]

#: Of BT.601 in studio range, as the CUDA kernel takes it.
_CONVERSIONS = {
    "gray": cv2.COLOR_GRAY2BGR,
    "nv12": cv2.COLOR_YUV2BGR_NV12,
    "yuyv": cv2.COLOR_YUV2BGR_YUY2,
}


def bgr_copy(frame: Frame, into: Image) -> Image:
    """A frame as blue-green-red, to draw on: in ``into`` if it has the frame's size, else in a new array."""
    if frame.format != "bgr":
        return to_bgr(frame.image, frame.format, into)
    if into.shape != frame.image.shape:
        into = np.empty_like(frame.image)
    np.copyto(into, frame.image)
    return into


def to_bgr(image: Image, format: str, into: Image) -> Image:
    """A picture as uint8 ``(H, W, 3)``, blue-green-red.

    Args:
        image: Of the shape that `edgevision.frame.Frame` says; only read.
        format: How its pixels are.
        into: Where to write, if the size is right: keep what was returned for the next one.

    Returns:
        The image itself if it is ``bgr``, else ``into`` or a new array.

    Raises:
        DataError: It is no such picture.
    """
    if format == "bgr":
        return image
    inner = (2,) if format == "yuyv" else ()
    fine = image.dtype == np.uint8 and image.ndim == 2 + len(inner) and image.shape[2:] == inner
    fine = fine and image.size > 0 and format in _CONVERSIONS
    fine = fine and (format == "gray" or image.shape[1] % 2 == 0)
    fine = fine and (format != "nv12" or image.shape[0] % 3 == 0)
    if not fine:
        raise DataError(
            "this is no frame that can be loaded",
            received=f"{image.dtype} {image.shape} as {format}",
            expected="uint8: bgr (height, width, 3), gray (height, width), nv12 (height * 3 / 2, width), "
            "yuyv (height, width, 2); the last two of even width",
        )
    height = image.shape[0] * 2 // 3 if format == "nv12" else image.shape[0]
    if into.shape != (height, image.shape[1], 3):
        into = np.empty((height, image.shape[1], 3), np.uint8)
    cv2.cvtColor(image, _CONVERSIONS[format], dst=into)
    return into
