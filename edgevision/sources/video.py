"""Frames of a video file, decoded by OpenCV into the caller's buffer."""

from __future__ import annotations

from pathlib import Path

import cv2

from edgevision.clock import now_ns
from edgevision.device import cpu_count
from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.sources import SourceInfo

__all__ = ["VideoSource", "plugin"]

_BEFORE_ALL_S = -1.0


class VideoSource:
    """A file that OpenCV's FFmpeg can read. A frame of another size than the one before gets a new buffer."""

    live = False

    def __init__(self, uri: str) -> None:
        self._path = Path(uri)
        self._capture: cv2.VideoCapture | None = None
        self._expected = 0
        self._fps = 0.0
        self._index, self._pts_s = 0, _BEFORE_ALL_S
        self._cancelled = False
        self.problems: list[str] = []

    def open(self) -> SourceInfo:
        if self._path.is_file() and self._path.stat().st_size == 0:
            raise DataError(
                f"{self._path} is empty",
                received="0 bytes",
                expected="a video",
                hint="copy it again",
            )
        # Half of the cores decode, as a model computes meanwhile: FFmpeg's own choice, all of them, would have it
        # wait for its threads (benchmarks/studies/reading_ahead.py).
        threads = [cv2.CAP_PROP_N_THREADS, max(1, cpu_count() // 2)]
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, threads)
        if not capture.isOpened():
            raise DataError(
                f"{self._path} is no video that OpenCV can read",
                expected="a container and codec that FFmpeg knows: mp4, mkv, avi with H.264, HEVC, MPEG-4, MJPEG, …",
                hint="check it with 'ffprobe', or copy it again if it was cut off",
            )
        self._capture, self._cancelled = capture, False
        self._index, self._pts_s = 0, _BEFORE_ALL_S
        self._fps = capture.get(cv2.CAP_PROP_FPS) or 0.0
        self._expected = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        width, height = (
            int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        return SourceInfo(str(self._path), width, height, self._fps, self._expected or None)

    def read(self, into: Frame) -> bool:
        if self._capture is None or self._cancelled:
            return False
        fine, image = self._capture.read(into.image if into.image.size else None)
        if not fine:
            self._note_end()
            return False
        into.image = image
        into.format, into.index, into.captured_ns = "bgr", self._index, now_ns()
        self._go_on(self._capture)
        into.pts_s = self._pts_s
        return True

    def skip(self) -> bool:
        """Goes past a frame without converting it; False at the end."""
        if self._capture is None or self._cancelled or not self._capture.grab():
            return False
        self._go_on(self._capture)
        return True

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _go_on(self, capture: cv2.VideoCapture) -> None:
        """Counts a frame. Its time is the container's, for rates vary; where it tells none, by the nominal rate."""
        told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if told <= self._pts_s:
            told = self._pts_s + (1 / self._fps if self._fps else 0.0)
        self._pts_s = max(told, 0.0)
        self._index += 1

    def _note_end(self) -> None:
        if self._index == 0:
            raise DataError(
                f"{self._path} holds no frame that can be decoded", hint="check it with 'ffprobe'"
            )
        # Containers announce a count that may be off by one or two; more is a file that was cut or damaged.
        if self._index + 2 < self._expected:
            self.problems.append(
                f"{self._path.name} ended early: {self._index} of the {self._expected} frames it announces"
            )


plugin = VideoSource
