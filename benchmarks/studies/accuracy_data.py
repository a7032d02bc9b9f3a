"""Pictures to calibrate, choose and prove on, made from the test data's photographs and videos.

No photograph, and no moment of a video, stands on two sides: photographs are dealt out by name, videos cut by
time (first 40 %, next 20 %, last 40 %). Everything is drawn with fixed seeds, so each run sees the same pixels.

The test data: EDGEVISION_TEST_DATA, else ../shared beside the repository (docs/accuracy.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from edgevision.converters.calibration import Data, Part
from edgevision.frame import Image

TEST_DATA = Path(
    os.environ.get("EDGEVISION_TEST_DATA", Path(__file__).resolve().parents[2].parent / "shared")
)
PARTS = ("calibration", "selection", "proof")
#: Pictures of each part, unless a set has fewer.
COUNTS = {"calibration": 120, "selection": 200, "proof": 400}

#: Photographs without people, dealt out so that each part has animals, things, buildings and text.
_PHOTOGRAPHS = {
    "calibration": ("chelsea.png", "fruits.jpg", "home.jpg", "scenetext02.jpg", "basketball1.png", "page.png"),
    "selection": ("coffee.png", "scenetext05.jpg", "squirrel_cls.jpg", "scenetext06.jpg"),
    "proof": ("baboon.jpg", "building.jpg", "motorcycle_left.png", "scenetext01.jpg", "scenetext03.jpg",
              "scenetext04.jpg", "astronaut.png"),
}  # fmt: skip
_CUTS = {"calibration": (0.0, 0.4), "selection": (0.4, 0.6), "proof": (0.6, 1.0)}

Draw = Callable[[np.random.Generator], Image]


def street() -> Path:
    """vtest.avi itself: `convert` cuts it by time."""
    return TEST_DATA / "video" / "vtest.avi"


def photographs() -> Data:
    """Random crops of photographs and of video frames, half and half, for a classifier."""

    def draw(purpose: str) -> Draw:
        photos = [_photograph(name) for name in _PHOTOGRAPHS[purpose]]
        frames = [*_frames("vtest.avi", purpose)[::4], *_frames("carphone.mp4", purpose)[::4]]

        def one(random: np.random.Generator) -> Image:
            pool = photos if random.random() < 0.5 else frames
            return _crop(pool[random.integers(len(pool))], random)

        return one

    return _data("photographs", draw)


def faces() -> Data:
    """One to six faces of many sizes on photographs; the second face is met in the proof only."""

    def draw(purpose: str) -> Draw:
        grounds = [_photograph(name) for name in _PHOTOGRAPHS[purpose] if name != "astronaut.png"]
        heads = [frame[8:136, 30:142] for frame in _frames("carphone.mp4", purpose)]
        if purpose == "proof":
            heads += [_photograph("astronaut.png")[20:240, 130:320]] * (len(heads) // 2)

        def one(random: np.random.Generator) -> Image:
            scene = cv2.resize(_crop(grounds[random.integers(len(grounds))], random), (640, 480))
            for _ in range(random.integers(1, 7)):
                _paste(scene, heads[random.integers(len(heads))], random)
            return scene

        return one

    return _data("faces", draw)


def people() -> Data:
    """One person a picture: cut out of the street video around what NanoDet finds."""
    return _data("people", lambda purpose: _drawn_from(_people(purpose)))


def portraits() -> Data:
    """A person before a camera: talking, moved, zoomed, in other light; the second one in the proof only."""

    def draw(purpose: str) -> Draw:
        frames = list(_frames("carphone.mp4", purpose))
        if purpose == "proof":
            frames += [_photograph("astronaut.png")] * (len(frames) // 2)
        return _drawn_from(frames)

    return _data("portraits", draw)


def _data(name: str, draw: Callable[[str], Draw]) -> Data:
    parts = [_part(purpose, seed, draw) for seed, purpose in enumerate(PARTS)]
    return Data(name, "folder", *parts, digest="drawn with fixed seeds")


def _part(purpose: str, seed: int, draw: Callable[[str], Draw]) -> Part:
    def stream() -> Iterator[Image]:
        one = draw(purpose)
        for number in range(COUNTS[purpose]):
            yield one(np.random.default_rng((seed, number)))

    return Part(purpose, COUNTS[purpose], [], stream)


def _drawn_from(frames: Sequence[Image]) -> Draw:
    def one(random: np.random.Generator) -> Image:
        return _moved(frames[random.integers(len(frames))], random)

    return one


@cache
def _photograph(name: str) -> Image:
    image = cv2.imread(str(TEST_DATA / "images" / name))
    assert image is not None, f"{name} is missing from the test data"
    return image


@cache
def _frames(name: str, purpose: str) -> tuple[Image, ...]:
    """Every frame of a part of a video."""
    capture = cv2.VideoCapture(str(TEST_DATA / "video" / name))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    low, high = (int(len(frames) * share) for share in _CUTS[purpose])
    return tuple(frames[low:high])


@cache
def _people(purpose: str) -> tuple[Image, ...]:
    """Square cuts of 256 pixels around the largest person that stands wholly in the frame."""
    from edgevision import presets
    from edgevision.backends import Variant
    from edgevision.converters.prove import load
    from edgevision.spec import ModelSpec

    spec = ModelSpec.from_dict(presets.load("nanodet"))
    found = []
    with load(Variant("fp32", "fp32", TEST_DATA / "models" / "nanodet.onnx", spec)) as model:
        for frame in _frames("vtest.avi", purpose)[::2]:
            height, width = frame.shape[:2]
            result = model(frame)
            boxes = [
                box
                for box, score, kind in zip(result.boxes_xyxy, result.scores, result.class_ids, strict=True)
                if kind == 0 and score >= 0.35 and box[:2].min() > 4 and (box[2:] < (width - 4, height - 4)).all()
            ]  # fmt: skip
            if boxes:
                found.append(_cut(frame, max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))))
    return tuple(found)


def _cut(frame: Image, box: np.ndarray) -> Image:
    x0, y0, x1, y1 = (float(v) for v in box)
    side = 1.3 * max(y1 - y0, x1 - x0)
    scale, cx, cy = 256 / side, (x0 + x1) / 2, (y0 + y1) / 2
    matrix = np.array([[scale, 0, 128 - cx * scale], [0, scale, 128 - cy * scale]])
    return cv2.warpAffine(frame, matrix, (256, 256), flags=cv2.INTER_CUBIC)


def _crop(image: Image, random: np.random.Generator) -> Image:
    """30 to 100 % of the area, sides within 3:4 and 4:3, mirrored half the time: as classifiers are trained."""
    height, width = image.shape[:2]
    area = height * width * random.uniform(0.3, 1.0)
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    w = int(min(width, max(16, np.sqrt(area * ratio))))
    h = int(min(height, max(16, np.sqrt(area / ratio))))
    x, y = random.integers(0, width - w + 1), random.integers(0, height - h + 1)
    part = image[y : y + h, x : x + w]
    return np.ascontiguousarray(part[:, ::-1] if random.random() < 0.5 else part)


def _moved(image: Image, random: np.random.Generator) -> Image:
    """Turned by up to 8°, zoomed, shifted, brighter or darker, mirrored half the time; edges mirrored."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), random.uniform(-8, 8), random.uniform(0.85, 1.25)
    )
    matrix[:, 2] += random.uniform(-0.08, 0.08, 2) * (width, height)
    turned = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    lit = cv2.convertScaleAbs(turned, alpha=random.uniform(0.7, 1.25), beta=random.uniform(-15, 15))
    return np.ascontiguousarray(lit[:, ::-1] if random.random() < 0.5 else lit)


def _paste(scene: Image, head: Image, random: np.random.Generator) -> None:
    """Puts a head into the scene, in place, behind a soft oval edge."""
    moved = _moved(head, random)
    height = int(np.exp(random.uniform(np.log(48), np.log(280))))
    width = height * head.shape[1] // head.shape[0]
    small = cv2.resize(moved, (width, height), interpolation=cv2.INTER_AREA)
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(
        mask, (width // 2, height // 2), (int(width * 0.46), int(height * 0.46)), 0, 0, 360, 1.0, -1
    )
    mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, height / 40))[..., None]
    x, y = (
        random.integers(0, scene.shape[1] - width + 1),
        random.integers(0, scene.shape[0] - height + 1),
    )
    place = scene[y : y + height, x : x + width]
    place[...] = (place * (1 - mask) + small * mask).astype(np.uint8)
