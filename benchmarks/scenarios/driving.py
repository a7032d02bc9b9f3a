"""What all end-to-end scenarios have in common: a first frame, the pipeline's stamps, and a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.feed import Feed, passes
from edgevision.benchmarks.scenarios.measurement import MakeSource, Measurement, Tell, nothing
from edgevision.benchmarks.terms import KeptStages, StopSign, Terms
from edgevision.clock import StageRing, now_ns
from edgevision.errors import EdgevisionError
from edgevision.frame import Frame
from edgevision.model import Model, opened
from edgevision.pixel_formats import to_bgr
from edgevision.sources import SourceInfo
from edgevision.text import counted

__all__ = [
    "Call",
    "drive",
    "first_frame",
    "looped",
    "ring_of",
    "timed",
    "told_by",
    "whole",
]

#: With queries in flight, a pass over the source fills the slots at least so often.
_LEAST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Call:
    """What a scenario is called with.

    Attributes:
        model: Ready to run; used by this thread only.
        make_source: Makes the source anew, for each time that it is opened.
        plan: What to run.
        stop: Ends the run early; it is then invalid.
        tell: Told how much is done.
    """

    model: Model
    make_source: MakeSource
    plan: Plan
    stop: StopSign
    tell: Tell | None = None


def drive(
    call: Call,
    make_feed: Callable[[Terms], tuple[Feed, StageRing]] | None = None,
    frames: MakeSource | None = None,
) -> Measurement:
    """Runs the model's pipeline over a source until the terms are met.

    Args:
        call: What the scenario was called with.
        make_feed: Makes the feed, and the ring that the pipeline is to stamp into; the ring has to
            pass on every query to the terms' ``kept``. By default a frame is a query.
        frames: Makes the source of the queries, if it is not the call's own.

    Raises:
        EdgevisionError: The model or the source failed before the first query; later it makes the
            run invalid.
    """
    frame, info = first_frame(call.make_source)
    if frame is None:
        return nothing("the source gave no frame", info)
    first_ns = timed(lambda: call.model(frame.image))
    terms = told_by(call)
    feed, ring = make_feed(terms) if make_feed else (Feed(terms), terms.kept)
    with ring_of(call.model, ring):
        failure = passes(call.model, frames or call.make_source, feed)
    measured = whole(call, terms, failure, first_ns)
    reason = measured.invalid_reason or _ran_dry(call.model, feed)
    return replace(
        measured,
        info=info,
        passes=feed.passes,
        problems=tuple(feed.problems),
        invalid_reason=reason,
        flags=looped(info, feed.total, feed.passes, feed.longest),
    )


def told_by(call: Call) -> Terms:
    """The terms of a call, which tell how far the run is."""
    tell = call.tell
    kept = KeptStages((lambda: tell(terms.part_done())) if tell else None)
    terms = Terms(call.plan, kept, call.stop, _cooldown_of(call))
    return terms


def _cooldown_of(call: Call) -> int:
    """Queries after the counted ones: by default so many as can be in flight beside one."""
    told = call.plan.cooldown
    return call.model.session.slots - 1 if told is None else told


def first_frame(make_source: MakeSource) -> tuple[Frame | None, SourceInfo]:
    """The source's first frame, with pixels of its own, blue-green-red, and what is known of the source."""
    with opened(make_source()) as (source, info):
        frame = Frame()
        if not source.read(frame):
            return None, info
        frame.image = to_bgr(frame.image, frame.format, np.empty((0, 0, 3), np.uint8))
        frame.format = "bgr"
        return frame.copy(), info


@contextmanager
def ring_of(model: Model, ring: StageRing) -> Iterator[None]:
    """While this is entered, the model's pipeline stamps into ``ring``."""
    before, model.pipeline.ring = model.pipeline.ring, ring
    try:
        yield
    finally:
        model.pipeline.ring = before


def timed(work: Callable[[], object]) -> int:
    """Nanoseconds that it takes."""
    started = now_ns()
    work()
    return now_ns() - started


def whole(
    call: Call, terms: Terms, failure: EdgevisionError | str | None, first_ns: int
) -> Measurement:
    """What was kept: warm-up, counted queries and when they began, without the cool-down."""
    kept, cut = terms.kept, terms.skipped if terms.warm else terms.kept.count
    rows = slice(cut, cut + terms.counted)
    total = kept.total_ns()
    begins = kept.begins_ns()[rows]
    return Measurement(
        stages_ns=kept.stages_ns()[rows],
        total_ns=total[rows],
        warmup_ns=total[:cut],
        ran_ns=terms.ran_ns,
        first_inference_ns=first_ns,
        invalid_reason=_cut_short(terms, call.stop, failure),
        failure=failure if isinstance(failure, EdgevisionError) else None,
        # The first to begin need not be the first to come: cameras differ in how long a read takes.
        begins_ns=begins - begins.min() if len(begins) else begins,
        origin_ns=int(begins.min()) if len(begins) else 0,
        scenario_options=call.plan.options(),
    )


def _cut_short(terms: Terms, stop: StopSign, failure: EdgevisionError | str | None) -> str | None:
    """Why the terms were not met; None if they were."""
    done = f"after {terms.counted} counted queries"
    if failure is not None:
        return f"{failure.problem if isinstance(failure, EdgevisionError) else failure}, {done}"
    if terms.hopeless is not None:
        return terms.hopeless
    if not terms.met:
        return f"interrupted by signal {stop.number} {done}"
    return None


def _ran_dry(model: Model, feed: Feed) -> str | None:
    """At the end of each pass the slots empty one by one: with short passes little overlaps."""
    slots = model.session.slots
    if slots == 1 or feed.passes == 1 or feed.longest >= _LEAST_ROUNDS * slots:
        return None
    return (
        f"the source has only {feed.longest} frames, so {slots} queries in flight were the exception; "
        f"it takes {_LEAST_ROUNDS * slots} frames or more, or synthetic://shapes"
    )


def looped(
    info: SourceInfo, given: int, opened_times: int, longest: int = 0
) -> tuple[Mapping[str, Any], ...]:
    """A flag, if the source is shorter than the run: it showed the same frames several times.

    Args:
        info: The source.
        given: Frames that were taken from it.
        opened_times: How often it was opened for that.
        longest: The most that it gave in one go; what a damaged file announces may be more. 0: as announced.
    """
    if opened_times <= 1 and not (info.frames and given > info.frames):
        return ()
    has = longest if opened_times > 1 and longest else info.frames
    frames = "" if has is None else f" of {counted(has, 'frame')}"
    text = f"the source{frames} is shorter than the run, which took {given}: it was shown again"
    if opened_times > 1:
        text += (
            f", {counted(opened_times - 1, 'time')}; each time a video's first frame takes longer"
        )
    return ({"kind": "looped", "text": text},)
