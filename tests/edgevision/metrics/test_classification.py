from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgevision.metrics.classification import ClassificationAccuracy
from edgevision.metrics.truth import ClassTruth
from edgevision.results import Classification

LABELS = ("a", "b", "c", "d", "e", "f")


def classes(*ids):
    scores = np.linspace(0.9, 0.1, len(ids)) if ids else []
    return Classification(np.array(ids, np.int32), np.array(scores, np.float32), LABELS)


def measured(*pairs, **options):
    added = ClassificationAccuracy(LABELS, **options)
    for class_id, result in pairs:
        added.add(ClassTruth(class_id), result)
    return added


def test_top_1_and_top_5_worked_by_hand():
    added = measured(
        (0, classes(0, 1, 2, 3, 4)),  # best
        (4, classes(0, 1, 2, 3, 4)),  # fifth
        (5, classes(0, 1, 2, 3, 4)),  # not among five
        (4, classes(5, 4, 2, 3, 1)),  # second
    )
    said = added.to_dict()
    assert (said["metric"], said["value"], said["top1"], said["top5"]) == ("top1", 0.25, 0.25, 0.75)
    assert (said["samples"], said["images"], said["listed"]) == (4, 4, 5)
    assert said["per_class"] == {
        "a": {"top1": 1, "samples": 1},
        "e": {"top1": 0, "samples": 2},
        "f": {"top1": 0, "samples": 1},
    }
    assert said["confused"] == [
        {"truth": "e", "found": "a", "images": 1},
        {"truth": "e", "found": "f", "images": 1},
        {"truth": "f", "found": "a", "images": 1},
    ]
    assert json.loads(json.dumps(said)) == said


def test_a_sixth_class_is_not_in_the_top_5():
    assert measured((5, classes(0, 1, 2, 3, 4, 5))).accuracy(5) == 0


def test_an_empty_result_is_wrong():
    added = measured((0, classes(0)), (1, classes()))
    said = added.to_dict()
    assert (said["top1"], said["top5"], said["listed"]) == (0.5, 0.5, 0)
    assert said["confused"] == [{"truth": "b", "found": "", "images": 1}]


def test_without_pictures_there_is_no_number():
    added = measured()
    assert math.isnan(added.value)
    said = added.to_dict()
    assert (said["value"], said["top5"], said["samples"]) == (None, None, 0)


def test_the_commonest_confusions_come_first_and_no_more_than_ten():
    pairs = [(t, classes(f)) for t in range(6) for f in range(6) if t != f]
    said = measured(*pairs, (3, classes(2))).to_dict()["confused"]
    assert said[0] == {"truth": "d", "found": "c", "images": 2}
    assert len(said) == 10


def test_another_k_decides_when_asked():
    added = measured((1, classes(0, 1)), (0, classes(0, 1)), top=(2,))
    assert (added.metric, added.value) == ("top2", 1)
    with pytest.raises(ValueError, match="top-5"):
        added.accuracy(5)
    with pytest.raises(ValueError, match="from 1"):
        ClassificationAccuracy(top=(0,))
