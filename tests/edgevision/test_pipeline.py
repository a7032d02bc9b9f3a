from __future__ import annotations

import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from edgevision import registry
from edgevision.clock import STAGES
from edgevision.errors import BackendError, DataError, SpecError, UsageError
from edgevision.geometry import Affine
from edgevision.pipeline import Pipeline
from edgevision.tasks.detect import Detect

ONE_SURE = {"score": 0.6}


def boxes(result):
    return [[round(v) for v in box] for box in result.boxes_xyxy.tolist()]


def build(session, spec, task=None, stages=(), **params):
    decoder = registry.load("decoders", "yolov8")(labels=("red", "green", "blue"), **params)
    return Pipeline(session, spec, decoder, task or Detect(), stages)


def stream(pipeline, source):
    source.open()
    return pipeline.stream(source)


@pytest.fixture
def squares(draw_square):
    """Twenty pictures; picture ``i`` has its square at ``8 · (i % 7)``."""
    return [draw_square("red", (8 * (i % 7), 8)) for i in range(20)]


@pytest.mark.parametrize(
    "options", [{}, {"hint": "throughput", "threads": 1}, {"hint": "throughput", "threads": 4}]
)
def test_every_frame_comes_once_in_order_with_its_own_result(
    load, models, list_source, squares, options
):
    model = load(models.detector, params=ONE_SURE, **options)
    found = [
        (frame.index, boxes(result), frame.image is squares[frame.index])
        for frame, result in stream(model.pipeline, list_source(squares))
    ]
    wanted = [(i, [[8 * (i % 7), 8, 8 * (i % 7) + 16, 24]], True) for i in range(20)]
    assert found == wanted


def test_results_are_in_the_pixels_of_the_source(load, models, draw_square):
    model = load(models.detector, params=ONE_SURE)
    # 128×192 is scaled by 1/3 and centred: its 48×48 square becomes the 16×16 one at (16, 8 + 8).
    image = np.zeros((144, 192, 3), np.uint8)
    image[24 : 24 + 48, 48 : 48 + 48] = (255, 0, 0)
    result = model(image)
    assert boxes(result) == [[48, 24, 96, 72]]
    assert result.label(0) == "blue"
    assert result.scores[0] == pytest.approx(1, abs=1e-3)


def test_results_may_be_kept(load, models, list_source, squares):
    model = load(models.detector, params=ONE_SURE)
    kept = [result for _, result in stream(model.pipeline, list_source(squares))]
    assert [boxes(r)[0][0] for r in kept] == [8 * (i % 7) for i in range(20)]


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_a_stream_that_is_left_early_can_be_followed_by_another(
    load, models, list_source, squares, options
):
    model = load(models.detector, params=ONE_SURE, **options)
    for _ in range(3):
        frames = stream(model.pipeline, list_source(squares))
        for frame, _ in frames:
            if frame.index == 2:
                break
        frames.close()
    assert sum(1 for _ in stream(model.pipeline, list_source(squares))) == 20
    model.close()


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_a_second_stream_at_the_same_time_is_refused(load, models, list_source, squares, options):
    model = load(models.detector, params=ONE_SURE, **options)
    first = stream(model.pipeline, list_source(squares))
    next(first)
    with pytest.raises(UsageError, match="busy with another stream"):
        next(stream(model.pipeline, list_source(squares)))
    assert [boxes(r)[0][0] for _, r in first] == [8 * (i % 7) for i in range(1, 20)]
    assert sum(1 for _ in stream(model.pipeline, list_source(squares))) == 20


def test_single_pictures_may_be_asked_for_during_a_stream(
    load, models, list_source, squares, draw_square
):
    model = load(models.detector, params=ONE_SURE, hint="throughput", threads=2)
    for frame, result in stream(model.pipeline, list_source(squares)):
        assert boxes(model(draw_square("blue", (40, 40)))) == [[40, 40, 56, 56]]
        assert boxes(result)[0][0] == 8 * (frame.index % 7)


def test_pixels_that_one_source_lent_are_not_written_by_the_next(
    load, models, list_source, squares, squares_video
):
    model = load(models.detector)
    before = [image.copy() for image in squares]
    for image in squares:
        image.flags.writeable = False
    list(stream(model.pipeline, list_source(squares)))
    assert sum(1 for _ in model.stream(str(squares_video))) == 12
    assert all((a == b).all() for a, b in zip(before, squares, strict=True))


def watched(session):
    """A session that remembers its slots and which of them are submitted."""
    seen = SimpleNamespace(busy=set(), slots=0, attached=0)

    class Slot:
        device_ns = None

        def __init__(self, slot):
            self._slot, self.rows = slot, slot.rows
            seen.slots += 1

        def load(self, *a, **k):
            return self._slot.load(*a, **k)

        def submit(self, rows=None):
            self._slot.submit(rows)
            seen.busy.add(id(self))

        def wait(self, timeout_s=None):
            seen.busy.discard(id(self))
            return self._slot.wait(timeout_s)

    class Session:
        def __getattr__(self, name):
            return getattr(session, name)

        @contextmanager
        def attach(self):
            seen.attached += 1
            yield
            seen.attached -= 1

        def slot(self, shapes=None):
            return Slot(session.slot(shapes))

    return Session(), seen


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_no_slot_stays_submitted_after_an_early_end(
    session, models, variant_of, list_source, squares, hint
):
    wrapped, seen = watched(session(models.detector, hint=hint, threads=3))
    pipeline = build(wrapped, variant_of(models.detector).spec.input)
    frames = stream(pipeline, list_source(squares))
    next(frames)
    frames.close()
    assert seen.busy == set()


def test_the_thread_is_attached_while_it_streams(session, models, variant_of, list_source, squares):
    wrapped, seen = watched(session(models.detector))
    pipeline = build(wrapped, variant_of(models.detector).spec.input)
    attached = {seen.attached for _ in stream(pipeline, list_source(squares))}
    assert (attached, seen.attached) == ({1}, 0)


def test_slots_are_made_once(session, models, variant_of, list_source, squares):
    wrapped, seen = watched(session(models.detector, hint="throughput", threads=2))
    pipeline = build(wrapped, variant_of(models.detector).spec.input)
    for _ in range(2):
        assert len(list(stream(pipeline, list_source(squares)))) == 20
    assert seen.slots == wrapped.slots


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_stamps_add_up(load, models, list_source, squares, options):
    pipeline = load(models.detector, **options).pipeline
    count = sum(1 for _ in stream(pipeline, list_source(squares)))
    stages, total = pipeline.ring.stages_ns(), pipeline.ring.total_ns()
    assert stages.shape == (count, len(STAGES))
    assert (stages >= 0).all()
    assert (stages.sum(axis=1) == total).all(), "nothing is between two stages"
    timed = ("read", "queue", "load", "compute", "decode", "sink")
    assert (stages[:, [STAGES.index(s) for s in timed]] > 0).all()


def test_what_the_consumer_does_is_the_sink_s_time(load, models, list_source, squares):
    pipeline = load(models.detector).pipeline
    for _ in stream(pipeline, list_source(squares)):
        time.sleep(0.002)
    assert (pipeline.ring.stages_ns()[:, STAGES.index("sink")] >= 2_000_000).all()


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_failing_engine_is_told_and_the_model_goes_on(load, models, list_source, squares, hint):
    model = load(models.detector, "fake", hint=hint, threads=2, extra={"fail_at": 3})
    seen = []
    with pytest.raises(BackendError, match="run 3"):
        for frame, _ in stream(model.pipeline, list_source(squares)):
            seen.append(frame.index)
    assert seen == list(range(len(seen)))
    assert len(seen) <= 3
    assert sum(1 for _ in stream(model.pipeline, list_source(squares))) == 20
    model.close()


def test_a_failing_source_is_told_and_the_model_goes_on(load, models, list_source, squares):
    model = load(models.detector, hint="throughput", threads=2)
    with pytest.raises(DataError, match="torn"):
        list(stream(model.pipeline, list_source([*squares[:4], DataError("the film is torn")])))
    assert sum(1 for _ in stream(model.pipeline, list_source(squares))) == 20


def test_after_a_picture_that_cannot_be_loaded_the_next_is_fine(load, models, draw_square):
    model = load(models.detector, params=ONE_SURE)
    with pytest.raises(DataError, match="no picture"):
        model(np.zeros((64, 64), np.uint8))
    assert boxes(model(draw_square())) == [[16, 24, 32, 40]]


def test_after_outputs_that_cannot_be_decoded_each_call_says_the_same(
    load, tmp_path, models, draw_square
):
    path = models.make_detector(
        tmp_path / "two.onnx", metadata={"task": "detect", "names": "['a', 'b']"}
    )
    model = load(path)
    for _ in range(3):
        with pytest.raises(SpecError, match="2 labels for 3 classes") as told:
            model(draw_square())
    assert "(1, 7, 49)" in str(told.value)


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_frames_of_changing_size(load, models, list_source, draw_square, options):
    model = load(models.dynamic, params=ONE_SURE, **options)
    sizes = [(64, 64), (96, 128), (64, 64), (40, 40), (72, 72), (80, 80), (88, 88), (64, 64)] * 2
    images = [draw_square("green", (16, 16), size) for size in sizes]
    found = [(f.image.shape[:2], boxes(r)) for f, r in stream(model.pipeline, list_source(images))]
    assert found == [(size, [[16, 16, 32, 32]]) for size in sizes]


class Tiles(Detect):
    """Looks at tiles of 32×32 pixels, row by row."""

    def __init__(self, side=32):
        self.side = side
        self.asked = []

    def regions(self, frame, previous):
        self.asked.append(previous)
        steps = range(0, frame.height, self.side), range(0, frame.width, self.side)
        return [Affine.crop(x, y, self.side, self.side) for y in steps[0] for x in steps[1]]


@pytest.mark.parametrize("size", [(32, 32), (32, 64), (96, 32), (64, 96), (96, 96)])
@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_a_frame_in_tiles(session, models, variant_of, list_source, draw_square, size, options):
    # Two rows in the slot; one to nine tiles, so more, less and odd numbers of them.
    pipeline = build(
        session(models.batched, **options),
        variant_of(models.batched).spec.input,
        Tiles(),
        score=0.6,
    )
    places = [(x, y) for y in range(8, size[0], 32) for x in range(8, size[1], 32)]
    images = [draw_square("red", place, size) for place in places]
    found = [boxes(result) for _, result in stream(pipeline, list_source(images))]
    assert found == [[[x, y, x + 16, y + 16]] for x, y in places]


def test_an_object_on_two_tiles_is_merged_to_one(session, models, variant_of, draw_square):
    class Overlapping(Detect):
        def regions(self, frame, previous):
            return [Affine.crop(x, 0, 32, 32) for x in (0, 16)]

    pipeline = build(
        session(models.batched), variant_of(models.batched).spec.input, Overlapping(), score=0.6
    )
    assert boxes(pipeline.once(draw_square("red", (16, 8), (32, 48)))) == [[16, 8, 32, 24]]


def test_regions_of_different_sizes_in_one_frame(
    session, tmp_path, models, variant_of, draw_square
):
    class Mixed(Detect):
        def regions(self, frame, previous):
            sides = ((0, 32), (32, 32), (64, 64), (128, 32))
            return [None] + [Affine.crop(x, 0, side, side) for x, side in sides]

    path = models.make_detector(tmp_path / "any2.onnx", size=None, batch=2)
    pipeline = build(session(path), variant_of(path).spec.input, Mixed(), score=0.6)
    for x in (0, 32, 80, 136):
        assert boxes(pipeline.once(draw_square("red", (x, 8), (64, 160)))) == [[x, 8, x + 16, 24]]


def test_a_task_that_looks_nowhere_finds_nothing(session, models, variant_of, list_source, squares):
    class Nowhere(Detect):
        def regions(self, frame, previous):
            return []

    pipeline = build(session(models.detector), variant_of(models.detector).spec.input, Nowhere())
    assert [len(r) for _, r in stream(pipeline, list_source(squares[:3]))] == [0, 0, 0]


def test_the_task_is_told_the_result_before(session, models, variant_of, list_source, draw_square):
    task = Tiles(64)
    pipeline = build(
        session(models.detector), variant_of(models.detector).spec.input, task, score=0.6
    )
    results = [r for _, r in stream(pipeline, list_source([draw_square()] * 3))]
    assert task.asked[0] is None
    assert [id(a) for a in task.asked[1:]] == [id(r) for r in results[:2]]


def test_classify_refuses_more_than_one_region(load, models):
    task = load(models.classifier).task
    with pytest.raises(UsageError, match="one region"):
        task.merge([], None)


class Recorder:
    def __init__(self, order):
        self.seen, self.resets, self.order = [], 0, order

    def update(self, frame, result):
        self.seen.append(frame.index)
        self.order.append(self)
        return result.select(np.arange(len(result))[:1])

    def reset(self):
        self.resets += 1
        self.seen.clear()


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 3}])
def test_stages_see_each_frame_once_in_order_and_start_anew(
    session, models, variant_of, list_source, squares, options
):
    order = []
    stages = Recorder(order), Recorder(order)
    pipeline = build(
        session(models.detector, **options), variant_of(models.detector).spec.input, stages=stages
    )
    for number in (1, 2):
        results = [r for _, r in stream(pipeline, list_source(squares))]
        assert {len(r) for r in results} == {1}  # what the stage makes of it is what comes out
        assert [stage.seen for stage in stages] == [list(range(20))] * 2
        assert [stage.resets for stage in stages] == [number, number]
    assert order == list(stages) * 40


def test_stages_are_left_out_of_single_pictures(session, models, variant_of, draw_square):
    stage = Recorder([])
    pipeline = build(
        session(models.detector), variant_of(models.detector).spec.input, stages=[stage]
    )
    pipeline.once(draw_square())
    assert (stage.seen, stage.resets) == ([], 0)


def test_examine_gives_the_raw_outputs_too(load, models, draw_square):
    model = load(models.detector, params=ONE_SURE)
    result, outputs = model.pipeline.examine(draw_square())
    assert boxes(result) == [[16, 24, 32, 40]]
    assert outputs["output0"].shape == (1, 7, 49)
