"""Data to calibrate and prove on: a video or a folder of pictures, split once, streamed as often as needed.

A video is split by time (first 40 % calibrate, last 40 % prove, the fifth between them chooses among
recipes), so that neighbouring frames do not stand on both sides; a folder by each file's hash, so that a
picture stays on its side when others come and go, and copies stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgevision.bundle import hash_file
from edgevision.errors import DataError
from edgevision.frame import Frame, Image
from edgevision.sources import IMAGE_SUFFIXES
from edgevision.sources.images import list_images, read_image
from edgevision.sources.video import VideoSource

__all__ = ["Data", "Part", "open_data"]

_CALIBRATE, _PROVE = 0.4, 0.6  # shares of the data: below the first, from the second on
_LEAST_PICTURES = 2

T = TypeVar("T")
Progress = Callable[[str, int, int | None], None]


@dataclass(slots=True)
class Part:
    """One part of the data; iterating streams its pictures, uint8 ``(H, W, 3)`` BGR, valid until the next.

    Attributes:
        purpose: ``calibration``, ``selection`` or ``proof``.
        count: Pictures it gives.
        problems: Pictures that could not be read, one line each.
    """

    purpose: str
    count: int
    problems: list[str]
    _stream: Callable[[], Iterator[Image]]

    def __iter__(self) -> Iterator[Image]:
        return self._stream()

    def __len__(self) -> int:
        return self.count


@dataclass(slots=True)
class Data:
    """All parts, and what to say of them in a report.

    Attributes:
        name: File or folder name, without its path.
        kind: ``video`` or ``folder``.
        digest: SHA-256 over the pixels of the calibration pictures, in their order.
        problems: Over all parts.
    """

    name: str
    kind: str
    calibration: Part
    selection: Part
    proof: Part
    digest: str = ""
    problems: list[str] = field(default_factory=list)


def open_data(path: Path, *, samples: int, progress: Progress) -> Data:
    """Splits the data and looks at every calibration picture once.

    Args:
        path: A video, or a folder of pictures.
        samples: At most so many pictures a part, evenly spread.
        progress: Told how far the look is.

    Raises:
        DataError: There is too little, it cannot be read, or the pictures show nothing.
    """
    if not path.exists():
        raise DataError(
            f"there is no calibration data at {path}", expected="a video or a folder of pictures"
        )
    folder = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    data = _folder(path, samples) if folder else _video(path, samples, progress)
    _examine(data, path, progress)
    return data


def _folder(path: Path, samples: int) -> Data:
    problems: list[str] = []
    files = list_images(path)
    shares = {file: int(hash_file(file)[:8], 16) / 2**32 for file in files}
    return Data(
        path.name,
        "folder",
        _files_part("calibration", [f for f in files if shares[f] < _CALIBRATE], samples, problems),
        _files_part(
            "selection", [f for f in files if _CALIBRATE <= shares[f] < _PROVE], samples, problems
        ),
        _files_part("proof", [f for f in files if shares[f] >= _PROVE], samples, problems),
        problems=problems,
    )


def _files_part(purpose: str, files: Sequence[Path], most: int, problems: list[str]) -> Part:
    files = _spread(files, most)

    def stream() -> Iterator[Image]:
        for file in files:
            image = read_image(file)
            if image is not None:
                yield image
            elif (line := f"{file.name} cannot be decoded and was skipped") not in problems:
                problems.append(line)

    return Part(purpose, len(files), problems, stream)


def _video(path: Path, samples: int, progress: Progress) -> Data:
    problems: list[str] = []
    total = _count_frames(path, problems, progress)
    first, last = int(total * _CALIBRATE), int(total * _PROVE)
    return Data(
        path.name,
        "video",
        _video_part(path, "calibration", range(first), samples, problems),
        _video_part(path, "selection", range(first, last), samples, problems),
        _video_part(path, "proof", range(last, total), samples, problems),
        problems=problems,
    )


def _count_frames(path: Path, problems: list[str], progress: Progress) -> int:
    """Frames that really decode: containers announce what they please."""
    source = VideoSource(str(path))
    info = source.open()
    count = 0
    try:
        while source.skip():
            count += 1
            progress("counting frames", count, None)
    finally:
        source.close()
    if count == 0:
        raise DataError(
            f"{path} holds no frame that can be decoded", hint="check it with 'ffprobe'"
        )
    if info.frames is not None and count + 2 < info.frames:
        problems.append(
            f"{path.name} ended early: {count} of the {info.frames} frames it announces"
        )
    return count


def _video_part(path: Path, purpose: str, frames: range, most: int, problems: list[str]) -> Part:
    indices = _spread(frames, most)

    def stream() -> Iterator[Image]:
        wanted = set(indices)
        source, frame = VideoSource(str(path)), Frame()
        source.open()
        try:
            for index in range(indices[-1] + 1 if indices else 0):
                if index not in wanted:
                    if not source.skip():
                        return
                elif source.read(frame):
                    yield frame.image
                else:
                    return
        finally:
            source.close()

    return Part(purpose, len(indices), problems, stream)


def _examine(data: Data, path: Path, progress: Progress) -> None:
    """Reads the calibration part once: its digest, how many pictures there are, whether they show anything."""
    digest, seen, flat, done = hashlib.sha256(), set(), 0, 0
    for done, image in enumerate(data.calibration, 1):
        pixels = hashlib.sha256(np.ascontiguousarray(image).data).digest()
        digest.update(pixels)
        seen.add(pixels)
        flat += int(image.min() == image.max())
        progress("reading calibration data", done, data.calibration.count)
    if len(seen) < _LEAST_PICTURES:
        raise DataError(
            f"{path} is too little to calibrate on",
            received=f"{len(seen)} different pictures of {data.calibration.count} in the calibration part",
            expected="100 or more pictures of what the camera will see; at least a handful for a trial",
            hint="record a minute of video from the camera",
        )
    if flat >= len(seen):
        raise DataError(
            f"the pictures in {path} show nothing: every one is a single colour",
            expected="pictures of what the camera will see",
        )
    data.digest = digest.hexdigest()
    data.calibration.count = done


def _spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most ``most`` of the items, evenly spread, in order."""
    if len(items) <= most:
        return items
    return [items[i * len(items) // most] for i in range(most)]
