from __future__ import annotations

import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.cuda.job import JOB, Job, Pixels, supports
from edgevision.errors import DataError
from edgevision.geometry import Affine
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec


def test_the_record_is_the_struct_that_the_kernel_reads(shim, tmp_path):
    """g++ compares each field's place and size with the struct in the source."""
    checks = [f'#include "{shim.PREPROCESS}"']
    checks += [f'static_assert(sizeof(Job) == {JOB.itemsize} && alignof(Job) == 16, "Job");']
    for name, (dtype, offset) in JOB.fields.items():
        place, size = (
            f"offsetof(Job, {name}) == {offset}",
            f"sizeof(Job::{name}) == {dtype.itemsize}",
        )
        checks.append(f'static_assert({place} && {size}, "{name}");')
    test = tmp_path / "fields.cu"
    test.write_text("\n".join(checks))
    shim.build(tmp_path / "fields.so", [test])
    test.write_text(
        test.read_text().replace("offsetof(Job, top) == 60", "offsetof(Job, top) == 64")
    )
    with pytest.raises(subprocess.CalledProcessError) as refused:  # the comparison can fail
        shim.build(tmp_path / "fields.so", [test])
    assert "top" in refused.value.stderr


def test_a_letterbox_as_worked_by_hand():
    # 1920×1080 into 640×640: a third, 640×360, 140 rows of padding above. Tensor pixel (0, 140) is the mean
    # of pixels 0…2, so its sample is at pixel 1; each next one is 3 pixels on.
    spec = InputSpec(size=(640, 640))
    job = Job(spec, (640, 640))
    transform = job.fill(Pixels.packed("bgr", 1920, 1080))
    record = job.record
    assert [int(record[n]) for n in ("left", "top", "right", "bottom")] == [0, 140, 640, 500]
    assert [int(record[n]) for n in ("column_x", "column_y", "column_0")] == [3 << 40, 0, 1 << 40]
    assert int(record["row_y"]) * 140 + int(record["row_0"]) == 1 << 40
    assert [int(record[n]) for n in ("width", "height", "stride", "chroma")] == [
        1920,
        1080,
        5760,
        0,
    ]
    assert [int(record[n]) for n in ("last_column", "last_row")] == [1919, 1079]
    np.testing.assert_array_equal(transform.to_source, [[3, 0, 0], [0, 3, -420]])


def test_the_grid_has_a_thread_for_each_column_and_covers_the_rows():
    job = Job(InputSpec(size=(33, 65)), (33, 65))
    assert (job.grid, job.block) == ((3, 2, 1), (32, 8, 1))
    assert Job(InputSpec(size=(1, 1)), (1, 1)).grid == (1, 1, 1)


def test_the_next_frame_of_the_same_kind_changes_nothing():
    job = Job(InputSpec(size=(64, 64)), (64, 64))
    region = Affine.crop(3, 4, 50, 60)
    first = job.fill(Pixels.packed("bgr", 100, 80))
    assert job.fill(Pixels.packed("bgr", 100, 80)) is first
    assert job.changes == 1
    before = job.record.tobytes()
    job.fill(Pixels.packed("bgr", 100, 80), region)
    assert job.changes == 2
    assert job.record.tobytes() != before
    job.fill(Pixels.packed("bgr", 100, 80), region)
    assert job.changes == 2
    job.fill(Pixels("bgr", 100, 80, 320), region)
    assert job.changes == 3
    job.fill(Pixels.packed("bgr", 100, 80))
    assert (job.changes, job.record.tobytes()) == (4, before)


def test_a_region_that_is_refused_leaves_no_half_of_it():
    job = Job(InputSpec(size=(64, 64)), (64, 64))
    job.fill(Pixels.packed("bgr", 100, 80))
    before = job.record.tobytes()
    with pytest.raises(DataError, match="too far"):
        job.fill(Pixels.packed("bgr", 100, 80), Affine(np.array([[1, 0, 0], [0, 1, 1e9]]), 50, 60))
    job.fill(Pixels.packed("bgr", 100, 80))
    assert job.record.tobytes() == before


def test_the_record_may_be_memory_of_someone_else():
    memory = np.zeros(2 * JOB.itemsize, np.uint8)
    job = Job(InputSpec(size=(64, 64)), (64, 64), memory[JOB.itemsize :].view(JOB))
    job.fill(Pixels.packed("bgr", 100, 80))
    alone = Job(InputSpec(size=(64, 64)), (64, 64))
    alone.fill(Pixels.packed("bgr", 100, 80))
    assert memory[JOB.itemsize :].tobytes() == alone.record.tobytes()
    assert not memory[: JOB.itemsize].any()


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e300, 5e6])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)])
def test_regions_out_of_reach_are_refused(number, place):
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    matrix[place] = number
    with pytest.raises(DataError, match="too far"):
        Job(InputSpec(size=(8, 8)), (8, 8)).fill(
            Pixels.packed("bgr", 100, 80), Affine(matrix, 50, 60)
        )


def test_a_frame_that_needs_another_tensor_is_refused_naming_both_sizes():
    with pytest.raises(DataError, match=r"128×128(.|\n)*96×96"):
        Job(InputSpec(), (96, 96)).fill(Pixels.packed("bgr", 120, 120))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["letterbox", "stretch", "centre-crop"]),
    st.none()
    | st.tuples(*[st.floats(-2, 2)] * 4, *[st.floats(-99, 99)] * 2, *[st.integers(1, 90)] * 2),
)
def test_the_way_back_is_the_cpu_paths(height, width, resize, turned):
    spec = InputSpec(size=(48, 64), resize=resize)
    region = None
    if turned is not None:
        a, b, c, d, x, y, w, h = turned
        region = Affine(np.array([[a, b, x], [c, d, y]]), w, h)
    ours = Job(spec, (48, 64)).fill(Pixels.packed("bgr", width, height), region)
    tensor = np.empty((1, *spec.tensor_shape(48, 64)), np.float32)
    theirs = Preprocessor(spec, tensor).load(np.zeros((height, width, 3), np.uint8), region=region)
    np.testing.assert_array_equal(ours.to_source, theirs.to_source)
    assert (ours.width, ours.height, ours.tensor_hw) == (
        theirs.width,
        theirs.height,
        theirs.tensor_hw,
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"resize": "centre-crop", "colour": "gray", "dtype": "float16", "layout": "nhwc"}, None),
        ({"interpolation": "cubic"}, "'cubic'"),
        ({"interpolation": "area"}, "'area'"),
        ({"interpolation": "nearest"}, "'nearest'"),
        ({"antialias": True}, "antialias"),
    ],
)
def test_what_the_kernel_cannot_do_is_said(fields, reason):
    found = supports(InputSpec(size=(64, 64), **fields))
    assert found is None if reason is None else reason in found


@pytest.mark.parametrize(
    ("format", "shape", "expected"),
    [
        ("bgr", (80, 100, 3), Pixels("bgr", 100, 80, 300)),
        ("bgr", (1, 1, 3), Pixels("bgr", 1, 1, 3)),
        ("nv12", (120, 100), Pixels("nv12", 100, 80, 100, 8000)),
        ("gray", (81, 101), Pixels("gray", 101, 81, 101)),
        ("yuyv", (81, 100, 2), Pixels("yuyv", 100, 81, 200)),
    ],
)
def test_how_a_picture_lies_in_memory(format, shape, expected):
    image = np.zeros(shape, np.uint8)
    assert Pixels.of(image, format) == expected
    assert Pixels.packed(format, expected.width, expected.height) == expected
    assert expected.size_bytes == image.nbytes


def test_the_last_row_counts_without_its_gap():
    wide = np.zeros((120, 128), np.uint8)
    assert Pixels.of(wide[:, :100], "nv12") == Pixels("nv12", 100, 80, 128, 128 * 80)
    assert Pixels.of(wide[:, :100], "nv12").size_bytes == 119 * 128 + 100
    assert Pixels.of(np.zeros((80, 128, 3), np.uint8)[:, :100]).size_bytes == 79 * 384 + 300


@pytest.mark.parametrize(
    ("format", "image"),
    [
        ("bgr", np.zeros((10, 10), np.uint8)),
        ("bgr", np.zeros((10, 10, 4), np.uint8)),
        ("bgr", np.zeros((10, 10, 3), np.float32)),
        ("bgr", np.zeros((0, 10, 3), np.uint8)),
        ("bgr", np.zeros((10, 10, 3), np.uint8)[:, ::2]),
        ("bgr", np.zeros((10, 10, 3), np.uint8)[:, :, ::-1]),
        ("bgr", np.zeros((10, 10, 3), np.uint8)[::-1]),
        ("bgr", np.broadcast_to(np.zeros((1, 10, 3), np.uint8), (10, 10, 3))),
        ("nv12", np.zeros((10, 10), np.uint8)),
        ("nv12", np.zeros((15, 11), np.uint8)),
        ("nv12", np.zeros((15, 10, 1), np.uint8)),
        ("yuyv", np.zeros((10, 11, 2), np.uint8)),
        ("yuyv", np.zeros((10, 10, 3), np.uint8)),
        ("i420", np.zeros((15, 10), np.uint8)),
    ],
)
def test_what_is_no_frame_is_refused(format, image):
    with pytest.raises(DataError, match="no frame"):
        Pixels.of(image, format)


@pytest.mark.parametrize(
    "fields",
    [
        ("bgr", 100, 80, 299),
        ("bgr", 0, 80, 300),
        ("bgr", 100, 80, 1 << 31),
        ("bgr", 1 << 23, 1, 3 << 23),
        ("nv12", 100, 80, 100, 7999),
        ("nv12", 100, 79, 100, 8000),
        ("nv12", 99, 80, 100, 8000),
        ("yuyv", 99, 80, 200),
        ("rgb", 100, 80, 300),
    ],
)
def test_a_layout_that_cannot_be_is_refused(fields):
    with pytest.raises(DataError, match="no frame"):
        Pixels(*fields)


def test_a_tensor_that_the_kernel_cannot_count_is_refused():
    """Its elements are counted in 32 bits: a larger one would be written somewhere else."""
    spec = InputSpec(multiple_of=32)
    Job(spec, (26752, 26752))
    with pytest.raises(DataError, match="too large"):
        Job(spec, (26784, 26784))


def test_a_region_that_is_refused_leaves_the_record_as_it_was():
    job = Job(InputSpec((48, 64)), (48, 64))
    job.fill(Pixels.packed("bgr", 100, 80))
    before, changes = job.record.tobytes(), job.changes
    with pytest.raises(DataError, match="too far"):
        job.fill(
            Pixels.packed("bgr", 90, 70), Affine(np.array([[1, 0, 0], [0, 1, 1e9]], float), 9, 9)
        )
    assert (job.record.tobytes(), job.changes) == (before, changes)
