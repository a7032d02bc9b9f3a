"""Ways to send work to a model, each of which returns what every single query took.

What is measured is what ships: the pipeline's own stamps, while it runs as it does for ``run``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import Slot
from edgevision.benchmarks.terms import KeptStages, Plan, StopSign, Terms
from edgevision.clock import STAGES, StageRing, now_ns
from edgevision.errors import EdgevisionError
from edgevision.frame import Frame, Image
from edgevision.model import Model, opened
from edgevision.percentiles import LEAST_SAMPLES
from edgevision.sources import Source, SourceInfo

__all__ = ["Measurement", "inference_only", "single_stream"]

_COMPUTE = STAGES.index("compute")
#: With queries in flight, a pass over the source fills the slots at least so often.
_LEAST_ROUNDS = 20

#: Makes the source anew, for each time that it is opened.
MakeSource = Callable[[], Source]
#: Told, between queries, how much of the run is done, 0…1.
Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run gave.

    Attributes:
        stages_ns: int64 ``(queries, len(STAGES))``, nanoseconds.
        total_ns: int64 ``(queries,)``, nanoseconds end to end.
        warmup_ns: int64 ``(warm-up queries,)``, likewise; not in the other two.
        ran_ns: From the first counted query's begin to the last one's completion, without the time
            in which the source was opened again.
        first_inference_ns: From a frame in memory to its result, before anything else had run; with
            ``inference_only`` the first submit and wait.
        invalid_reason: Why the numbers must not be quoted; None if they may.
        info: The source; None if there was none to open.
        passes: How often the source was opened for queries.
        samples_per_query: Rows of the input that a query fills.
        problems: What the source had to say.
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


def single_stream(
    model: Model, make_source: MakeSource, plan: Plan, stop: StopSign, tell: Tell | None = None
) -> Measurement:
    """End to end: the next frame is read when the one before is done.

    With the hint ``throughput`` it is read as soon as a slot is free, so queries overlap. A source
    that ends is opened again, outside every query's time.

    Raises:
        EdgevisionError: The model or the source failed before the first query; later it makes the
            run invalid.
    """
    frame, info = _first_frame(make_source)
    if frame is None:
        return _nothing("the source gave no frame", info)
    first_ns = _timed(lambda: model(frame.image))
    kept = KeptStages((lambda: tell(terms.part_done())) if tell else None)
    terms = Terms(plan, kept, stop)
    feed = _Feed(terms)
    with _ring(model, kept):
        failure = _passes(model, make_source, feed)
    measured = _measurement(plan, terms, stop, failure, first_ns)
    measured = replace(measured, info=info, passes=feed.passes, problems=tuple(feed.problems))
    dry = None if measured.invalid_reason else _ran_dry(model, feed)
    return replace(measured, invalid_reason=dry) if dry else measured


def inference_only(
    model: Model, make_source: MakeSource, plan: Plan, stop: StopSign, tell: Tell | None = None
) -> Measurement:
    """The engine alone: the source's first frame is loaded once, only submit → wait is timed.

    With the hint ``throughput`` all of the session's slots are kept busy, so a query's time
    includes its waiting for a thread.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    frame, info = _first_frame(make_source)
    if frame is None:
        return _nothing("the source gave no frame", info)
    kept = KeptStages((lambda: tell(terms.part_done())) if tell else None)
    terms = Terms(plan, kept, stop)
    session, failure = model._session, None
    with session.attach():
        slots = [_loaded_slot(model, frame.image) for _ in range(session.slots)]
        first_ns = _timed(lambda: _once(slots[0]))
        try:
            _rotate(slots, terms)
        except EdgevisionError as error:
            failure = error
        terms.pause()
    measured = _measurement(plan, terms, stop, failure, first_ns)
    return replace(measured, info=info, samples_per_query=slots[0].rows)


class _Feed:
    """The source that the pipeline sees: the real one, until the run is over."""

    live = False

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.passes = self.frames = self.longest = 0
        self.problems: list[str] = []
        self._source: Source | None = None

    def use(self, source: Source) -> None:
        self._source = source
        self.passes += 1
        self.frames = 0

    def open(self) -> SourceInfo:
        raise NotImplementedError("the feed is handed to the pipeline open")

    def read(self, into: Frame) -> bool:
        if self._source is None or not self.terms.may_begin() or not self._source.read(into):
            return False
        self.terms.begun()
        self.frames += 1
        self.longest = max(self.longest, self.frames)
        return True

    def cancel(self) -> None:
        if self._source is not None:
            self._source.cancel()

    def close(self) -> None:
        self._source = None


def _passes(model: Model, make_source: MakeSource, feed: _Feed) -> EdgevisionError | str | None:
    """Runs the source to its end, again and again, until the run is over; returns what failed."""
    try:
        while not feed.terms.over:
            with opened(make_source()) as (source, _):
                feed.use(source)
                try:
                    deque(model.pipeline.stream(feed), maxlen=0)
                finally:
                    feed.terms.pause()
                    feed.problems = list(dict.fromkeys([*feed.problems, *source.problems]))
            if not feed.frames and not feed.terms.over:
                return "the source gave no frame when it was opened again"
    except EdgevisionError as error:
        return error
    return None


def _rotate(slots: list[Slot], terms: Terms) -> None:
    """Keeps all slots busy; each query is stamped from before its submit to after its wait."""
    idle, busy = deque(slots), deque[tuple[Slot, int]]()
    row = np.zeros(len(STAGES) + 1, np.int64)
    while terms.may_begin():
        terms.begun()
        slot = idle.popleft()
        begin = now_ns()
        slot.submit()
        busy.append((slot, begin))
        if not idle:
            idle.append(_wait(busy, row, terms.kept))
    while busy:
        _wait(busy, row, terms.kept)


def _wait(busy: deque[tuple[Slot, int]], row: NDArray[np.int64], kept: KeptStages) -> Slot:
    slot, begin = busy.popleft()
    slot.wait()
    row[_COMPUTE] = row[-1] = now_ns() - begin
    kept.add(row)
    return slot


def _once(slot: Slot) -> None:
    slot.submit()
    slot.wait()


def _loaded_slot(model: Model, image: Image) -> Slot:
    """A slot with the picture in every row, so that no row is easier than another."""
    slot = model.pipeline.loaded_slot(image)
    for row in range(1, slot.rows):
        slot.load(image, row=row)
    return slot


def _first_frame(make_source: MakeSource) -> tuple[Frame | None, SourceInfo]:
    """The source's first frame, with pixels of its own, and what is known of the source."""
    with opened(make_source()) as (source, info):
        frame = Frame()
        return (frame.copy() if source.read(frame) else None), info


@contextmanager
def _ring(model: Model, kept: StageRing) -> Iterator[None]:
    """While this is entered, the model's pipeline stamps into ``kept``."""
    before, model.pipeline.ring = model.pipeline.ring, kept
    try:
        yield
    finally:
        model.pipeline.ring = before


def _timed(work: Callable[[], object]) -> int:
    started = now_ns()
    work()
    return now_ns() - started


def _measurement(
    plan: Plan,
    terms: Terms,
    stop: StopSign,
    failure: EdgevisionError | str | None,
    first_ns: int,
) -> Measurement:
    counted, kept = terms.counted, terms.kept
    cut = kept.count - counted
    return Measurement(
        stages_ns=kept.stages_ns()[cut:],
        total_ns=kept.total_ns()[cut:],
        warmup_ns=kept.total_ns()[:cut],
        ran_ns=terms.ran_ns,
        first_inference_ns=first_ns,
        invalid_reason=_invalid(plan, terms, stop, failure),
    )


def _nothing(reason: str, info: SourceInfo) -> Measurement:
    empty = KeptStages()
    return Measurement(
        empty.stages_ns(), empty.total_ns(), empty.total_ns(), 0, None, reason, info, 0
    )


def _ran_dry(model: Model, feed: _Feed) -> str | None:
    """At the end of each pass the slots empty one by one: with short passes little overlaps."""
    slots = model.session.slots
    if slots == 1 or feed.passes == 1 or feed.longest >= _LEAST_ROUNDS * slots:
        return None
    return (
        f"the source has only {feed.longest} frames, so {slots} queries in flight were the exception; "
        f"it takes {_LEAST_ROUNDS * slots} frames or more, or synthetic://shapes"
    )


def _invalid(
    plan: Plan, terms: Terms, stop: StopSign, failure: EdgevisionError | str | None
) -> str | None:
    """Why it is not valid: it failed, it was interrupted, or it has too few queries to quote."""
    done = f"after {terms.counted} counted queries"
    if failure is not None:
        return f"{failure.problem if isinstance(failure, EdgevisionError) else failure}, {done}"
    if not terms.met:
        return f"interrupted by signal {stop.number} {done}"
    least = LEAST_SAMPLES[plan.percentile]
    if terms.counted < least:
        return (
            f"the result of {plan.scenario} is p{100 * plan.percentile:g}, which needs {least} "
            f"queries; {terms.counted} were run"
        )
    return None
