"""Frames that share a slot: a batch is filled with those that follow, as far as they are there."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.clock import StageRing
from edgevision.errors import DataError


def boxes(result):
    return [[round(v) for v in box] for box in result.boxes_xyxy.tolist()]


@pytest.fixture
def squares(draw_square):
    """Seven pictures 32×32; picture ``i`` has its square at ``8 · (i % 3)``."""
    return [draw_square("red", (8 * (i % 3), 8), (32, 32)) for i in range(7)]


@pytest.fixture
def open_batched(load, models):
    def open_it(**options):
        model = load(models.batched, params={"score": 0.6}, **options)
        model.pipeline.ring = StageRing(64)
        submitted = []
        session, slot = model.session, model.session.slot

        def watched(shapes=None):
            made = slot(shapes)
            submit = made.submit
            made.submit = lambda rows=None: (submitted.append(rows), submit(rows))[1]
            return made

        session.slot = watched
        return model, submitted

    return open_it


def found(model, source):
    source.open()
    return [(f.index, boxes(r)) for f, r in model.pipeline.stream(source)]


@pytest.mark.parametrize("options", [{}, {"hint": "throughput", "threads": 2}])
def test_frames_fill_the_rows_and_each_keeps_its_own_result(
    open_batched, list_source, squares, options
):
    model, submitted = open_batched(**options)
    wanted = [(i, [[8 * (i % 3), 8, 8 * (i % 3) + 16, 24]]) for i in range(7)]
    assert found(model, list_source(squares)) == wanted
    assert submitted == [2, 2, 2, 1]


def test_stages_of_frames_that_share_a_slot_add_up(open_batched, list_source, squares):
    model, _ = open_batched()
    found(model, list_source(squares))
    ring = model.pipeline.ring
    assert ring.count == 7
    assert (ring.stages_ns().sum(axis=1) == ring.total_ns()).all()
    assert (ring.stages_ns() >= 0).all()


def test_frames_of_different_sizes_each_have_their_own_place(
    open_batched, list_source, draw_square
):
    model, submitted = open_batched()
    images = [draw_square("red", (8, 8), (32, 32)), np.zeros((64, 64, 3), np.uint8)]
    images[1][32:64, 0:32] = (0, 0, 255)
    assert found(model, list_source(images)) == [(0, [[8, 8, 24, 24]]), (1, [[0, 32, 32, 64]])]
    assert submitted == [2]  # the tensor has one size, whatever the frames have


def test_nobody_waits_for_a_live_source_to_fill_a_row(open_batched, list_source, squares):
    model, submitted = open_batched()
    source = list_source(squares)
    source.live = True
    assert len(found(model, source)) == 7
    assert submitted == [1] * 7


def test_frames_of_a_live_source_that_are_there_are_taken(open_batched, list_source, squares):
    model, submitted = open_batched()
    source = list_source(squares)
    source.live = True
    answers = iter([False, True, True, False] + [False] * 20)
    source.ready = lambda: next(answers)
    assert len(found(model, source)) == 7
    assert sum(submitted) == 7
    assert 2 in submitted


def test_what_waits_on_a_live_source_is_handed_over_first(load, models, list_source, squares):
    model = load(models.batched, hint="throughput", threads=3)
    source = list_source(squares)
    events = []
    read = source.read
    source.read = lambda into: (events.append("read"), read(into))[1]
    source.ready = lambda: False
    source.open()
    for _ in model.pipeline.stream(source):
        events.append("result")
    assert events == ["read", "result"] * 7 + ["read"]


def test_failure_of_a_read_in_the_midst_of_a_batch_leaves_the_model_usable(
    open_batched, list_source, squares
):
    model, _ = open_batched()
    source = list_source(squares)
    read, count = source.read, []

    def failing(into):
        count.append(1)
        if len(count) == 4:
            raise DataError("the camera was unplugged")
        return read(into)

    source.read = failing
    with pytest.raises(DataError, match="unplugged"):
        found(model, source)
    assert len(found(model, list_source(squares))) == 7
