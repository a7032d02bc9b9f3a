"""Proves a variant against fp32: the same frames through the same pipeline, agreement on what was found.

Agreement, its thresholds and what counts as enough are the project's own rules (docs/convert.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Variant
from edgevision.bundle import Bundle
from edgevision.choice import Choice
from edgevision.clock import now_ns
from edgevision.errors import ModelError
from edgevision.frame import Image
from edgevision.metrics.agreement import (
    THRESHOLDS,
    Agreement,
    ClassificationAgreement,
    DetectionAgreement,
)
from edgevision.metrics.keypoints import KeypointAgreement
from edgevision.metrics.masks import MaskAgreement
from edgevision.metrics.tensors import TensorAgreement
from edgevision.model import Model, load_variant
from edgevision.percentiles import summary_ms
from edgevision.progress import Tell
from edgevision.results import Result

__all__ = [
    "LEAST_DETECTIONS",
    "LEAST_FRAMES",
    "LEAST_KEYPOINTS",
    "MOST_OF_ONE_CLASS",
    "Comparison",
    "Proof",
    "agreement_for",
    "check_finite",
    "compare_speed",
    "load",
    "one_sided",
    "prove",
]

#: Under this many pictures, or of what fp32 finds in them, a number would say nothing: the verdict is ``insufficient``.
LEAST_FRAMES = 50
LEAST_DETECTIONS = 100
LEAST_KEYPOINTS = 100
#: Nor where fp32 gives one class in more than this share of the pictures: a constant would agree as well.
MOST_OF_ONE_CLASS = 0.9

#: Metric → how many samples it needs; those of masks are pictures in which fp32 sees something.
_LEAST_SAMPLES = {"f1": LEAST_DETECTIONS, "1-nme": LEAST_KEYPOINTS, "miou": LEAST_FRAMES}
#: Task → the tally that decides for it; of others it is boxes.
_AGREEMENTS: dict[str, Callable[[], Agreement]] = {
    "classify": ClassificationAgreement,
    "keypoints": KeypointAgreement,
    "segment": MaskAgreement,
}

_WARM_UP = 5
_ROUNDS = 60
#: Of a large model fewer rounds are enough, once they have taken so long together.
_LEAST_ROUNDS, _ENOUGH_NS = 10, 30 * 10**9
_SEED = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a variant agrees with fp32.

    Attributes:
        agreement: ``metric``, ``value``, ``samples``, ``frames``, ``verdict`` and details, JSON-ready.
        outputs: Output's name → ``cosine`` and ``sqnr_db``; ``skipped`` (values that are not finite in the
            variant) and ``sizes_differ`` (pictures in which its size is another one) where there are any.
        accuracy: Where the pictures are labelled, what decides: ``metric``, ``value``, ``reference`` (fp32's),
            ``drop``, ``max_drop``, ``samples``, ``images``, ``verdict`` and details, JSON-ready.
    """

    agreement: dict[str, Any]
    outputs: dict[str, dict[str, float | None]]
    accuracy: dict[str, Any] | None = None

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, ``insufficient``, or ``not proven`` where the pictures are noise."""
        return str((self.accuracy or self.agreement)["verdict"])

    @property
    def broken(self) -> bool:
        """Whether the variant gave values that are no numbers."""
        return any(found.get("skipped") for found in self.outputs.values())

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"

    @property
    def value(self) -> float:
        """Of what decides, 0…1."""
        return float((self.accuracy or self.agreement)["value"])


def load(
    variant: Variant,
    *,
    own_score: bool = False,
    least_score: float = min(THRESHOLDS),
    backend: str = "ort",
    compute: str | None = None,
) -> Model:
    """A variant, decoding from the lowest score that the proof counts.

    Args:
        variant: Its file may lie anywhere.
        own_score: Decode from the variant's own score instead.
        least_score: The score that boxes are decoded from, if the variant's own is higher.
        backend: Engine to run it in.
        compute: Precision to execute in; None is the engine's exact one.
    """
    params = dict(variant.spec.output.params)
    if variant.spec.task == "detect" and not own_score:
        params["score"] = min(least_score, float(params.get("score", 1.0)))
    if variant.spec.task == "keypoints" and not own_score:
        params["score"] = 0.0  # points count by their own scores, whatever the person's
    bundle = Bundle(variant.file, variant.id, "", {variant.id: variant}, {})
    return load_variant(
        bundle,
        Choice(variant, "proof"),
        BackendOptions(compute=compute),
        backend=backend,
        params=params,
    )


def prove(
    reference: Model,
    candidate: Model,
    frames: Iterable[Image],
    *,
    total: int,
    least: float,
    stage: str,
    progress: Tell,
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

    Raises:
        ModelError: fp32 gives NaN or infinity.
    """
    comparison = Comparison(reference, candidate)
    for done, image in enumerate(frames, 1):
        comparison.add(image)
        progress(stage, done, total)
    return comparison.proof(least)


class Comparison:
    """A variant beside fp32, picture by picture."""

    def __init__(self, reference: Model, candidate: Model) -> None:
        self._reference, self._candidate = reference, candidate
        self._agreement = agreement_for(reference.variant.spec.task)
        self._outputs = {name: TensorAgreement() for name in reference.pipeline.outputs}

    def add(self, image: Image) -> tuple[Result, Result]:
        """Runs both on one picture; gives what fp32 and what the variant made of it.

        Raises:
            ModelError: fp32 gives NaN or infinity.
        """
        ours, expected = self._reference.pipeline.examine(image)
        check_finite(expected)
        theirs, actual = self._candidate.pipeline.examine(image)
        self._agreement.add(ours, theirs)
        for name, tensor in self._outputs.items():
            tensor.add(expected[name], actual[name])
        return ours, theirs

    def proof(self, least: float) -> Proof:
        """What the pictures so far say, held to an agreement."""
        found = self._agreement.to_dict()
        found["value"] = round(found["value"], 6)
        broken = any(tensor.skipped for tensor in self._outputs.values())
        verdict = "fail" if broken else _verdict(self._agreement, least)
        return Proof(
            {**found, "least": least, "verdict": verdict},
            {name: tensor.to_dict() for name, tensor in self._outputs.items()},
        )


def check_finite(outputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuses fp32 outputs that nothing can be compared with; one picture shows most such models.

    Args:
        outputs: Raw outputs by name.

    Raises:
        ModelError: A value is NaN or infinite.
    """
    for name, values in outputs.items():
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            raise ModelError(
                f"the model's own output {name!r} is not finite",
                received=f"{bad} of {values.size} values NaN or infinite, in fp32",
                expected="finite numbers for every picture",
                hint="check scale, mean and std of the preset or --config, then the export",
            )


def one_sided(found: Mapping[str, Any]) -> bool:
    """Whether an agreement (``to_dict``) on classes rests on pictures that fp32 takes for one and the same."""
    if found["metric"] != "top1":
        return False
    return bool(
        found["classes"] < 2 or found["commonest_frames"] > MOST_OF_ONE_CLASS * found["frames"]
    )


def agreement_for(task: str) -> Agreement:
    """An empty tally of the metric that decides for a task."""
    return _AGREEMENTS.get(task, DetectionAgreement)()


def compare_speed(
    models: dict[str, Model], image: Image, progress: Tell, rounds: int = _ROUNDS
) -> dict[str, dict[str, Any]]:
    """Inference times of several variants on one picture, taken in turn so that a noisy machine is fair to all.

    Each round takes them in another order: what an engine's threads do after a run falls on whoever is next.

    Returns:
        Variant → ``latency_ms`` (percentiles of the inference alone), ``speedup``, the ratio of medians
        to the first variant, and ``won``, the share of rounds in which it was faster than that.
    """
    slots = {name: model.pipeline.loaded_slot(image) for name, model in models.items()}
    times: dict[str, list[int]] = {name: [] for name in models}
    order, names = np.random.default_rng(_SEED), list(models)
    begun = now_ns()
    for number in range(_WARM_UP + rounds):
        for place in order.permutation(len(names)).tolist():
            slot = slots[names[place]]
            started = now_ns()
            slot.submit()
            slot.wait()
            if number >= _WARM_UP:
                times[names[place]].append(now_ns() - started)
        progress("measuring", number + 1, _WARM_UP + rounds)
        if now_ns() - begun > _ENOUGH_NS and number >= _WARM_UP + _LEAST_ROUNDS:
            break
    first = np.array(times[names[0]])
    return {
        name: {
            "latency_ms": summary_ms(np.array(values)),
            "speedup": round(float(np.median(first) / np.median(values)), 3),
            "won": round(float(np.mean(np.array(values) < first)), 3),
        }
        for name, values in times.items()
    }


def _verdict(agreement: Agreement, least: float) -> str:
    few = agreement.samples < _LEAST_SAMPLES.get(agreement.metric, 0)
    if agreement.frames < LEAST_FRAMES or few or one_sided(agreement.to_dict()):
        return "insufficient"
    return "pass" if agreement.value >= least else "fail"
