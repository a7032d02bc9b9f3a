from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edgevision.metrics.tensors import TensorAgreement


def compare(*pairs):
    added = TensorAgreement()
    for reference, candidate in pairs:
        added.add(np.asarray(reference), np.asarray(candidate))
    return added


def test_cosine_and_sqnr_of_a_hand_worked_pair():
    # (3, 4)·(4, 3) = 24 of 5·5; signal 25, noise 1 + 1.
    added = compare(([3.0, 4.0], [4.0, 3.0]))
    assert added.cosine == pytest.approx(24 / 25)
    assert added.sqnr_db == pytest.approx(10 * math.log10(25 / 2))


def test_parts_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(3, 100, 1000)).astype(np.float32)
    b = a + rng.normal(0, 0.01, a.shape).astype(np.float32)
    added = compare(*zip(a, b, strict=True))
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert added.cosine == pytest.approx(cosine, abs=1e-12)
    expected = 20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - y))
    assert added.sqnr_db == pytest.approx(expected, abs=1e-9)
    assert added.count == a.size


def test_equal_tensors_have_no_noise():
    added = compare(([1.0, 2.0], [1.0, 2.0]))
    assert added.cosine == pytest.approx(1)
    assert added.sqnr_db == math.inf
    assert json.dumps(added.to_dict()) == f'{{"cosine": {added.cosine}, "sqnr_db": null}}'


@pytest.mark.parametrize(
    ("reference", "candidate", "cosine", "sqnr"),
    [
        ([0.0, 0.0], [0.0, 0.0], 1.0, math.inf),
        ([0.0, 0.0], [1.0, 0.0], 0.0, -math.inf),
        ([1.0, 0.0], [0.0, 0.0], 0.0, 0.0),
        ([1.0, 0.0], [-1.0, 0.0], -1.0, 10 * math.log10(1 / 4)),
        ([], [], 1.0, math.inf),
    ],
)
def test_zeros_and_opposites(reference, candidate, cosine, sqnr):
    added = compare((reference, candidate))
    assert added.cosine == pytest.approx(cosine)
    assert added.sqnr_db == pytest.approx(sqnr)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite_are_left_out_and_counted(bad):
    added = compare(([3.0, bad, 4.0, 1.0], [4.0, 1.0, 3.0, bad]))
    assert added.cosine == pytest.approx(24 / 25)
    assert (added.count, added.skipped) == (2, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8])
def test_small_dtypes_do_not_overflow(dtype):
    full = np.full(100_000, 100, dtype)
    added = compare((full, full // 2))
    assert added.cosine == pytest.approx(1)
    assert added.sqnr_db == pytest.approx(10 * math.log10(4))


def test_tensors_of_different_shapes_are_left_out_and_counted():
    added = compare(([3.0, 4.0], [4.0, 3.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), ([1.0], [[1.0]]))
    assert (added.count, added.sizes_differ) == (2, 2)
    found = added.to_dict()
    assert found["cosine"] == pytest.approx(24 / 25)
    assert found["sizes_differ"] == 2
    assert "skipped" not in found


@pytest.mark.parametrize(
    ("pairs", "left_out"),
    [
        ([([1.0], [1.0, 2.0])], {"sizes_differ": 1}),
        ([([1.0, 1.0], [np.nan, np.inf])], {"skipped": 2}),
        ([([], [])], {}),
        ([], {}),
    ],
)
def test_where_nothing_was_compared_there_is_no_number(pairs, left_out):
    assert compare(*pairs).to_dict() == {"cosine": None, "sqnr_db": None, **left_out}


def test_what_was_skipped_is_told():
    assert compare(([1.0, 2.0], [1.0, np.nan])).to_dict() == {
        "cosine": 1.0,
        "sqnr_db": None,
        "skipped": 1,
    }
