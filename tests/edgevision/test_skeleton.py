from __future__ import annotations

import pytest

from edgevision.skeleton import COCO_17, Skeleton

#: ``categories[0].skeleton`` of COCO's person_keypoints_val2017.json, counted from 1.
PUBLISHED = [
    [16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
    [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7],
]  # fmt: skip


def test_the_edges_are_those_of_coco():
    ours = {frozenset(edge) for edge in COCO_17.edges}
    assert ours == {frozenset((a - 1, b - 1)) for a, b in PUBLISHED}
    assert len(COCO_17.edges) == len(PUBLISHED)


def test_the_points_are_in_the_order_of_coco():
    assert len(COCO_17) == 17
    assert COCO_17.names[0] == "nose"
    pairs = list(zip(COCO_17.names[1::2], COCO_17.names[2::2], strict=True))
    joints = ["eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    assert pairs == [(f"left_{joint}", f"right_{joint}") for joint in joints]


def test_chains_of_names_become_pairs():
    skeleton = Skeleton.joined("tip middle root", "root middle tip")
    assert skeleton == Skeleton(("tip", "middle", "root"), ((2, 1), (1, 0)))


def test_a_chain_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="not in"):
        Skeleton.joined("tip root", "tip elbow")
