"""The demo's belts: one for each purpose, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.converters.demo import belt as belts
from edgevision.converters.demo.belt import SEEDS, SIZE, belt_data, pictures, wanted
from edgevision.sources._conveyor import Truth


def test_every_purpose_has_a_belt_of_its_own() -> None:
    first = {purpose: next(pictures(purpose, 1)).tobytes() for purpose in SEEDS}
    assert len(set(first.values())) == len(SEEDS) == 4


def test_the_data_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belts, "SAMPLES", 3)
    once, again = belt_data(), belt_data()
    assert once.digest == again.digest
    assert len(list(once.calibration)) == 3
    for a, b in zip(once.proof, again.proof, strict=True):
        assert a.shape == (SIZE[1], SIZE[0], 3)
        np.testing.assert_array_equal(a, b)


def test_what_is_hardly_seen_counts_neither_way() -> None:
    boxes = np.array([[0, 0, 9, 9], [20, 20, 30, 30]], np.float32)
    visible, ids = np.array([0.29, 0.31], np.float32), np.array([4, 5], np.int32)
    found = wanted(Truth(boxes, boxes, visible, ids, ids, ()))
    assert found.ignore.tolist() == [True, False]
    assert found.class_ids.tolist() == [4, 5]
