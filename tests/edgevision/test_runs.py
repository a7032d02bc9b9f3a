from __future__ import annotations

import numpy as np
import pytest

from edgevision.runs import counts_of, expand, mask_of, runs_of

#: Down the columns: 1 0, 1 1, 0 0.
SMALL = np.array([[1, 1, 0], [0, 1, 0]], np.uint8)


def test_runs_go_down_the_columns_from_left_to_right():
    starts, values = runs_of(SMALL)
    assert starts.tolist() == [0, 1, 2, 4]
    assert values.tolist() == [1, 0, 1, 0]
    assert (starts.dtype, values.dtype) == (np.int32, np.uint8)


def test_counts_begin_with_what_is_not_in_the_mask():
    starts, values = runs_of(SMALL)
    # pycocotools: 0 pixels out, 1 in, 1 out, 2 in, 2 out.
    assert counts_of(starts, values == 1, 6) == [0, 1, 1, 2, 2]
    assert counts_of(starts, values == 0, 6) == [1, 1, 2, 2]
    assert counts_of(starts, values == 7, 6) == [6]


def test_neighbouring_runs_outside_a_mask_are_one_count():
    starts, values = runs_of(np.array([[5, 6, 6, 7, 5]], np.uint8))
    assert counts_of(starts, values == 7, 5) == [3, 1, 1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (64, 48)])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_picture_comes_back_from_its_runs(shape, classes):
    picture = np.random.default_rng(0).integers(0, classes, shape).astype(np.uint8)
    starts, values = runs_of(picture)
    np.testing.assert_array_equal(expand(starts, values, shape), picture)
    for class_id in range(classes):
        counts = counts_of(starts, values == class_id, picture.size)
        np.testing.assert_array_equal(mask_of(counts, shape), picture == class_id)


def test_a_scratch_buffer_and_any_memory_layout_give_the_same_runs():
    picture = np.random.default_rng(1).integers(0, 2, (6, 9)).astype(np.uint8)
    wanted = runs_of(picture)
    for same in (np.asfortranarray(picture), np.repeat(picture, 2, axis=1)[:, ::2]):
        found = runs_of(same, np.empty(53, np.bool_))
        for ours, theirs in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("counts", [[], [5], [7], [-1, 7], [3, 4]])
def test_counts_of_another_size_are_refused(counts):
    with pytest.raises(ValueError, match=r"counts|negative"):
        mask_of(counts, (2, 3))


def test_pycocotools_reads_the_same_mask():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    picture = np.random.default_rng(2).integers(0, 2, (37, 53)).astype(np.uint8)
    starts, values = runs_of(picture)
    rle = {"size": [37, 53], "counts": counts_of(starts, values == 1, picture.size)}
    np.testing.assert_array_equal(coco.decode(coco.frPyObjects(rle, 37, 53)), picture)
