"""An annotated video, playable even after an early end."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from edgevision.errors import OutputError
from edgevision.frame import Frame, Image
from edgevision.pixel_formats import bgr_copy
from edgevision.results import Result
from edgevision.sinks import Draw, claim
from edgevision.sources import SourceInfo

__all__ = ["VideoSink", "plugin"]

_FALLBACK_FPS = 10.0
#: A container that claims more carries no frame rate but the unit of its time stamps.
_MAX_FPS = 1000.0
_CHECK_EVERY = 32
_LEAST_FREE_BYTES = 4 * 2**20
#: Some containers tell no count, but a duration and a rate that were rounded.
_LEAST_SHARE = 0.99


class VideoSink:
    """MPEG-4 in the container of the file's suffix, at the source's size and rate.

    OpenCV's writer does not report failed writes, so free space is looked at as it goes, and the finished
    file is opened once. Frames of another size than the first are scaled to it: a video has one size.
    """

    def __init__(self, uri: str, draw: Draw, force: bool) -> None:
        self._path, self._draw, self._force = Path(uri), draw, force
        self._writer: cv2.VideoWriter | None = None
        self._canvas: Image = np.empty((0, 0, 3), np.uint8)
        self._size = (0, 0)
        self._written = 0
        self._fps = 0.0

    def open(self, info: SourceInfo) -> None:
        claim(self._path, force=self._force)
        self._fps = info.fps if 0 < info.fps <= _MAX_FPS else _FALLBACK_FPS

    def write(self, frame: Frame, result: Result) -> None:
        if self._written % _CHECK_EVERY == 0:
            self._check_space()
        if self._writer is None:
            self._start(frame.width, frame.height)
        self._canvas = bgr_copy(frame, self._canvas)
        self._draw(self._canvas, result)
        picture = self._canvas
        if (frame.width, frame.height) != self._size:
            picture = cv2.resize(picture, self._size)
        if self._writer is not None:
            self._writer.write(picture)
        self._written += 1

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.release()
        self._check_space()
        if not self._is_whole():
            raise OutputError(
                f"{self._path} could not be written whole",
                hint="make room, or choose another place",
            )

    def _start(self, width: int, height: int) -> None:
        self._size = (width, height)
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, fourcc, self._fps, self._size)
        if not writer.isOpened():
            self._path.unlink(missing_ok=True)
            raise OutputError(
                f"OpenCV cannot write {self._path}",
                received=f"{width}×{height} at {self._fps:g} frames/s",
                hint="try .avi or .mkv, or result lines in .jsonl",
            )
        self._writer = writer

    def _is_whole(self) -> bool:
        """Whether it can be played and announces what was written.

        FFmpeg writes nothing more once a write has failed, by a quota or a limit that shows no full disk either; and
        only its last writes say how many frames there are.
        """
        check = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        announced = check.get(cv2.CAP_PROP_FRAME_COUNT) if check.isOpened() else 0
        whole = announced > 0 and announced >= _LEAST_SHARE * self._written and check.read()[0]
        check.release()
        return whole

    def _check_space(self) -> None:
        facts = os.statvfs(self._path.parent)
        if facts.f_bavail * facts.f_frsize < _LEAST_FREE_BYTES:
            raise OutputError(
                f"no room is left for {self._path}", hint="make room, or choose another place"
            )


plugin = VideoSink
