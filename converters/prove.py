"""Proves a variant against fp32: the same frames through the same pipeline, agreement on what was found.

Agreement, its thresholds and what counts as enough are the project's own rules (docs/convert.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevision.backends import BackendOptions, Variant
from edgevision.bundle import Bundle, Choice
from edgevision.clock import now_ns
from edgevision.frame import Image
from edgevision.metrics.agreement import (
    THRESHOLDS,
    Agreement,
    ClassificationAgreement,
    DetectionAgreement,
)
from edgevision.metrics.tensors import TensorAgreement
from edgevision.model import Model, load_variant
from edgevision.percentiles import summary_ms

__all__ = [
    "LEAST_DETECTIONS",
    "LEAST_FRAMES",
    "Proof",
    "agreement_for",
    "compare_speed",
    "load",
    "prove",
]

#: Under this many pictures, or reference detections, a number would say nothing: the verdict is ``insufficient``.
LEAST_FRAMES = 50
LEAST_DETECTIONS = 100

_WARM_UP = 5
_ROUNDS = 60

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a variant agrees with fp32.

    Attributes:
        agreement: ``metric``, ``value``, ``samples``, ``frames``, ``verdict`` and details, JSON-ready.
        outputs: Output's name → ``cosine`` and ``sqnr_db``.
    """

    agreement: dict[str, Any]
    outputs: dict[str, dict[str, float | None]]

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``insufficient``."""
        return str(self.agreement["verdict"])

    @property
    def value(self) -> float:
        return float(self.agreement["value"])


def load(variant: Variant, *, own_score: bool = False) -> Model:
    """A variant on onnxruntime, decoding from the lowest score that the proof counts.

    Args:
        variant: Its file may lie anywhere.
        own_score: Decode from the variant's own score instead.
    """
    params = dict(variant.spec.output.params)
    if variant.spec.task == "detect" and not own_score:
        params["score"] = min(min(THRESHOLDS), float(params.get("score", 1.0)))
    bundle = Bundle(variant.file, variant.id, "", {variant.id: variant}, {})
    return load_variant(
        bundle, Choice(variant, "proof"), BackendOptions(), backend="ort", params=params
    )


def prove(
    reference: Model,
    candidate: Model,
    frames: Iterable[Image],
    *,
    total: int,
    least: float,
    stage: str,
    progress: Progress,
) -> Proof:
    """Runs both variants on every frame.

    Args:
        reference: fp32.
        candidate: The variant to prove.
        frames: uint8 ``(H, W, 3)`` BGR, streamed.
        total: How many, for the progress.
        least: Agreement that passes, 0…1.
        stage: What the progress calls it.
        progress: Told how far it is.
    """
    agreement = agreement_for(reference.variant.spec.task)
    outputs = {name: TensorAgreement() for name in reference.pipeline.outputs}
    for done, image in enumerate(frames, 1):
        ours, expected = reference.pipeline.examine(image)
        theirs, actual = candidate.pipeline.examine(image)
        agreement.add(ours, theirs)
        for name, tensor in outputs.items():
            tensor.add(expected[name], actual[name])
        progress(stage, done, total)
    found = agreement.to_dict()
    found["value"] = round(found["value"], 6)
    return Proof(
        {**found, "least": least, "verdict": _verdict(agreement, least)},
        {name: tensor.to_dict() for name, tensor in outputs.items()},
    )


def agreement_for(task: str) -> Agreement:
    """An empty tally of the metric that decides for a task."""
    return ClassificationAgreement() if task == "classify" else DetectionAgreement()


def compare_speed(
    models: dict[str, Model], image: Image, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Inference times of several variants on one picture, taken in turn so that a noisy machine is fair to all.

    Returns:
        Variant → ``latency_ms`` (percentiles of the inference alone) and ``speedup``, the ratio of medians
        to the first variant.
    """
    slots = {name: model.pipeline.loaded_slot(image) for name, model in models.items()}
    times: dict[str, list[int]] = {name: [] for name in models}
    for number in range(_WARM_UP + _ROUNDS):
        for name, slot in slots.items():
            started = now_ns()
            slot.submit()
            slot.wait()
            if number >= _WARM_UP:
                times[name].append(now_ns() - started)
        progress("measuring", number + 1, _WARM_UP + _ROUNDS)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    first = medians[next(iter(models))]
    return {
        name: {
            "latency_ms": summary_ms(np.array(values)),
            "speedup": round(first / medians[name], 3),
        }
        for name, values in times.items()
    }


def _verdict(agreement: Agreement, least: float) -> str:
    few = agreement.metric == "f1" and agreement.samples < LEAST_DETECTIONS
    if agreement.frames < LEAST_FRAMES or few:
        return "insufficient"
    return "pass" if agreement.value >= least else "fail"
