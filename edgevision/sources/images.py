"""Pictures of a folder in the order of their names, or a single picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgevision.clock import now_ns
from edgevision.errors import DataError
from edgevision.frame import Frame, Image
from edgevision.sources import IMAGE_SUFFIXES, SourceInfo

__all__ = ["ImagesSource", "list_images", "plugin", "read_image"]


def list_images(path: Path) -> list[Path]:
    """The pictures of a folder, its subfolders included, sorted by name; or the one file itself.

    Raises:
        DataError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise DataError(
            f"there is no picture in {path}",
            expected="files with " + ", ".join(sorted(IMAGE_SUFFIXES)),
        )
    return found


def read_image(path: Path) -> Image | None:
    """Decodes a picture to uint8 BGR, turned upright as its EXIF says; None if it cannot be decoded."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    if data.size == 0:
        return None
    try:
        image: Image | None = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return image


class ImagesSource:
    """A picture that cannot be read is skipped, named in ``problems``, and keeps its index."""

    live = False

    def __init__(self, uri: str) -> None:
        self._path = Path(uri)
        self._files: list[Path] = []
        self._index = 0
        self._cancelled = False
        self.problems: list[str] = []

    def open(self) -> SourceInfo:
        self._files, self._index, self._cancelled = list_images(self._path), 0, False
        for path in self._files:
            first = read_image(path)
            if first is not None:
                return SourceInfo(
                    str(self._path), first.shape[1], first.shape[0], 0.0, len(self._files)
                )
        raise DataError(
            f"no picture in {self._path} can be decoded",
            received=f"{len(self._files)} files, such as {self._files[0].name}",
            expected="whole JPEG, PNG, BMP, TIFF or WebP files",
        )

    def read(self, into: Frame) -> bool:
        while self._index < len(self._files) and not self._cancelled:
            path, index = self._files[self._index], self._index
            name = path.name if path == self._path else path.relative_to(self._path).as_posix()
            self._index += 1
            image = read_image(path)
            if image is None:
                self.problems.append(f"{name} cannot be decoded and was skipped")
                continue
            into.image = image
            into.format, into.index, into.pts_s, into.captured_ns = "bgr", index, 0.0, now_ns()
            into.source = name
            return True
        return False

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        self._files = []


plugin = ImagesSource
