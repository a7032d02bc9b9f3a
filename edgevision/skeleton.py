"""What the points of a key-point model are called, and which of them are joined when they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

__all__ = ["COCO_17", "Skeleton"]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Points in the order of the model's outputs.

    Attributes:
        names: One for each point, all different: they are keys of result lines.
        edges: Pairs of indices into ``names``.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def joined(cls, names: str, *chains: str) -> Skeleton:
        """A skeleton of names and of chains of names, each separated by spaces."""
        known = tuple(names.split())
        paths = [[known.index(name) for name in chain.split()] for chain in chains]
        return cls(known, tuple(pair for path in paths for pair in pairwise(path)))


#: The points and the 19 edges of COCO's ``person_keypoints`` annotations; left and right are the person's own.
COCO_17 = Skeleton.joined(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    "left_shoulder left_ear left_eye nose right_eye right_ear right_shoulder",
    "left_eye right_eye",
    "left_wrist left_elbow left_shoulder right_shoulder right_elbow right_wrist",
    "left_ankle left_knee left_hip right_hip right_knee right_ankle",
    "left_shoulder left_hip",
    "right_shoulder right_hip",
)
