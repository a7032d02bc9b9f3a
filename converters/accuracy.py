"""The judge where pictures are labelled: what a variant may lose of the task's own metric, against fp32.

The metrics are `edgevision.metrics.accuracy`'s: mAP@0.5:0.95 for detectors, top-1 for classifiers. What counts as
enough are the project's own rules (docs/convert.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from edgevision.backends import Variant
from edgevision.converters.prove import (
    LEAST_DETECTIONS,
    LEAST_FRAMES,
    MOST_OF_ONE_CLASS,
    Comparison,
    Proof,
    load,
)
from edgevision.converters.validation import Validation
from edgevision.metrics.accuracy import Accuracy, accuracy_for
from edgevision.model import Model
from edgevision.progress import Progress

__all__ = ["LEAST_CLASSIFIED", "LEAST_MAP", "AccuracyJudge", "shortcoming"]

#: A classifier's accuracy is counted in steps of one picture: on fewer a step is more than 0.01.
LEAST_CLASSIFIED = 100
#: A detector that finds next to nothing loses next to nothing.
LEAST_MAP = 0.1
#: Detections are ranked from this score on: usual for mAP, which wants all that a model finds.
_LEAST_SCORE = 0.001
#: Classes listed in a report.
_WORST = 10


class AccuracyJudge:
    """Accuracy decides; agreement with fp32 is told beside it.

    Args:
        reference: fp32.
        validation: Labelled pictures.
        max_drop: What a variant may lose.
        least: Agreement that would pass, for the report.
        progress: Told how far it is.
    """

    decides = True

    def __init__(
        self,
        reference: Variant,
        validation: Validation,
        max_drop: float,
        least: float,
        progress: Progress,
    ) -> None:
        self._reference, self._validation = reference, validation
        self._max_drop, self._least, self._progress = max_drop, least, progress
        # Half of what may be lost is left for the pictures that confirm it.
        self.margin = max_drop / 2

    @cached_property
    def target(self) -> float:
        """fp32's accuracy on the pictures to choose by, less what may be lost."""
        return self.score(self._reference, "fp32: accuracy to start from") - self._max_drop

    def load(self, variant: Variant, *, backend: str = "ort", compute: str | None = None) -> Model:
        return load(variant, least_score=_LEAST_SCORE, backend=backend, compute=compute)

    def score(self, trial: Variant, stage: str) -> float:
        accuracy, pictures = self._tally(), self._validation.selection
        with self.load(trial) as model:
            for done, (image, truth) in enumerate(pictures, 1):
                accuracy.add(truth, model(image))
                self._progress(stage, done, len(pictures))
        return 0.0 if math.isnan(accuracy.value) else accuracy.value

    def prove(self, candidate: Model, stage: str) -> Proof:
        ours, theirs = self._tally(), self._tally()
        with self.load(self._reference) as reference:
            comparison = Comparison(reference, candidate)
            for done, (image, truth) in enumerate(self._validation.confirming(), 1):
                expected, found = comparison.add(image)
                ours.add(truth, expected)
                theirs.add(truth, found)
                self._progress(stage, done, self._validation.count)
        proof = comparison.proof(self._least)
        accuracy = compared(ours, theirs, self._max_drop)
        if proof.broken:
            accuracy["verdict"] = "fail"
        return Proof(proof.agreement, proof.outputs, accuracy)

    def _tally(self) -> Accuracy:
        pictures = self._validation.confirmation
        return accuracy_for(pictures.task, pictures.labels, classes=pictures.classes)


def compared(reference: Accuracy, candidate: Accuracy, max_drop: float) -> dict[str, Any]:
    """A variant's accuracy beside fp32's, with the verdict; JSON-ready."""
    ours, theirs = reference.to_dict(), candidate.to_dict()
    value, before = _number(theirs["value"]), _number(ours["value"])
    drop = round(before - value, 6) + 0.0
    found = {
        "metric": reference.metric,
        "value": value,
        "reference": before,
        "drop": drop,
        "max_drop": max_drop,
        "samples": reference.samples,
        "images": reference.images,
        "classes": sum(_count(row) > 0 for row in ours["per_class"].values()),
        "commonest_share": _commonest(ours),
        "lost_most": _lost_most(ours, theirs),
    }
    found["shortcoming"] = shortcoming(found)
    if found["shortcoming"]:
        return found | {"verdict": "insufficient"}
    return found | {"verdict": "pass" if drop <= max_drop else "fail"}


def shortcoming(found: Mapping[str, Any]) -> str:
    """Why an accuracy decides nothing, as a sentence; empty if it does."""
    least = LEAST_CLASSIFIED if found["metric"] == "top1" else LEAST_FRAMES
    if found["images"] < least:
        return f"There are {found['images']} labelled pictures to confirm with; a verdict needs {least}."
    if found["metric"] == "map50_95":
        if found["samples"] < LEAST_DETECTIONS:
            return (
                f"There are {found['samples']} labelled objects to confirm with; "
                f"a verdict needs {LEAST_DETECTIONS}."
            )
        if found["reference"] < LEAST_MAP:
            return (
                f"fp32 itself has only {found['reference']:.4f}: who finds next to nothing loses next to nothing. "
                "Check the preset, the labels and the order of the classes."
            )
        return ""
    if found["commonest_share"] > MOST_OF_ONE_CLASS:
        return (
            f"{found['commonest_share']:.0%} of the pictures have the same label: a model that always says so "
            "would do as well."
        )
    if found["reference"] <= found["commonest_share"]:
        return (
            f"fp32 itself is right in only {found['reference']:.1%}, no more than by always saying the commonest "
            "label. Check the preset, the labels and the order of the classes."
        )
    return ""


def _number(value: float | None) -> float:
    """None stands for nothing to be right about; then too little is what the verdict says."""
    return 0.0 if value is None else round(value, 6)


def _commonest(found: Mapping[str, Any]) -> float:
    """The share of pictures that the commonest label has; of objects likewise."""
    counts = [_count(row) for row in found["per_class"].values()]
    return round(max(counts) / sum(counts), 6) if sum(counts) else 0.0


def _count(row: Mapping[str, Any]) -> int:
    """Labelled pictures, or objects, of a class."""
    return int(row.get("samples", row.get("objects", 0)))


def _lost_most(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Classes by what the variant lost of them, the most first; only those that lost something."""
    key = "top1" if ours["metric"] == "top1" else "ap50_95"
    rows = []
    for name, row in ours["per_class"].items():
        before, after = row.get(key), theirs["per_class"].get(name, {}).get(key)
        if before is not None and after is not None and before > after:
            rows.append(
                {
                    "class": name,
                    "reference": round(before, 6),
                    "value": round(after, 6),
                    "samples": _count(row),
                }
            )
    return sorted(rows, key=lambda row: (row["value"] - row["reference"], row["class"]))[:_WORST]
