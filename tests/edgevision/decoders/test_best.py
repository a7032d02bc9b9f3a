from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.decoders._best import BestClass


def plainly(scores, threshold):
    """Anchor, class and score of scores ``(classes, anchors)``, in plain loops."""
    found = []
    for anchor, column in enumerate(scores.T.tolist()):
        if any(np.isnan(column)) or max(column) < threshold or max(column) == np.inf:
            continue
        found.append((anchor, column.index(max(column)), max(column)))
    return found


def search(scores, first=True, wanted=None):
    classes, anchors = scores.shape
    return BestClass(classes, anchors, first=first, dtype=scores.dtype, wanted=wanted)


def found(finder, scores, threshold):
    return list(zip(*(values.tolist() for values in finder.find(scores, threshold)), strict=True))


def quiet(classes=20, anchors=300, dtype=np.float32):
    """Scores far below any threshold."""
    return np.random.default_rng(1).uniform(0, 0.1, (classes, anchors)).astype(dtype)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 30),
    anchors=st.integers(1, 200),
    loud=st.sampled_from([0, 1, 3, 30, 1000]),
    wild=st.sampled_from([0.5, np.nan, np.inf, -np.inf]),
    dtype=st.sampled_from([np.float32, np.float16, np.float64]),
    first=st.booleans(),
)
def test_finds_what_plain_loops_find(seed, classes, anchors, loud, wild, dtype, first):
    rng = np.random.default_rng(seed)
    finder = None
    for _ in range(3):  # nothing of a picture remains for the next
        scores = rng.uniform(0, 0.2, (classes, anchors)).astype(dtype)
        at = rng.integers(classes, size=loud), rng.integers(anchors, size=loud)
        scores[at] = rng.integers(1, 9, loud) / 8  # so that many are equal
        scores[at[0][:2], at[1][::-1][:2]] = wild
        finder = finder or search(scores, first)
        given_ = scores if first else np.ascontiguousarray(scores.T)
        assert found(finder, given_, 0.25) == plainly(scores, 0.25)


@pytest.mark.parametrize("first", [True, False])
def test_the_best_class_of_an_anchor_is_found_wherever_it_stands(first):
    scores = quiet()
    scores[[3, 7, 12], 40] = 0.5, 0.75, 0.625
    scores[[3, 7, 12], 41] = 0.5, 0.5, 0.5  # the lowest of equal ones
    scores[[19, 0], 299] = 0.5, 0.625
    found_ = found(search(scores, first), scores if first else scores.T, 0.25)
    assert found_ == [(40, 7, 0.75), (41, 3, 0.5), (299, 0, 0.625)]


def test_a_class_that_is_not_wanted_takes_its_anchor_along():
    scores = quiet()
    scores[[3, 7], 40] = 0.5, 0.75
    scores[3, 90] = 0.5
    assert found(search(scores, wanted=(3,)), scores, 0.25) == [(90, 3, 0.5)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_anchor_with_a_score_that_is_no_number_reaches_nothing(value):
    scores = quiet()
    scores[[3, 7], [40, 90]] = 0.5
    scores[5, 40] = value
    assert found(search(scores), scores, 0.25) == [(90, 7, 0.5)]


@pytest.mark.parametrize(("score", "count"), [(0.25, 1), (0.2499, 0)])
def test_the_threshold_itself_counts(score, count):
    scores = quiet()
    scores[3, 40] = score
    assert len(search(scores).find(scores, 0.25).anchors) == count


def test_scores_that_are_part_of_other_values_are_read_in_place():
    values = np.zeros((300, 24), np.float32)
    values[:, :4] = 600
    values[40, 4 + 7] = 0.75
    finder = BestClass(20, 300, first=False, dtype=values.dtype, wanted=None)
    assert found(finder, values[:, 4:], 0.25) == [(40, 7, 0.75)]


def test_no_scores_are_no_anchors():
    assert found(search(np.empty((0, 9), np.float32)), np.empty((0, 9), np.float32), 0.25) == []
    assert found(search(np.empty((9, 0), np.float32)), np.empty((9, 0), np.float32), 0.25) == []
