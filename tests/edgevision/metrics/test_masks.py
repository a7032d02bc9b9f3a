from __future__ import annotations

import json

import numpy as np
import pytest

from edgevision.geometry import Transform
from edgevision.metrics.masks import MaskAgreement, same_masks
from edgevision.results import NOTHING, Segmentation
from edgevision.runs import runs_of


def mask(*class_map, labels=("cat", "dog")):
    """A mask from lines of digits; a dot shows nothing."""
    picture = np.array([[NOTHING if c == "." else int(c) for c in line] for line in class_map])
    way = Transform.identity(*picture.shape)
    return Segmentation(*runs_of(picture.astype(np.uint8)), way, labels)


def square(left, right, size=100):
    """Class 0 in whole columns of a square picture."""
    picture = np.full((size, size), NOTHING, np.uint8)
    picture[:, left:right] = 0
    return Segmentation(*runs_of(picture), Transform.identity(size, size), ("cat",))


def agreement(*pairs):
    added = MaskAgreement()
    for reference, candidate in pairs:
        added.add(reference, candidate)
    return added


def test_the_same_masks_agree_fully():
    found = agreement((mask("00.", "1.."), mask("00.", "1..")))
    assert (found.value, found.samples, found.frames) == (1.0, 1, 1)


def test_iou_is_what_both_show_of_what_either_shows():
    # Both 2, either 4.
    assert agreement((mask("000."), mask(".000"))).value == 0.5


def test_pixels_are_added_up_over_pictures_before_they_are_divided():
    # 9 of 10 and 0 of 2: 9 / 12, not the mean of 0.9 and 0.
    found = agreement((mask("0000000000"), mask("000000000.")), (mask("00"), mask("..")))
    assert found.value == 0.75


def test_the_mean_is_over_classes_that_either_side_shows():
    # Class 0: 2 of 2. Class 1: 1 of 2. Class 2, invented: 0 of 1.
    found = agreement((mask("0011."), mask("001.2")))
    assert found.per_class == {0: 1.0, 1: 0.5, 2: 0.0}
    assert found.value == 0.5


def test_pixels_of_another_class_are_in_neither_intersection():
    assert agreement((mask("01"), mask("10"))).value == 0


def test_nothing_anywhere_is_nothing_to_disagree_on():
    found = agreement((mask(".."), mask("..")))
    assert (found.value, found.samples, found.frames) == (1.0, 0, 1)
    assert agreement().value == 1.0


def test_pictures_in_which_only_the_candidate_shows_something_are_no_samples():
    found = agreement((mask(".."), mask("0.")), (mask("0."), mask("0.")))
    assert (found.value, found.samples, found.frames) == (0.5, 1, 2)


def test_masks_of_two_sizes_cannot_be_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        agreement((mask("00"), mask("000")))


def test_it_can_be_written_as_json():
    found = agreement((mask("0011"), mask("001.")))
    assert json.loads(json.dumps(found.to_dict())) == {
        "metric": "miou", "value": 0.75, "samples": 1, "frames": 1, "iou": {"0": 1.0, "1": 0.5},
    }  # fmt: skip


# The golden check


@pytest.mark.parametrize(
    ("right", "tolerance", "fine"),
    [(50, 0.02, True), (51, 0.02, True), (52, 0.02, False), (52, 0.05, True), (56, 0.1, False)],
)
def test_the_golden_check_asks_for_an_iou(right, tolerance, fine):
    # 50 columns against 51: IoU 0.980; 52: 0.962; 56: 0.893.
    found = same_masks(square(0, 50), square(0, right), tolerance)
    assert (found == []) is fine
    assert all("cat: IoU 0." in line for line in found)


@pytest.mark.parametrize(("count", "fine"), [(4, True), (5, False)])
def test_the_golden_check_lets_a_few_pixels_of_a_small_mask_differ(count, fine):
    # At most 2 % of a fiftieth of 100×100 pixels, which is 4.
    picture = np.full((100, 100), NOTHING, np.uint8)
    picture[3, :count] = 0
    few = Segmentation(*runs_of(picture), Transform.identity(100, 100), ("cat",))
    nothing = square(0, 0)
    assert (same_masks(nothing, few, 0.02) == []) is fine
    assert (same_masks(few, nothing, 0.02) == []) is fine


def test_the_golden_check_tells_classes_apart():
    lines = same_masks(mask("0000", "...."), mask("1111", "...."), 0.1)
    assert [line.split(":")[0] for line in lines] == ["cat", "dog"]


def test_the_golden_check_of_another_size():
    assert "was expected" in same_masks(mask("00"), mask("000"), 0.1)[0]
