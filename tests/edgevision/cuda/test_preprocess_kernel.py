"""The kernel, built with g++, against the CPU path, OpenCV and the definition of bilinear sampling."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.geometry import Affine
from edgevision.preprocess import Preprocessor, tensor_size
from edgevision.spec import InputSpec

PLAIN = {"dtype": "uint8", "scale": 1.0, "colour": "bgr", "layout": "nhwc"}
RESIZES = ["letterbox", "stretch", "centre-crop"]


def by_the_cpu(spec, image, region=None):
    part = image.shape[:2] if region is None else (region.height, region.width)
    tensor = np.zeros((1, *spec.tensor_shape(*tensor_size(spec, *part))), spec.dtype)
    transform = Preprocessor(spec, tensor).load(image, region=region)
    return tensor[0], transform


def same(kernel, spec, image, **how):
    """The kernel's tensor and way back are the CPU path's, to the bit."""
    ours, back = kernel.load(spec, image, **how)
    theirs, expected = by_the_cpu(spec, image, how.get("region"))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.to_source, expected.to_source)
    assert (back.width, back.height, back.tensor_hw) == (
        expected.width,
        expected.height,
        expected.tensor_hw,
    )


def bilinear(image, matrix, height, width, pad):
    """The definition, in float64: ``matrix`` maps the tensor's continuous pixels to the picture's."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    sx, sy = (row[0] * x + row[1] * y + row[2] - 0.5 for row in matrix)
    x0, y0 = np.floor(sx).astype(int), np.floor(sy).astype(int)
    fx, fy = (sx - x0)[..., None], (sy - y0)[..., None]

    def at(column, row):
        fine = (column >= 0) & (column < image.shape[1]) & (row >= 0) & (row < image.shape[0])
        found = image[row.clip(0, image.shape[0] - 1), column.clip(0, image.shape[1] - 1)]
        return np.where(fine[..., None], found, float(pad))

    above = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx
    below = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx
    return above * (1 - fy) + below * fy


def as_nv12(bgr):
    height, width = bgr.shape[:2]
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    count = height * width
    u, v = planes[count : count * 5 // 4], planes[count * 5 // 4 :]
    return np.vstack(
        [planes[:count].reshape(height, width), np.stack([u, v], 1).reshape(-1, width)]
    )


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32"])
def test_every_layout_colour_and_type_is_the_cpu_paths(kernel, noise, layout, colour, dtype):
    numbers = {"scale": 1.0}
    if dtype.startswith("float"):
        gray = colour == "gray"
        numbers = {
            "scale": 1 / 255,
            "mean": (0.45,) if gray else (0.4, 0.45, 0.5),
            "std": (0.22,) if gray else (0.2, 0.22, 0.24),
        }
    spec = InputSpec(size=(48, 64), layout=layout, colour=colour, dtype=dtype, **numbers)
    same(kernel, spec, noise(90, 70, 3))


SHAPES = [(1, 1), (1, 200), (200, 1), (2, 2), (37, 53), (480, 640), (640, 480), (64, 64), (63, 65)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("pad_side", ["both", "end"])
def test_every_resize_of_any_shape_is_the_cpu_paths(kernel, noise, shape, resize, pad_side):
    spec = InputSpec(size=(64, 48), resize=resize, pad_side=pad_side, crop_fraction=0.875)
    same(kernel, spec, noise(*shape, 3))


@pytest.mark.parametrize("size", [(640, 640), (416, 416), (224, 224), (256, 512), (191, 333)])
@pytest.mark.parametrize("resize", RESIZES)
def test_real_frames_are_loaded_as_by_the_cpu_path(kernel, real_frames, size, resize):
    for frame in real_frames:
        same(kernel, InputSpec(size=size, resize=resize, mean=(0.4, 0.5, 0.6)), frame)
        turned = np.ascontiguousarray(frame.transpose(1, 0, 2))
        same(kernel, InputSpec(size=size, resize=resize), turned)


def test_a_frame_with_a_dynamic_tensor(kernel, noise):
    same(kernel, InputSpec(pad_side="end"), noise(90, 70, 3))
    same(kernel, InputSpec(max_size=(64, 128)), noise(300, 200, 3))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
    st.sampled_from(RESIZES),
    st.floats(0.05, 1),
    st.sampled_from(["both", "end"]),
    st.integers(0, 255),
)
def test_any_geometry_is_the_cpu_paths(kernel, noise, height, width, size, resize, part, side, pad):
    spec = InputSpec(
        size=size, resize=resize, crop_fraction=part, pad_side=side, pad_value=pad, **PLAIN
    )
    same(kernel, spec, noise(height, width, 3))


def test_a_position_between_two_weights_goes_to_the_even_one(kernel, noise):
    """250 pixels over 512: every sample lies so, and doubles hold its place exactly."""
    same(kernel, InputSpec(size=(512, 512), resize="stretch", **PLAIN), noise(250, 250, 3))


@pytest.mark.parametrize("shape", [(37, 91), (999, 1777), (101, 500)], ids=str)
def test_at_a_tie_of_weights_one_level_may_differ(kernel, noise, shape):
    """The picture 768 wide: positions fall between two weights, and OpenCV's rounding errors choose one."""
    spec = InputSpec(size=(768, 768), **PLAIN)
    image = noise(*shape, 3)
    ours, theirs = kernel.load(spec, image)[0].astype(int), by_the_cpu(spec, image)[0]
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.04


@pytest.mark.parametrize("shape", [(1080, 1920), (576, 768), (37, 91), (3, 5)], ids=str)
def test_it_is_opencvs_linear_picture(kernel, noise, shape):
    image = noise(*shape, 3)
    ours, _ = kernel.load(InputSpec(size=(64, 96), resize="stretch", **PLAIN), image)
    # In floating point it rounds nothing; weights of 1/256 and whole levels may be off by 1 in all.
    exact = cv2.resize(image.astype(np.float64), (96, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours - exact).max() <= 1.5
    assert np.abs(ours - exact).mean() < 0.4
    whole = cv2.resize(image, (96, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours.astype(int) - whole).max() <= 1


REGIONS = {
    "inside": (10, 20, 60, 50),
    "all": (0, 0, 120, 90),
    "one pixel": (119, 89, 1, 1),
    "left": (-20, 30, 60, 50),
    "above": (30, -20, 60, 50),
    "right": (80, 30, 60, 50),
    "below": (30, 60, 60, 50),
    "around": (-30, -20, 300, 200),
    "one column outside": (-1, 0, 40, 40),
    "beyond": (500, 500, 64, 48),
    "far beyond": (-100_000, 2_000_000, 64, 48),
}


@pytest.mark.parametrize("box", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("resize", RESIZES)
def test_upright_regions_are_the_cpu_paths(kernel, noise, box, resize):
    spec = InputSpec(size=(48, 64), resize=resize, pad_value=50)
    same(kernel, spec, noise(90, 120, 3), region=Affine.crop(*box))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-80, 80),
    st.integers(-80, 80),
    st.integers(1, 100),
    st.integers(1, 100),
    st.sampled_from(RESIZES),
)
def test_any_upright_region_is_the_cpu_paths(kernel, noise, x, y, width, height, resize):
    spec = InputSpec(size=(37, 53), resize=resize, **PLAIN)
    same(kernel, spec, noise(41, 67, 3), region=Affine.crop(x, y, width, height))


def turned(angle, scale, x, y, width, height):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return Affine(np.array([[c, -s, x], [s, c, y]]), width, height)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-3.2, 3.2),
    st.floats(0.2, 3),
    st.floats(-50, 150),
    st.floats(-50, 150),
    st.integers(1, 80),
    st.integers(1, 80),
)
def test_turned_regions_are_sampled_once_in_the_frame(kernel, noise, angle, scale, x, y, w, h):
    image, region = noise(90, 120, 3), turned(angle, scale, x, y, w, h)
    spec = InputSpec(size=(48, 64), resize="stretch", pad_value=50, **PLAIN)
    ours, back = kernel.load(spec, image, region=region)
    expected = bilinear(image, back.to_source, 48, 64, 50)
    assert np.abs(ours - expected).max() <= 1.6
    corners = np.array([[0, 64, 64, 0], [0, 0, 48, 48]], float)
    stretched = corners * [[w / 64], [h / 48]]
    in_frame = region.matrix[:, :2] @ stretched + region.matrix[:, 2:]
    np.testing.assert_allclose(back.points(corners.T), in_frame.T, atol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_turned_region_looks_as_the_cpu_path_cuts_it_out(kernel, real_frames, scale):
    """The CPU path rounds twice, to 1/32 pixel and to whole levels; a mistake would be tens of levels."""
    for frame in real_frames:
        height, width = frame.shape[:2]
        region = turned(0.5, scale, width / 3, height / 5, 96, 64)
        spec = InputSpec(size=(64, 96), **PLAIN)
        ours, back = kernel.load(spec, frame, region=region)
        theirs, expected = by_the_cpu(spec, frame, region)
        assert np.abs(ours.astype(int) - theirs).mean() < 0.6
        np.testing.assert_allclose(back.to_source, expected.to_source)


@pytest.mark.parametrize("shape", [(2, 2), (90, 70), (64, 48), (480, 640), (1080, 1920)], ids=str)
@pytest.mark.parametrize("resize", RESIZES)
def test_nv12_is_what_opencv_makes_of_it(kernel, noise, shape, resize):
    height, width = shape
    image = noise(height * 3 // 2, width)
    spec = InputSpec(size=(64, 48), resize=resize, **PLAIN)
    ours, back = kernel.load(spec, image, format="nv12")
    bgr = cv2.cvtColor(image, cv2.COLOR_YUV2BGR_NV12)
    theirs, expected = by_the_cpu(spec, bgr)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.to_source, expected.to_source)


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (91, 70), (64, 48), (480, 640)], ids=str)
@pytest.mark.parametrize("resize", RESIZES)
def test_yuyv_is_what_opencv_makes_of_it(kernel, noise, shape, resize):
    image = noise(*shape, 2)
    spec = InputSpec(size=(64, 48), resize=resize, **PLAIN)
    ours, back = kernel.load(spec, image, format="yuyv")
    bgr = cv2.cvtColor(image, cv2.COLOR_YUV2BGR_YUY2)
    theirs, expected = by_the_cpu(spec, bgr)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.to_source, expected.to_source)


@pytest.mark.parametrize("box", REGIONS.values(), ids=REGIONS)
def test_regions_of_nv12_past_the_border_are_padded_with_grey(kernel, noise, box):
    image, region = noise(135, 120), Affine.crop(*box)
    spec = InputSpec(size=(48, 64), pad_value=50)
    ours, _ = kernel.load(spec, image, format="nv12", region=region)
    theirs, _ = by_the_cpu(spec, cv2.cvtColor(image, cv2.COLOR_YUV2BGR_NV12), region)
    np.testing.assert_array_equal(ours, theirs)


def test_a_real_frame_as_nv12_looks_like_the_frame(kernel, real_frames):
    """Chroma of half the size costs a little at edges of colour, and no more: the mean is a few levels."""
    spec = InputSpec(size=(416, 416))
    for frame in real_frames:
        ours, _ = kernel.load(spec, as_nv12(frame), format="nv12")
        theirs, _ = by_the_cpu(spec, frame)
        assert np.abs(ours - theirs).mean() * 255 < 4


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (91, 71), (480, 640)], ids=str)
@pytest.mark.parametrize("colour", ["rgb", "gray"])
@pytest.mark.parametrize("resize", RESIZES)
def test_grey_frames_are_what_they_are_as_bgr(kernel, noise, shape, colour, resize):
    image = noise(*shape)
    spec = InputSpec(size=(64, 48), resize=resize, **{**PLAIN, "colour": colour})
    ours, back = kernel.load(spec, image, format="gray")
    theirs, expected = by_the_cpu(spec, cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(back.to_source, expected.to_source)


@pytest.mark.parametrize("format", ["bgr", "nv12", "yuyv", "gray"])
@pytest.mark.parametrize("extra", [1, 2, 61])
def test_padded_rows_are_read_and_what_is_between_them_is_not(kernel, noise, format, extra):
    shapes = {"bgr": (90, 70, 3), "nv12": (135, 70), "yuyv": (90, 70, 2), "gray": (90, 70)}
    shape = shapes[format]
    spec = InputSpec(size=(64, 48))
    tight = noise(*shape)
    expected, _ = kernel.load(spec, tight, format=format, region=Affine.crop(-3, -5, 200, 200))
    for filling in (0, 255):
        wide = np.full((shape[0] + 2, shape[1] + extra, *shape[2:]), filling, np.uint8)
        image = wide[1:-1, : shape[1]]
        image[:] = tight
        found, _ = kernel.load(spec, image, format=format, region=Affine.crop(-3, -5, 200, 200))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("grid", [(2, 1, 1), (2, 2, 1), (2, 64, 1), (5, 3, 1)], ids=str)
def test_any_grid_that_reaches_the_width_gives_the_same_tensor(kernel, noise, grid):
    spec, image = InputSpec(size=(50, 61)), noise(90, 70, 3)
    expected, _ = by_the_cpu(spec, image)
    np.testing.assert_array_equal(kernel.load(spec, image, grid=grid)[0], expected)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(1e-10, 1e4),
    st.floats(-3e4, 3e4) | st.floats(-1e-6, 1e-6),
    st.sampled_from(["float16", "float32"]),
)
def test_numbers_of_every_magnitude_are_rounded_as_by_numpy(kernel, noise, scale, mean, dtype):
    """Also what float16 holds only as less than normal numbers, or not at all."""
    spec = InputSpec(size=(16, 16), scale=scale, mean=(mean,), std=(0.3,), dtype=dtype)
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    with np.errstate(over="ignore"):
        same(kernel, spec, np.ascontiguousarray(image))
