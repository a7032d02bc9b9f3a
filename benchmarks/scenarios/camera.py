"""``camera``: cameras that give frames at their own pace, and results that are as old as they are."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.scenarios.cameras import Cameras
from edgevision.benchmarks.scenarios.driving import (
    Call,
    first_frame,
    looped,
    ring_of,
    timed,
    told_by,
    whole,
)
from edgevision.benchmarks.scenarios.losses import Lost
from edgevision.benchmarks.scenarios.measurement import Measurement, nothing
from edgevision.benchmarks.scenarios.open_loop import DueRing
from edgevision.benchmarks.scenarios.single_stream import judged
from edgevision.benchmarks.terms import Terms
from edgevision.clock import now_ns
from edgevision.errors import EdgevisionError
from edgevision.frame import Frame
from edgevision.percentiles import summary_ms

__all__ = ["camera"]


def camera(call: Call) -> Measurement:
    """End to end: a result's time is its age, from when its frame was due at the camera.

    The pipeline takes the newest frame of the camera that was served longest ago. What it does not get
    round to is replaced by newer ones, and counted as dropped.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    frame, info = first_frame(call.make_source)
    if frame is None:
        return nothing("the source gave no frame", info)
    first_ns = timed(lambda: call.model(frame.image))
    plan, terms = call.plan, told_by(call)
    cameras = Cameras(call.make_source, plan.cameras or 1, plan.fps or 30.0, plan.seed or 0)
    feed, failure = _Live(terms, cameras), None
    with ring_of(call.model, feed.ring), cameras.running():
        try:
            deque(call.model.pipeline.stream(feed), maxlen=0)
        except EdgevisionError as error:
            failure = error
        lost = feed.note()
    measured = judged(call, whole(call, terms, failure, first_ns))
    counted = feed.numbers[terms.skipped :][: terms.counted] if terms.warm else []
    given = max(one.given for one in cameras.cameras)
    passes = max(one.passes for one in cameras.cameras)
    return replace(
        measured,
        info=info,
        passes=passes,
        problems=tuple(dict.fromkeys(p for one in cameras.cameras for p in one.problems)),
        camera=_told(plan.fps or 30.0, measured, np.array(counted, np.int64), lost),
        flags=looped(info, given, passes),
    )


class _Live:
    """The cameras as the source of a pipeline; tells the ring when each frame was due.

    Attributes:
        ring: What the pipeline is to stamp into.
        numbers: Of each frame that was taken, in order: its camera.
    """

    live = True

    def __init__(self, terms: Terms, cameras: Cameras) -> None:
        self._terms, self._cameras = terms, cameras
        self.ring = DueRing(terms.kept)
        self.numbers: list[int] = []
        self._lost: Lost | None = None

    def ready(self) -> bool:
        """Whether a frame waits."""
        return self._cameras.waits()

    def read(self, into: Frame) -> bool:
        asked = now_ns()
        while self._goes_on():
            taken = self._cameras.take(into)
            if taken is None:
                continue
            got, due = now_ns(), taken.due_ns
            self._terms.begun()
            self.numbers.append(taken.camera)
            reading = taken.reading_ns
            self.ring.began(due, asked, got - asked - reading, got - due - reading)
            return True
        return False

    def note(self) -> Lost:
        """What was lost while queries counted; until now, when this is first called."""
        if self._lost is None:
            if not self._terms.warm:
                self._cameras.count_anew()
            self._lost = self._cameras.lost()
        return self._lost

    def _goes_on(self) -> bool:
        warm = self._terms.warm
        goes_on = self._terms.may_begin()
        if self._terms.warm and not warm:
            self._cameras.count_anew()
        if self._terms.met:
            self.note()
        return goes_on


def _told(
    fps: float, measured: Measurement, cameras: NDArray[np.int64], lost: Lost
) -> dict[str, Any]:
    """The record's ``camera``: ages and dropped frames, over all cameras, of each, and over time.

    Args:
        fps: Frames a second of each camera.
        measured: The results.
        cameras: int64 ``(results,)``: which camera gave each.
        lost: What they lost meanwhile.
    """
    age_ns = measured.total_ns
    # Without a result there is no first query to count from.
    origin_ns = measured.origin_ns if len(age_ns) else lost.began_ns
    each = [
        _one(age_ns[cameras == number], replaced, unread)
        for number, (replaced, unread) in enumerate(zip(lost.replaced, lost.unread, strict=True))
    ]
    return {
        "fps": fps,
        "cameras": len(each),
        **_one(age_ns, sum(lost.replaced), sum(lost.unread)),
        "per_camera": each,
        "over_time": lost.over_time(measured.begins_ns + origin_ns, cameras, origin_ns),
    }


def _one(age_ns: NDArray[np.int64], replaced: int, unread: int) -> dict[str, Any]:
    results, dropped = len(age_ns), replaced + unread
    return {
        "results": results,
        "age_ms": summary_ms(age_ns),
        "dropped": dropped,
        "unread": unread,
        "drop_rate": round(dropped / (results + dropped), 6) if results + dropped else None,
    }
