"""One frame's way: source → regions → slot → decoder → merge → stages, with a stamp at each boundary.

With one slot each frame is finished before the next is read. With several (the hint ``throughput``) the
next frames are read and loaded while earlier ones compute; results still come out in order. Where a slot has
several rows (a batch), the frames that follow fill them, as far as they are there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from edgevision.backends import Session, Slot
from edgevision.clock import STAGES, StageRing, now_ns
from edgevision.decoders import Decoder
from edgevision.errors import EdgevisionError, UsageError
from edgevision.frame import Frame, Image
from edgevision.geometry import Affine, Transform
from edgevision.pixel_formats import to_bgr
from edgevision.preprocess import tensor_size
from edgevision.results import Result
from edgevision.sources import Frames
from edgevision.spec import InputSpec, Shape, TensorSpec
from edgevision.stages import Stage
from edgevision.tasks import Task
from edgevision.tensors import image_input
from edgevision.work import Run, Work

__all__ = ["Pipeline"]

_READ, _QUEUE, _LOAD, _, _COMPUTE, _, _DECODE, _SINK = range(len(STAGES))
_TOTAL = len(STAGES)
_NO_TIME = (0,) * (_TOTAL + 1)
#: Sizes of tensor that keep their slots at the same time, for models that take any size.
_SIZES_KEPT = 4


class Pipeline:
    """Drives one session over frames. One thread at a time.

    Attributes:
        ring: Durations of the latest frames by stage.
        open_rows: Rows of a slot where the model leaves them open; set before the first frame.
    """

    def __init__(
        self,
        session: Session,
        spec: InputSpec,
        decoder: Decoder,
        task: Task,
        stages: Sequence[Stage] = (),
        ring: StageRing | None = None,
    ) -> None:
        self._session, self._spec, self._decoder, self._task = session, spec, decoder, task
        self._stages = tuple(stages)
        self.ring = ring or StageRing()
        self.open_rows = 1
        self._input = image_input(spec, session.inputs)
        self._idle: dict[tuple[int, int], list[Slot]] = {}
        self._depth = session.slots
        self._one = Work()
        self._streaming = False
        self._previous: Result | None = None

    def once(self, image: Image) -> Result:
        """One picture: uint8 ``(H, W, 3)`` BGR, only read. Stages are left out, nothing is stamped."""
        work = self._one
        work.frame.image = image
        try:
            self._submit(work, None)
            return self._finish(work)
        finally:
            self._abandon(work)

    def examine(self, image: Image) -> tuple[Result, Mapping[str, NDArray[Any]]]:
        """One whole picture: its result, and the raw outputs, views that are valid until the next call."""
        work = self._one
        work.frame.image = image
        slot = self._take_slot(work, None)
        transform = slot.load(image)
        slot.submit(1)
        outputs = slot.wait()
        part = self._decoder.decode(outputs, 0, transform)
        self._give_back(slot, transform.tensor_hw)
        return self._task.merge([part], work.frame), outputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The model's outputs by name."""
        return self._session.outputs

    def loaded_slot(self, image: Image) -> Slot:
        """A slot of its own with a picture loaded, for measuring the engine alone."""
        size = tensor_size(self._spec, *image.shape[:2])
        slot = self._session.slot(self._shapes(size))
        slot.load(image)
        return slot

    def stream(self, source: Frames) -> Iterator[tuple[Frame, Result]]:
        """Results of an opened source, in order.

        Yields:
            The frame, valid until the next iteration, and its result, which the caller may keep.

        Raises:
            UsageError: Another stream of this pipeline has not ended: stages and slots serve one.
        """
        if self._streaming:
            raise UsageError(
                "this model is busy with another stream",
                expected="one stream at a time",
                hint="end or close() the other one, or open the model once more",
            )
        self._streaming = True
        for stage in self._stages:
            stage.reset()
        self._previous = None
        # New frames for each stream: a source may have put pixels of its own into the old ones.
        rows = self._rows
        works = tuple(Work() for _ in range(self._depth * rows))
        spare, pending = list(works), deque[list[Work]]()
        ready = getattr(source, "ready", None)
        with self._session.attach():
            try:
                more = True
                while more:
                    # A live source may keep us waiting: what is under way must not wait for that too.
                    while pending and ready is not None and not ready():
                        yield from self._deliver_all(pending, spare)
                    group, more = self._read_some(source, spare, rows, ready)
                    if group:
                        self._submit_all(group)
                        pending.append(group)
                    if len(pending) >= self._depth:
                        yield from self._deliver_all(pending, spare)
                while pending:
                    yield from self._deliver_all(pending, spare)
            finally:
                for work in works:  # after an early end engines may still write into slots
                    self._abandon(work)
                self._streaming = False

    @property
    def least_score(self) -> float:
        """What the decoder leaves out at the most; 0 if it leaves nothing out."""
        return self._decoder.score

    def close(self) -> None:
        """Lets go of the slots, so that the session can free their buffers."""
        self._idle.clear()

    @property
    def _rows(self) -> int:
        """Rows of a slot."""
        batch = self._input.shape[0]
        return batch if isinstance(batch, int) else self.open_rows

    def _read_some(
        self,
        source: Frames,
        spare: list[Work],
        rows: int,
        ready: Callable[[], bool] | None,
    ) -> tuple[list[Work], bool]:
        """The next frame, and those behind it that fill a slot; whether there may be more.

        Nobody waits for a row to be filled: of a live source only frames that are there already are taken.
        """
        group: list[Work] = []
        while not group or (len(group) < rows and (ready() if ready else not source.live)):
            work = spare.pop()
            if not self._read(work, source):
                spare.append(work)
                return group, False
            group.append(work)
        return group, True

    def _read(self, work: Work, source: Frames) -> bool:
        """Reads a frame; False at the end of the source."""
        work.row[:] = _NO_TIME
        work.frame.source = ""  # the source before this one may have set it
        work.started = work.mark = now_ns()
        if not source.read(work.frame):
            return False
        work.stamp(_READ)
        return True

    def _submit_all(self, group: Sequence[Work]) -> None:
        """Sends frames to the engine: in one slot where they are looked at as a whole and have the same size."""
        first = group[0]
        alone = len(group) == 1 or any(
            tuple(self._task.regions(work.frame, self._previous)) != (None,)
            or self._size(work.frame, None) != self._size(first.frame, None)
            for work in group
        )
        if alone:
            for work in group:
                self._submit(work, self._previous)
            return
        slot = self._take_slot(first, None)
        transforms: list[Transform] = []
        for row, work in enumerate(group):
            work.parts.clear()
            work.stamp(_QUEUE)
            image, format = self._loadable(work)
            transforms.append(slot.load(image, row=row, format=format))
            work.stamp(_LOAD)
        for work in group:
            work.stamp(_QUEUE)  # while the others were loaded
        slot.submit(len(group))
        first.runs.append(Run(slot, transforms, group))

    def _submit(self, work: Work, previous: Result | None) -> None:
        work.parts.clear()
        regions = self._task.regions(work.frame, previous)
        done = 0
        while done < len(regions):
            slot = self._take_slot(work, regions[done])
            work.stamp(_QUEUE)
            if not done:  # once for all regions
                image, format = self._loadable(work)
            chunk = self._alike(regions[done : done + slot.rows], work.frame)
            transforms = [
                slot.load(image, row=row, region=r, format=format) for row, r in enumerate(chunk)
            ]
            work.stamp(_LOAD)
            slot.submit(len(chunk))
            work.runs.append(Run(slot, transforms))
            done += len(chunk)
            if done < len(regions):  # a frame of many regions uses one slot after another
                self._collect(work)

    def _loadable(self, work: Work) -> tuple[Image, str]:
        """A frame's pixels and their format, turned into one that the session takes."""
        image, format = work.frame.image, work.frame.format
        if format in self._session.formats:
            return image, format
        work.bgr = to_bgr(image, format, work.bgr)
        return work.bgr, "bgr"

    def _deliver_all(
        self, pending: deque[list[Work]], spare: list[Work]
    ) -> Iterator[tuple[Frame, Result]]:
        """Hands over the frames that were begun first."""
        for number, work in enumerate(pending[0]):
            if number:
                work.stamp(_QUEUE)  # while the one before was handed over
            result = self._finish(work)
            for stage in self._stages:
                result = stage.update(work.frame, result)
            self._previous = result
            work.stamp(_DECODE)
            yield work.frame, result
            work.stamp(_SINK)
            work.row[_TOTAL] = work.mark - work.started
            self.ring.add(work.row)
        spare += pending.popleft()

    def _finish(self, work: Work) -> Result:
        self._collect(work)
        return self._task.merge(work.parts, work.frame)

    def _collect(self, work: Work) -> None:
        """Waits for a frame's runs, decodes them and sets their slots free."""
        while work.runs:
            run = work.runs.pop(0)
            outputs = run.slot.wait()
            works = run.works or (work,)
            for each in works:
                each.stamp(_COMPUTE)
                each.split(run.slot.device_ns)
            for row, transform in enumerate(run.transforms):
                each = works[row] if run.works else work
                if row and run.works:
                    each.stamp(_QUEUE)  # while the rows before it were decoded
                each.parts.append(self._decoder.decode(outputs, row, transform))
                each.stamp(_DECODE)
            self._give_back(run.slot, run.transforms[0].tensor_hw)

    def _alike(self, regions: Sequence[Affine | None], frame: Frame) -> Sequence[Affine | None]:
        """The first of these regions, and those behind it that need a tensor of the same size."""
        if self._spec.size is not None or len(regions) == 1:
            return regions
        sizes = [self._size(frame, region) for region in regions]
        return regions[: next((n for n, s in enumerate(sizes) if s != sizes[0]), len(sizes))]

    def _size(self, frame: Frame, region: Affine | None) -> tuple[int, int]:
        """Height and width of the tensor for a region of a frame."""
        if self._spec.size is not None:
            return self._spec.size
        if region is None:
            return tensor_size(self._spec, frame.height, frame.width)
        return tensor_size(self._spec, region.height, region.width)

    def _take_slot(self, work: Work, region: Affine | None) -> Slot:
        size = self._size(work.frame, region)
        idle = self._idle.setdefault(size, [])
        if len(self._idle) > _SIZES_KEPT:
            del self._idle[next(key for key in self._idle if key != size)]
        return idle.pop() if idle else self._session.slot(self._shapes(size))

    def _give_back(self, slot: Slot, size: tuple[int, int]) -> None:
        if size in self._idle:
            self._idle[size].append(slot)

    def _shapes(self, size: tuple[int, int]) -> dict[str, Shape]:
        return {self._input.name: (self._rows, *self._spec.tensor_shape(*size))}

    def _abandon(self, work: Work) -> None:
        """Waits for what is still submitted; its slots are not used again, for they may have failed."""
        while work.runs:
            with suppress(EdgevisionError):
                work.runs.pop().slot.wait()
