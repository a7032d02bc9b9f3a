"""What one run gave, whichever way the work was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.clock import STAGES
from edgevision.errors import EdgevisionError
from edgevision.sources import Source, SourceInfo

__all__ = ["MakeSource", "Measurement", "Tell", "nothing"]

#: Makes the source anew, for each time that it is opened.
MakeSource = Callable[[], Source]
#: Told, between queries, how much of the run is done, 0…1.
Tell = Callable[[float], None]


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run gave.

    Attributes:
        stages_ns: int64 ``(queries, len(STAGES))``, nanoseconds.
        total_ns: int64 ``(queries,)``, nanoseconds end to end; in an open loop from when the query
            was due.
        warmup_ns: int64 ``(warm-up queries,)``, likewise; not in the other two.
        ran_ns: From the first counted query's begin to the last one's completion, without the time
            in which the source was opened again.
        first_inference_ns: From a frame in memory to its result, before anything else had run; with
            ``inference_only`` the first submit and wait.
        invalid_reason: Why the numbers must not be quoted; None if they may.
        info: The source; None if there was none to open.
        passes: How often the source was opened for queries.
        samples_per_query: Pictures that a query holds.
        problems: What the source had to say.
        begins_ns: int64 ``(queries,)``: when each query began (was due, in an open loop), counted
            from the first one's begin.
        origin_ns: When the first counted query began, monotonic; 0 if none did.
        result: The scenario's own figure: ``metric``, ``value``, ``percentile``, ``estimate_ms``,
            ``queries_needed``; None if there is nothing to say.
        scenario_options: What this scenario was told, and what it found out; JSON-ready.
        camera: Age of the results and frames dropped; None where no camera was played.
        flags: What to know before quoting it: ``kind`` and ``text``.
        failure: What ended the run before its terms were met; None if nothing did.
    """

    stages_ns: NDArray[np.int64]
    total_ns: NDArray[np.int64]
    warmup_ns: NDArray[np.int64]
    ran_ns: int
    first_inference_ns: int | None
    invalid_reason: str | None
    info: SourceInfo | None = None
    passes: int = 1
    samples_per_query: int = 1
    problems: tuple[str, ...] = ()
    begins_ns: NDArray[np.int64] = field(default_factory=_none)
    origin_ns: int = 0
    result: Mapping[str, Any] | None = None
    scenario_options: Mapping[str, Any] = field(default_factory=dict)
    camera: Mapping[str, Any] | None = None
    flags: tuple[Mapping[str, str], ...] = ()
    failure: EdgevisionError | None = None


def nothing(reason: str, info: SourceInfo | None) -> Measurement:
    """A run in which there was nothing to measure."""
    stages = np.empty((0, len(STAGES)), np.int64)
    return Measurement(stages, _none(), _none(), 0, None, reason, info, 0)
