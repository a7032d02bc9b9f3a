from __future__ import annotations

import json

import numpy as np
import pytest

from edgevision.metrics.keypoints import (
    KeypointAgreement,
    heights,
    pair_people,
    same_keypoints,
)
from edgevision.results import Keypoints
from edgevision.skeleton import Skeleton

FOUR = Skeleton(("head", "hand", "hip", "foot"))


def people(*each):
    """People from lists of (x, y, score), with the mean score of their points."""
    values = np.array(each, np.float32).reshape(-1, 4, 3)
    scores = values[..., 2].mean(axis=1)
    return Keypoints(values[..., :2], values[..., 2], scores, FOUR)


def standing(x=0.0, y=0.0, score=0.9):
    """A person 100 pixels tall; the head at (x, y)."""
    return [(x, y, score), (x + 20, y + 40, score), (x, y + 50, score), (x, y + 100, score)]


def moved(person, index, dx=0.0, dy=0.0, score=None):
    """The same with one point elsewhere, or with another score."""
    changed = list(person)
    x, y, old = changed[index]
    changed[index] = (x + dx, y + dy, old if score is None else score)
    return changed


def agreement(*pairs):
    added = KeypointAgreement()
    for reference, candidate in pairs:
        added.add(reference, candidate)
    return added


ONE = people(standing())
NOBODY = Keypoints.empty(FOUR)


def test_the_same_points_agree_fully():
    found = agreement((ONE, ONE))
    assert (found.value, found.nme, found.samples, found.people) == (1.0, 0.0, 4, 1)


def test_the_error_is_the_mean_distance_in_heights():
    # The hand 30 to the right and 40 down: 50 of 100 pixels, one of four points.
    found = agreement((ONE, people(moved(standing(), 1, 30, 40))))
    assert found.nme == pytest.approx(0.5 / 4)
    assert found.value == pytest.approx(1 - 0.125)


def test_all_points_of_all_pictures_weigh_the_same():
    # Five pixels of 100 in one picture, nothing in the next: (4 · 0.05 + 0) / 8.
    found = agreement((ONE, people(standing(3, 4))), (ONE, ONE))
    assert found.nme == pytest.approx(0.025)
    assert (found.frames, found.samples) == (2, 8)


def test_the_size_of_the_picture_does_not_matter():
    large = people([(10 * x, 10 * y, s) for x, y, s in standing()])
    other = people([(10 * x, 10 * y, s) for x, y, s in standing(3, 4)])
    assert agreement((large, other)).nme == pytest.approx(
        agreement((ONE, people(standing(3, 4)))).nme
    )


@pytest.mark.parametrize(
    ("person", "height"),
    [
        (standing(), 100),
        ([(y, x, s) for x, y, s in standing()], 100),  # lying
        (moved(standing(), 3, score=0.2), 50),  # the foot does not count
        ([(0, 0, 0.9), (9, 9, 0.1), (9, 20, 0.1), (0, 70, 0.1)], 70),  # too few that count: all
        ([(5, 5, 0.9)] * 4, 1),  # at least a pixel
    ],
)
def test_the_height_is_the_longer_side_around_the_points_that_count(person, height):
    assert heights(people(person)).tolist() == [height]


def test_points_that_the_reference_is_not_sure_of_do_not_count():
    reference = people(moved(standing(), 1, score=0.29))
    found = agreement((reference, people(moved(standing(), 1, 30, 40, score=0.29))))
    assert (found.samples, found.nme, found.lost, found.invented) == (3, 0, 0, 0)


def test_a_score_that_trembles_around_the_limit_costs_nothing():
    sure, less = people(moved(standing(), 1, score=0.31)), people(moved(standing(), 1, score=0.16))
    assert agreement((sure, less)).nme == 0
    assert agreement((less, sure)).nme == 0


def test_a_point_that_is_lost_counts_as_a_whole_height():
    found = agreement((ONE, people(moved(standing(), 1, score=0.1))))
    assert (found.lost, found.nme, found.distance) == (1, 0.25, 0)


def test_a_point_that_is_invented_counts_as_a_whole_height():
    found = agreement((people(moved(standing(), 1, score=0.1)), ONE))
    assert (found.invented, found.samples) == (1, 3)
    assert found.nme == pytest.approx(1 / 4)  # three points and one that is not there


def test_no_point_errs_by_more_than_a_height():
    found = agreement((ONE, people(moved(standing(), 1, 0, 150))))
    assert found.nme == pytest.approx(0.25)


def test_a_person_who_is_not_found_loses_every_point():
    found = agreement((ONE, NOBODY))
    assert (found.lost, found.nme) == (4, 1.0)


def test_a_person_who_is_not_there_is_invented():
    found = agreement((NOBODY, ONE), (ONE, ONE))
    assert (found.invented, found.samples, found.people) == (4, 4, 1)
    assert found.nme == pytest.approx(4 / 8)


def test_scores_that_are_all_broken_do_not_pass():
    assert agreement((ONE, people(standing(score=0.0)))).value == 0
    assert agreement((people(standing(score=0.0)), people(standing(score=1.0)))).value == 0


def test_people_are_paired_by_where_they_are():
    reference = people(standing(0), standing(300, score=0.5), standing(600, score=0.4))
    candidate = people(standing(603, score=0.9), standing(2, score=0.8), standing(1000))
    assert pair_people(reference, candidate) == [(2, 0), (0, 1)]
    found = agreement((reference, candidate))
    assert (found.lost, found.invented, found.samples) == (4, 4, 12)
    assert found.nme == pytest.approx((4 * 0.03 + 4 * 0.02 + 4 + 4) / 16)
    assert found.distance == pytest.approx((4 * 0.03 + 4 * 0.02) / 8)


def test_two_candidates_cannot_both_be_the_same_person():
    assert pair_people(ONE, people(standing(5, score=0.5), standing(1))) == [(0, 1)]


@pytest.mark.parametrize(("shift", "pairs"), [(49, [(0, 0)]), (51, [])])
def test_half_a_height_away_is_somebody_else(shift, pairs):
    assert pair_people(ONE, people(standing(shift))) == pairs


def test_points_that_are_not_sure_hardly_tell_who_it_is():
    faint = people(moved(standing(), 1, score=0.01))
    assert pair_people(faint, people(moved(standing(), 1, 0, 1000, score=0.01))) == [(0, 0)]


def test_nobody_anywhere_is_nothing_to_disagree_on():
    found = agreement((NOBODY, NOBODY))
    assert (found.value, found.samples, found.frames) == (1.0, 0, 1)
    assert agreement().value == 1.0


def test_it_can_be_written_as_json():
    assert json.loads(json.dumps(agreement((ONE, ONE), (ONE, NOBODY)).to_dict())) == {
        "metric": "1-nme", "value": 0.5, "samples": 8, "frames": 2,
        "nme": 0.5, "distance": 0.0, "people": 2, "lost": 4, "invented": 0,
    }  # fmt: skip


# The golden check


def test_the_golden_check_of_the_same():
    assert same_keypoints(ONE, ONE, 0.02, 0.25) == []
    assert same_keypoints(NOBODY, NOBODY, 0.02, 0.25) == []


@pytest.mark.parametrize(("dx", "lines"), [(1.9, 0), (2.1, 1)])
def test_the_golden_check_measures_in_heights(dx, lines):
    found = same_keypoints(ONE, people(moved(standing(), 1, dx)), 0.02, 0.25)
    assert len(found) == lines
    assert all("hand" in line and "heights away" in line for line in found)


def test_the_golden_check_leaves_out_where_unsure_points_lie():
    unsure = moved(standing(), 1, score=0.2)
    assert same_keypoints(people(unsure), people(moved(unsure, 1, 90)), 0.02, 0.25) == []


@pytest.mark.parametrize(("score", "lines"), [(0.881, 0), (0.879, 1), (0.921, 1)])
def test_the_golden_check_compares_scores(score, lines):
    found = same_keypoints(ONE, people(moved(standing(), 3, score=score)), 0.02, 0.25)
    assert len(found) == lines
    assert all("foot 0.900: score" in line for line in found)


@pytest.mark.parametrize(("score", "lines"), [(0.26, 0), (0.28, 1)])
def test_the_golden_check_lets_people_at_the_threshold_come_and_go(score, lines):
    barely = people(standing(score=score))
    for reference, candidate, what in (
        (barely, NOBODY, "missing"),
        (NOBODY, barely, "not expected"),
    ):
        found = same_keypoints(reference, candidate, 0.02, 0.25)
        assert len(found) == lines
        assert all(what in line for line in found)
