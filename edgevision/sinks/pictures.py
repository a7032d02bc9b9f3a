"""A folder of annotated pictures, one JPEG a frame."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from edgevision.errors import OutputError
from edgevision.frame import Frame, Image
from edgevision.pixel_formats import bgr_copy
from edgevision.results import Result
from edgevision.sinks import Draw
from edgevision.sources import SourceInfo

__all__ = ["PicturesSink", "plugin"]


class PicturesSink:
    """Files are named by the frame's index (``000042.jpg``), so they sort in the source's order."""

    def __init__(self, uri: str, draw: Draw, force: bool) -> None:
        self._folder, self._draw, self._force = Path(uri), draw, force
        self._canvas: Image = np.empty((0, 0, 3), np.uint8)

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002 - the seam's signature
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            occupied = any(self._folder.iterdir())
        except OSError as error:
            raise OutputError(
                f"{self._folder} cannot be used: {error.strerror}", hint="choose another place"
            ) from error
        if occupied and not self._force:
            raise OutputError(
                f"{self._folder} is not empty",
                expected="a new or empty folder",
                hint="--force writes into it",
            )

    def write(self, frame: Frame, result: Result) -> None:
        self._canvas = bgr_copy(frame, self._canvas)
        self._draw(self._canvas, result)
        path = self._folder / f"{frame.index:06d}.jpg"
        fine, data = cv2.imencode(".jpg", self._canvas, (cv2.IMWRITE_JPEG_QUALITY, 90))
        if not fine:
            raise OutputError(
                f"{path} cannot be a JPEG",
                received=f"a picture of {frame.width}×{frame.height}",
                expected="at most 65535×65535",
            )
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            with suppress(OSError):
                path.unlink()  # half a picture
            raise OutputError(
                f"{path} could not be written: {error.strerror}",
                hint="make room, or choose another place",
            ) from error

    def close(self) -> None:
        """Every picture is whole already."""


plugin = PicturesSink
