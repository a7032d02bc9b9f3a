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

from edgevision.bundle import hash_file
from edgevision.converters.pictures import refuse_pipe
from edgevision.errors import DataError
from edgevision.frame import Frame, Image, picture_digest
from edgevision.progress import Tell
from edgevision.sources import IMAGE_SUFFIXES
from edgevision.sources.images import list_images, read_image
from edgevision.sources.video import VideoSource

__all__ = ["Data", "Part", "content_share", "open_data"]

_CALIBRATE, _PROVE = 0.4, 0.6  # shares of the data: below the first, from the second on
_LEAST_PICTURES = 2
_NO_NOISE = (
    "a minute of video from the camera is enough. Ranges of noise are not those of pictures, so what comes of it "
    "is not proven: if that is meant, --random-calibration, in place of --calibration"
)

T = TypeVar("T")


@dataclass(slots=True)
class Part:
    """One part of the data; iterating streams its pictures, uint8 ``(H, W, 3)`` BGR, valid until the next.

    Attributes:
        purpose: ``calibration``, ``selection`` or ``proof``.
        count: Pictures it gives; before it was streamed once, those it should give.
        problems: Pictures that could not be read, one line each.
        used: `picture_digest` of what had a part in making the model. Such pictures, and a picture's second
            time, are left out where this is no None: they would prove nothing.
        repeated: So many were left out; 0 until it was streamed once.
        digest: SHA-256 over the pictures given, in their order; empty until then.
    """

    purpose: str
    count: int
    problems: list[str]
    _stream: Callable[[], Iterator[Image]]
    used: frozenset[bytes] | None = None
    repeated: int = 0
    digest: str = ""

    def __iter__(self) -> Iterator[Image]:
        digest, given, repeated = hashlib.sha256(), 0, 0
        seen = None if self.used is None else set(self.used)
        for image in self._stream():
            pixels = picture_digest(image)
            if seen is not None and pixels in seen:
                repeated += 1
                continue
            if seen is not None:
                seen.add(pixels)
            digest.update(pixels)
            given += 1
            yield image
        # Without those that could not be read.
        self.count, self.repeated, self.digest = given, repeated, digest.hexdigest()

    def __len__(self) -> int:
        return self.count


@dataclass(slots=True)
class Data:
    """All parts, and what to say of them in a report.

    Attributes:
        name: File or folder name, without its path.
        kind: How the parts were split: ``video``, ``folder``, ``labelled``, ``noise`` or, for the demo, ``belts``.
        digest: SHA-256 over the calibration pictures, in their order.
        problems: Over all parts.
    """

    name: str
    kind: str
    calibration: Part
    selection: Part
    proof: Part
    digest: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def random(self) -> bool:
        """Whether the pictures are noise: nothing that was seen on them says anything of real ones."""
        return self.kind == "noise"


def open_data(path: Path, *, samples: int, progress: Tell) -> Data:
    """Splits the data and looks at every picture once that will have a part in making a model.

    Args:
        path: A video, or a folder of pictures.
        samples: At most so many pictures a part, evenly spread.
        progress: Told how far the look is.

    Raises:
        DataError: There is too little, it cannot be read, or the pictures show nothing.
    """
    try:
        if not path.exists():
            raise DataError(
                f"there is no calibration data at {path}",
                expected="a video or a folder of pictures",
                hint=_NO_NOISE if path.name in ("random", "noise") else "",
            )
        refuse_pipe(path)
        if path.is_dir():
            next(path.iterdir(), None)  # globbing would find nothing in a folder it may not read
        folder = path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
        data = _folder(path, samples) if folder else _video(path, samples, progress)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", expected="a video or a folder of pictures"
        ) from error
    _examine(data, path, progress)
    return data


def _folder(path: Path, samples: int) -> Data:
    problems: list[str] = []
    files = list_images(path)
    shares = {file: _share(file, path, problems) for file in files}

    def part(purpose: str, low: float, high: float) -> Part:
        inside = [file for file in files if low <= shares[file] < high]
        return _files_part(purpose, _spread(inside, samples), path, problems)

    return Data(
        path.resolve().name,
        "folder",
        part("calibration", 0, _CALIBRATE),
        part("selection", _CALIBRATE, _PROVE),
        part("proof", _PROVE, 1),
        problems=problems,
    )


def content_share(file: Path) -> float:
    """Where a file stands in 0…1, by its content alone: it stays there when others come and go.

    Raises:
        OSError: It cannot be read.
    """
    return int(hash_file(file)[:8], 16) / 2**32


def _share(file: Path, folder: Path, problems: list[str]) -> float:
    """Where a picture stands in 0…1, by its content; 1, in no part, if it cannot be read."""
    try:
        return content_share(file)
    except OSError as error:
        problems.append(f"{_inside(file, folder)} was skipped: {error.strerror}")
        return 1.0


def _inside(file: Path, folder: Path) -> str:
    """A picture's name in its folder, which says more than the file's alone."""
    return file.name if file == folder else file.relative_to(folder).as_posix()


def _files_part(purpose: str, files: Sequence[Path], folder: Path, problems: list[str]) -> Part:

    def stream() -> Iterator[Image]:
        for file in files:
            image = read_image(file)
            if image is not None:
                yield image
                continue
            line = f"{_inside(file, folder)} cannot be decoded and was skipped"
            if line not in problems:
                problems.append(line)

    return Part(purpose, len(files), problems, stream)


def _video(path: Path, samples: int, progress: Tell) -> Data:
    problems: list[str] = []
    total = _count_frames(path, problems, progress)
    first, last = int(total * _CALIBRATE), int(total * _PROVE)
    return Data(
        path.resolve().name,
        "video",
        _video_part(path, "calibration", range(first), samples, problems),
        _video_part(path, "selection", range(first, last), samples, problems),
        _video_part(path, "proof", range(last, total), samples, problems),
        problems=problems,
    )


def _count_frames(path: Path, problems: list[str], progress: Tell) -> int:
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


def _examine(data: Data, path: Path, progress: Tell) -> None:
    """Reads the calibration part once: its digest, how many pictures there are, whether they show anything."""
    seen, flat, done = set(), 0, 0
    planned = data.calibration.count
    for done, image in enumerate(data.calibration, 1):
        seen.add(picture_digest(image))
        flat += int((image == image[0, 0]).all())
        progress("reading calibration data", done, planned)
    if flat == done > 0:
        raise DataError(
            f"the pictures in {path} show nothing: every one is a single colour",
            received=f"{done} pictures in the calibration part",
            expected="pictures of what the camera will see",
            hint="record a minute of video from the camera",
        )
    if len(seen) < _LEAST_PICTURES:
        raise _too_little(data, path, planned, len(seen))
    data.digest = data.calibration.digest
    # Copies lie in different files, and a camera that stands still gives one frame twice.
    for done, image in enumerate(data.selection, 1):
        seen.add(picture_digest(image))
        progress("reading selection data", done, data.selection.count)
    data.proof.used = frozenset(seen)


def _too_little(data: Data, path: Path, planned: int, different: int) -> DataError:
    given = planned + data.selection.count + data.proof.count
    lost = f"; {len(data.problems)} skipped, such as: {data.problems[0]}" if data.problems else ""
    return DataError(
        f"{path} is too little to calibrate on",
        received=f"{given} pictures, of which {planned} ({different} different ones that can be "
        f"decoded) fell to the calibration part{lost}",
        expected="100 or more pictures of what the camera will see; at least a handful for a trial",
        hint="record a minute of video from the camera",
    )


def _spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most ``most`` of the items, evenly spread, in order."""
    if len(items) <= most:
        return items
    return [items[i * len(items) // most] for i in range(most)]
