"""The whole chain on the demo's belts: convert, prove, measure, film; fp32 and INT8 against the exact truth.

The frames are rendered, so where each garment is is known. The belt that accuracy is measured on is one that
nothing was calibrated, chosen or trained on.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.assets import DETECTOR
from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.record import Record
from edgevision.benchmarks.run import measure
from edgevision.benchmarks.terms import Plan
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.demo.belt import FRAMES, SAMPLES, belt, belt_data, pictures, wanted
from edgevision.converters.demo.film import film
from edgevision.errors import OutputError
from edgevision.frame import Image
from edgevision.metrics.detection_map import DetectionMap
from edgevision.model import open_model
from edgevision.progress import Progress
from edgevision.results import Detections
from edgevision.signals import Stop

__all__ = ["INT8", "MAX_DROP", "Demo", "Score", "run_demo"]

INT8 = "int8-x86"
VARIANTS = "fp32", INT8
#: Agreement with fp32 that lets a variant into the bundle. Here the truth decides, not fp32, which errs too.
LEAST = 0.9
#: What INT8 may lose of mAP@0.5:0.95.
MAX_DROP = 0.01
#: Detections below are not even ranked. COCO's mAP wants them all; what scores less than this moves nothing.
_LEAST_SCORE = 0.01
_BENCH = Plan(duration_s=3.0, min_queries=100)
_BENCH_PICTURES = 10


@dataclass(frozen=True, slots=True)
class Score:
    """One variant against the truth.

    Attributes:
        map50: Mean average precision at IoU 0.5.
        map50_95: Averaged over IoU 0.5 to 0.95.
        size_bytes: Of the ONNX file.
        record: Its benchmark, from memory, one frame after another.
    """

    map50: float
    map50_95: float
    size_bytes: int
    record: Record

    @property
    def median_ms(self) -> float:
        """From a frame in memory to its result."""
        return self.record.latency_ms["p50"] or float("nan")


@dataclass(frozen=True, slots=True)
class Demo:
    """What came out; `passed` says whether INT8 kept what it had to."""

    conversion: Conversion
    scores: dict[str, Score]
    folder: Path

    @property
    def change(self) -> float:
        """INT8's mAP@0.5:0.95 less that of fp32, to four decimals: what is judged is what is shown."""
        return round(self.scores[INT8].map50_95 - self.scores["fp32"].map50_95, 4) + 0.0

    @property
    def passed(self) -> bool:
        return self.change >= -MAX_DROP

    def speedup(self, name: str) -> float:
        """How much faster than fp32 a variant is, by the medians."""
        return self.scores["fp32"].median_ms / self.scores[name].median_ms

    def to_json(self) -> dict[str, Any]:
        """For scripts: ``variants`` with ``map50``, ``map50_95``, sizes, rates, ``speedup``; ``verdict``."""
        return {
            "variants": {
                name: {
                    "map50": round(score.map50, 4),
                    "map50_95": round(score.map50_95, 4),
                    "size_bytes": score.size_bytes,
                    "throughput_fps": score.record.throughput_fps,
                    "latency_ms": score.record.latency_ms,
                    "speedup": round(self.speedup(name), 3),
                }
                for name, score in self.scores.items()
            },
            "change": self.change,
            "verdict": "pass" if self.passed else "fail",
            "frames": FRAMES,
            "output": str(self.folder),
        }


def run_demo(folder: Path, progress: Progress, *, force: bool) -> Demo:
    """Converts, proves, measures and films; everything lands in ``folder``.

    Raises:
        EdgevisionError: The folder cannot be written, or INT8 missed the agreement with fp32.
    """
    _make(folder, force=force)
    bundle = folder / "garments.evb"
    order = Order(DETECTOR, bundle, precisions=("int8",), samples=SAMPLES, least=LEAST, force=force)
    conversion = convert(order, progress, belt_data())
    scores = _scores(bundle, progress)
    film(bundle, INT8, folder, progress, force=force)
    return Demo(conversion, scores, folder)


def _make(folder: Path, *, force: bool) -> None:
    """The folder, which can be written and is empty unless forced: said now, not after a minute."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}", hint="choose another with --output"
        ) from error
    if occupied and not force:
        raise OutputError(
            f"{folder} is not empty", expected="a new folder", hint="--output FOLDER, or --force"
        )


def _scores(bundle: Path, progress: Progress) -> dict[str, Score]:
    """Both variants on every frame of the belt with the truth, and the benchmark of each."""
    scene, kept = belt("truth"), []
    found = {name: DetectionMap(scene.labels) for name in VARIANTS}
    with ExitStack() as stack:
        models = {
            name: stack.enter_context(
                open_model(bundle, variant=name, backend="ort", score=_LEAST_SCORE)
            )
            for name in VARIANTS
        }
        for index, image in enumerate(pictures("truth", FRAMES)):
            truth = wanted(scene.truth(index))
            for name, model in models.items():
                result = model(image)
                assert isinstance(result, Detections)
                found[name].add(truth, result)
            if index % (FRAMES // _BENCH_PICTURES) == 0:
                kept.append(image.copy())
            progress("against the truth", index + 1, FRAMES)
    return {
        name: Score(accuracy.map50, accuracy.map50_95, *_benchmark(bundle, name, kept))
        for name, accuracy in found.items()
    }


def _benchmark(bundle: Path, variant: str, images: list[Image]) -> tuple[int, Record]:
    """Bytes of the ONNX file, and the record."""
    with open_model(bundle, variant=variant, backend="ort") as model:
        source = MemorySource(images, "synthetic://conveyor")
        record = measure(model, lambda: source, _BENCH, Stop())
        return model.variant.size_bytes, record
