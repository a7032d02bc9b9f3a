"""What the tasks that look at a frame as a whole have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from edgevision.errors import UsageError
from edgevision.frame import Frame
from edgevision.geometry import Affine
from edgevision.results import Result

__all__ = ["WholeFrame", "only_part"]

R = TypeVar("R")


class WholeFrame:
    """One region: the frame, whatever it shows."""

    def regions(
        self,
        frame: Frame,  # noqa: ARG002 - the seam's
        previous: Result | None,  # noqa: ARG002
    ) -> Sequence[Affine | None]:
        return (None,)


def only_part(task: str, parts: Sequence[R]) -> R:
    """The result of a task that has one answer a frame.

    Raises:
        UsageError: There are none, or several.
    """
    if len(parts) != 1:
        raise UsageError(
            f"task {task!r} answers for one region of a frame",
            received=f"{len(parts)} results",
            expected="1",
        )
    return parts[0]
