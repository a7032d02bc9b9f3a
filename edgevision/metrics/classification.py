"""How often a classifier is right: its best class (top-1), or one of its best five (top-5)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from edgevision.metrics.truth import ClassTruth, class_names
from edgevision.results import Classification

__all__ = ["ClassificationAccuracy"]

_SHOWN_CONFUSIONS = 10


class ClassificationAccuracy:
    """Top-k accuracy over pictures.

    A result that lists fewer than ``k`` classes is judged by those it lists, so a decoder that gives only
    the best class makes top-5 the same as top-1; ``listed`` says how many the shortest result had.

    Args:
        labels: Names of the model's classes.
        top: The values of ``k``; the first decides.

    Attributes:
        images: Pictures added.
        listed: Classes in the shortest result; 0 before the first.
    """

    def __init__(self, labels: Sequence[str] = (), *, top: Sequence[int] = (1, 5)) -> None:
        if not top or min(top) < 1:
            raise ValueError(f"top must be whole numbers from 1, not {top!r}")
        self.metric = f"top{top[0]}"
        self.images = self.listed = 0
        self._labels, self._top = tuple(labels), tuple(top)
        self._right: Counter[int] = Counter()  # k → pictures
        self._of_class: Counter[int] = Counter()
        self._right_of_class: Counter[int] = Counter()
        self._confused: Counter[tuple[int, int]] = Counter()  # truth, found; -1 for nothing

    @property
    def value(self) -> float:
        """Share of pictures that are right at the first ``k``; NaN without pictures."""
        return self.accuracy(self._top[0])

    @property
    def samples(self) -> int:
        """Pictures."""
        return self.images

    def accuracy(self, k: int) -> float:
        """Share of pictures whose class is among the result's first ``k``; NaN without pictures.

        Raises:
            ValueError: ``k`` was not counted.
        """
        if k not in self._top:
            raise ValueError(f"top-{k} was not counted, only {self._top}")
        return self._right[k] / self.images if self.images else math.nan

    def add(self, truth: ClassTruth, result: Classification) -> None:
        """Adds one picture; an empty result is wrong."""
        found = result.class_ids.tolist()
        self.listed = min(self.listed, len(found)) if self.images else len(found)
        self.images += 1
        for k in self._top:
            self._right[k] += truth.class_id in found[:k]
        best = found[0] if found else -1
        self._of_class[truth.class_id] += 1
        self._right_of_class[truth.class_id] += best == truth.class_id
        if best != truth.class_id:
            self._confused[truth.class_id, best] += 1

    def to_dict(self) -> dict[str, Any]:
        """``top<k>`` for each ``k``, ``per_class`` {label → ``top1``, ``samples``}, ``confused`` (the commonest)."""
        value = self.value
        shares = {f"top{k}": self.accuracy(k) if self.images else None for k in self._top}
        return {
            "metric": self.metric,
            "value": None if math.isnan(value) else value,
            "samples": self.samples,
            "images": self.images,
            **shares,
            "listed": self.listed,
            "per_class": self._per_class(),
            "confused": self._commonest_confusions(),
        }

    def _per_class(self) -> dict[str, dict[str, Any]]:
        names = class_names(sorted(self._of_class), self._labels)
        return {
            name: {
                "top1": self._right_of_class[i] / self._of_class[i],
                "samples": self._of_class[i],
            }
            for i, name in names.items()
        }

    def _commonest_confusions(self) -> list[dict[str, Any]]:
        # Of equal counts the lower class ids come first, whatever the order of the pictures was.
        pairs = sorted(self._confused.items(), key=lambda pair: (-pair[1], pair[0]))
        pairs = pairs[:_SHOWN_CONFUSIONS]
        names = class_names(sorted({i for pair, _ in pairs for i in pair}), self._labels)
        names[-1] = ""
        return [
            {"truth": names[truth], "found": names[found], "images": count}
            for (truth, found), count in pairs
        ]
