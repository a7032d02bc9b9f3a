"""Cameras played from sources: each has a thread and gives frames at its own pace, the newest one counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

import numpy as np

from edgevision.benchmarks.scenarios.losses import Losses, Lost
from edgevision.benchmarks.scenarios.measurement import MakeSource
from edgevision.clock import now_ns
from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.model import opened
from edgevision.sources import Source

__all__ = ["Cameras", "Taken"]

_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame that the pipeline took.

    Attributes:
        camera: Which one gave it, from 0.
        due_ns: When it was due, monotonic: the moment of capture.
        reading_ns: How long its camera's thread needed to read it.
    """

    camera: int
    due_ns: int
    reading_ns: int


@dataclass(slots=True)
class _Camera:
    """One camera: at the most one frame waits, a newer one takes its place.

    Attributes:
        waiting: What waits to be taken; None if nothing does.
        source: What is played, or was last; None before the first.
        served_ns: When one of its frames was taken last, monotonic; 0 before the first.
    """

    number: int
    phase_ns: int
    waiting: Taken | None = None
    served_ns: int = 0
    frame: Frame = field(default_factory=Frame)
    given: int = 0
    passes: int = 0
    source: Source | None = None
    problems: list[str] = field(default_factory=list)


class Cameras:
    """The frames of several cameras for one pipeline, which serves them in turn.

    A turn that is due goes to the camera that was served longest ago. To take the oldest frame would not be
    fair: where there is no time for all, cameras whose frames always come a moment too late would get nothing.

    Memory is bounded: a camera has one frame that waits and one that is being read.

    Args:
        make_source: Makes what a camera shows; a source that ends is opened again. While one is opened or
            closed its camera has no frames that could be lost.
        count: How many cameras.
        fps: Frames a second of each.
        seed: Of when each begins, within one frame's time.
    """

    def __init__(self, make_source: MakeSource, count: int, fps: float, seed: int) -> None:
        self._make_source = make_source
        self._period_ns = 1e9 / fps
        phases = np.random.default_rng(seed).uniform(0, self._period_ns, count)
        self.cameras = [_Camera(n, int(phase)) for n, phase in enumerate(phases)]
        self._losses = Losses(count, self._period_ns)
        self._changed = Condition()
        self._stop = Event()
        self._failure: BaseException | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this is entered, all cameras give frames."""
        began = now_ns()
        self._losses.begin(began)
        threads = [
            Thread(target=self._play, args=(camera, began), name=f"camera-{camera.number}")
            for camera in self.cameras
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for camera in self.cameras:
                if camera.source is not None:
                    camera.source.cancel()  # its thread may wait in a read
            for thread in threads:
                thread.join()

    def waits(self) -> bool:
        """Whether a frame can be taken now."""
        return any(camera.waiting for camera in self.cameras) or self._failure is not None

    def take(self, into: Frame) -> Taken | None:
        """Hands over a frame of the camera that was served longest ago; None if none comes for a while.

        The pixels change hands: the camera goes on with the buffer that ``into`` had.

        Raises:
            EdgevisionError: A camera failed.
        """
        with self._changed:
            if not self.waits():
                self._changed.wait(_LOOK_S)
            if self._failure is not None:
                raise self._failure
            ready = [camera for camera in self.cameras if camera.waiting is not None]
            if not ready:
                return None
            camera = min(ready, key=_turn)
            taken, camera.waiting = camera.waiting, None
            camera.served_ns = now_ns()
            _swap(into, camera.frame)
            return taken

    def count_anew(self) -> None:
        """What was lost until now does not count."""
        with self._changed:
            self._losses.begin(now_ns())

    def lost(self) -> Lost:
        """What was lost since `count_anew`, or since the cameras began."""
        with self._changed:
            return self._losses.until(now_ns())

    def _play(self, camera: _Camera, began_ns: int) -> None:
        try:
            origin, ended = began_ns + camera.phase_ns, began_ns
            while not self._stop.is_set():
                with opened(self._make_source()) as (source, _):
                    origin += now_ns() - ended
                    camera.passes, camera.source = camera.passes + 1, source
                    try:
                        origin = self._play_once(camera, source, origin)
                    finally:
                        ended = now_ns()
                        camera.problems = list(dict.fromkeys([*camera.problems, *source.problems]))
        except BaseException as error:  # whatever it was, the run must not wait for this camera
            with self._changed:
                self._failure = error
                self._changed.notify()

    def _play_once(self, camera: _Camera, source: Source, origin: int) -> int:
        """Plays a source to its end; returns when the frame after its last would have been due."""
        back, number, given = Frame(), 0, 0
        while True:
            due = origin + int(number * self._period_ns)
            if self._stop.wait(max(0, due - now_ns()) / 1e9):
                return due
            began = now_ns()
            if not source.read(back):
                break
            back.captured_ns, back.source = due, f"camera-{camera.number}"
            ended = now_ns()
            self._give(camera, back, Taken(camera.number, due, ended - began))
            given += 1
            newest = int((ended - origin) / self._period_ns)
            if newest > number + 1:
                missed = [origin + int(n * self._period_ns) for n in range(number + 1, newest)]
                with self._changed:
                    self._losses.unread(camera.number, missed)
            number = max(number + 1, newest)
        if not given and not self._stop.is_set():
            raise DataError("the source gave no frame when it was opened again")
        return due

    def _give(self, camera: _Camera, back: Frame, taken: Taken) -> None:
        with self._changed:
            if camera.waiting is not None:
                self._losses.replaced(camera.number, camera.waiting.due_ns)
            camera.given += 1
            camera.waiting = taken
            _swap(camera.frame, back)
            self._changed.notify()


def _turn(camera: _Camera) -> tuple[int, int]:
    """Of those that were not served yet, the one whose frame is older comes first."""
    return camera.served_ns, camera.waiting.due_ns if camera.waiting is not None else 0


def _swap(one: Frame, other: Frame) -> None:
    """Changes two frames' pixels, and all that is known of the second goes with them."""
    one.image, other.image = other.image, one.image
    one.format, one.index, one.pts_s = other.format, other.index, other.pts_s
    one.captured_ns, one.source = other.captured_ns, other.source
