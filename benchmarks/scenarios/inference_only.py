"""The engine alone: one frame is loaded once, and only submit → wait is timed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import Slot
from edgevision.benchmarks.scenarios.driving import Call, first_frame, timed, told_by, whole
from edgevision.benchmarks.scenarios.measurement import Measurement, nothing
from edgevision.benchmarks.terms import KeptStages, Terms
from edgevision.clock import STAGES, now_ns
from edgevision.errors import EdgevisionError
from edgevision.frame import Image
from edgevision.model import Model

__all__ = ["engine_alone"]

_COMPUTE = STAGES.index("compute")
#: Sends queries to loaded slots until the terms are met.
Send = Callable[[list[Slot], Terms], None]


def engine_alone(call: Call) -> Measurement:
    """The source's first frame in every row of every slot; `multi-stream` waits for all runs of a query.

    With the hint ``throughput`` all of the session's slots are kept busy, so a query's time
    includes its waiting for a thread.

    Raises:
        EdgevisionError: The model or the source failed before the first query; later it makes the
            run invalid.
    """
    frame, info = first_frame(call.make_source)
    if frame is None:
        return nothing("the source gave no frame", info)
    terms = told_by(call)
    session, failure = call.model.session, None
    with session.attach():
        slots = [_loaded_slot(call.model, frame.image) for _ in range(session.slots)]
        rows = slots[0].rows
        samples = call.plan.samples_per_query
        runs = 1 if samples is None else -(-samples // rows)
        first_ns = timed(lambda: _once(slots[0]))
        try:
            _rotate(slots, terms) if samples is None else _together(slots, terms, runs)
        except EdgevisionError as error:
            failure = error
    measured = whole(call, terms, failure, first_ns)
    return replace(measured, info=info, samples_per_query=samples or rows)


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


def _together(slots: list[Slot], terms: Terms, runs: int) -> None:
    """So many runs a query, spread over the slots; the next query when all of them are done."""
    busy = deque[Slot]()
    row = np.zeros(len(STAGES) + 1, np.int64)
    while terms.may_begin():
        terms.begun()
        begin = now_ns()
        for number in range(runs):
            if len(busy) == len(slots):
                busy.popleft().wait()
            slot = slots[number % len(slots)]
            slot.submit()
            busy.append(slot)
        while busy:
            busy.popleft().wait()
        row[_COMPUTE] = row[-1] = now_ns() - begin
        terms.kept.add(row)


def _once(slot: Slot) -> None:
    slot.submit()
    slot.wait()


def _loaded_slot(model: Model, image: Image) -> Slot:
    """A slot with the picture in every row, so that no row is easier than another."""
    slot = model.pipeline.loaded_slot(image)
    for row in range(1, slot.rows):
        slot.load(image, row=row)
    return slot
