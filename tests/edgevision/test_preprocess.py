from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import DataError
from edgevision.geometry import Affine
from edgevision.preprocess import Preprocessor, fit, tensor_size
from edgevision.spec import InputSpec

CV = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR_EXACT,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def picture(height, width, seed=0):
    """Smooth colours with some noise: every pixel and channel differs."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(int)
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def reference(image, spec, th, tw):
    """One row in plain numpy and OpenCV: canvas in uint8, then channels, numbers, layout, dtype."""
    height, width = image.shape[:2]
    if spec.resize == "centre-crop":
        scale = min(height / th, width / tw) * spec.crop_fraction
        ch, cw = max(1, round(th * scale)), max(1, round(tw * scale))
        y, x = (height - ch + 1) // 2, (width - cw + 1) // 2
        image, place = image[y : y + ch, x : x + cw], (0, 0, tw, th)
    elif spec.resize == "stretch":
        place = (0, 0, tw, th)
    else:
        scale = min(th / height, tw / width)
        pw, ph = max(1, round(width * scale)), max(1, round(height * scale))
        both = spec.pad_side == "both"
        place = ((tw - pw) // 2 if both else 0, (th - ph) // 2 if both else 0, pw, ph)
    left, top, pw, ph = place
    shrinks = pw < image.shape[1] or ph < image.shape[0]
    method = cv2.INTER_AREA if spec.antialias and shrinks else CV[spec.interpolation]
    canvas = np.full((th, tw, 3), spec.pad_value, np.uint8)
    small = np.ascontiguousarray(image)
    if small.shape[:2] != (ph, pw):
        small = cv2.resize(small, (pw, ph), interpolation=method)
    canvas[top : top + ph, left : left + pw] = small
    if spec.colour == "rgb":
        canvas = canvas[:, :, ::-1]
    elif spec.colour == "gray":
        canvas = cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY)[:, :, None]
    values = (canvas.astype(np.float64) * spec.scale - spec.mean) / spec.std
    return (values.transpose(2, 0, 1) if spec.layout == "nchw" else values).astype(spec.dtype)


def preprocessor(spec, th=None, tw=None, rows=1):
    size = spec.size if th is None else (th, tw)
    tensor = np.full((rows, *spec.tensor_shape(*size)), 77, spec.dtype)
    return Preprocessor(spec, tensor), tensor


def check(spec, image, atol=2e-6):
    loader, tensor = preprocessor(spec)
    transform = loader.load(image)
    if spec.dtype == "float16":
        atol = 2e-3  # one unit in the last place of 2…4
    np.testing.assert_allclose(tensor[0], reference(image, spec, *spec.size), atol=atol, rtol=0)
    return transform


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32"])
def test_every_layout_colour_and_dtype(layout, colour, dtype):
    numbers = {"scale": 1.0}
    if dtype.startswith("float"):
        gray = colour == "gray"
        numbers = {
            "scale": 1 / 255,
            "mean": (0.45,) if gray else (0.4, 0.45, 0.5),
            "std": (0.22,) if gray else (0.2, 0.22, 0.24),
        }
    spec = InputSpec(size=(48, 64), layout=layout, colour=colour, dtype=dtype, **numbers)
    check(spec, picture(90, 70))


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "centre-crop"])
@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic", "area"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("shape", [(90, 70), (20, 31)], ids=["shrinks", "grows"])
def test_every_way_to_resize(resize, interpolation, antialias, shape):
    spec = InputSpec(
        size=(48, 64),
        resize=resize,
        interpolation=interpolation,
        antialias=antialias,
        crop_fraction=0.875,
    )
    check(spec, picture(*shape))


SHAPES = [(1, 1), (1, 200), (200, 1), (37, 53), (480, 640), (640, 480), (64, 64), (63, 65)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pad_side", ["both", "end"])
def test_letterbox_of_any_shape(shape, pad_side):
    check(InputSpec(size=(64, 64), pad_side=pad_side), picture(*shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("fraction", [1.0, 0.875, 0.01])
def test_centre_crop_of_any_shape(shape, fraction):
    spec = InputSpec(size=(64, 48), resize="centre-crop", crop_fraction=fraction)
    check(spec, picture(*shape))


def test_letterbox_keeps_aspect_when_the_frame_is_portrait():
    # 100×50 into 64×64: 64×32 in the middle, as worked by hand.
    place = fit(InputSpec(size=(64, 64)), 100, 50)
    assert (place.cut, place.place) == ((0, 0, 50, 100), (16, 0, 32, 64))


def test_the_odd_pixel_of_padding_goes_right_and_below():
    # 64×33 leaves 31 columns: 15 left, 16 right (Ultralytics' LetterBox does the same).
    assert fit(InputSpec(size=(64, 64)), 64, 33).place == (15, 0, 33, 64)
    assert fit(InputSpec(size=(64, 64)), 33, 64).place == (0, 15, 64, 33)


def test_the_mapping_back_is_the_one_of_the_pixels():
    """A white rectangle is found in the tensor and mapped back to where it was."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:120, 60:260] = 255
    for resize in ("letterbox", "stretch", "centre-crop"):
        spec = InputSpec(size=(160, 160), resize=resize, pad_value=0, interpolation="area")
        loader, tensor = preprocessor(spec)
        transform = loader.load(image)
        rows, columns = np.nonzero(tensor[0, 0] > 0.5)
        box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
        expected = [60, 40, 260, 120] if resize != "centre-crop" else [60, 40, 250, 120]
        np.testing.assert_allclose(transform.boxes(np.array(box, float))[0], expected, atol=1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["letterbox", "stretch", "centre-crop"]),
    st.floats(0.05, 1),
    st.sampled_from(["both", "end"]),
)
def test_the_place_in_the_tensor_maps_exactly_to_the_cut(height, width, resize, fraction, side):
    spec = InputSpec(size=(64, 48), resize=resize, crop_fraction=fraction, pad_side=side)
    place = fit(spec, height, width)
    (cx, cy, cw, ch), (px, py, pw, ph) = place.cut, place.place
    assert 0 <= cx <= cx + cw <= width
    assert 0 <= cy <= cy + ch <= height
    assert 0 <= px <= px + pw <= 48
    assert 0 <= py <= py + ph <= 64
    corners = np.array([[px, px + pw], [py, py + ph], [1, 1]])
    np.testing.assert_allclose(place.matrix() @ corners, [[cx, cx + cw], [cy, cy + ch]], atol=1e-9)


def test_padding_stays_right_when_the_geometry_changes_between_frames():
    spec = InputSpec(size=(64, 64), mean=(0.1,), std=(0.3,))
    loader, tensor = preprocessor(spec)
    for seed, shape in enumerate([(64, 20), (20, 64), (20, 64), (64, 64), (64, 20), (5, 64)]):
        image = picture(*shape, seed=seed)
        loader.load(image)
        np.testing.assert_allclose(tensor[0], reference(image, spec, 64, 64), atol=2e-6, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("colour", ["rgb", "gray"])
def test_rows_may_hold_pictures_of_different_shapes(dtype, colour):
    spec = InputSpec(size=(64, 64), dtype=dtype, scale=1.0, colour=colour)
    loader, tensor = preprocessor(spec, rows=3)
    shapes = [(64, 20), (20, 64), (50, 50)]
    for turn in range(2):
        images = [picture(*shape, seed=turn * 10 + row) for row, shape in enumerate(shapes)]
        for row, image in enumerate(images):
            loader.load(image, row)
        for row, image in enumerate(images):
            np.testing.assert_allclose(tensor[row], reference(image, spec, 64, 64), atol=0.07)


@pytest.mark.parametrize("shape", [(90, 70), (48, 64)], ids=["resized", "as it is"])
def test_pictures_with_padded_rows_are_read(shape):
    wide = picture(shape[0], shape[1] + 13)
    image = wide[:, : shape[1]]
    assert not image.flags.c_contiguous
    check(InputSpec(size=(48, 64), resize="stretch"), image)


def test_the_picture_is_not_changed():
    for size in ((48, 64), (90, 70)):
        image = picture(90, 70)
        loader, _ = preprocessor(InputSpec(size=size, colour="bgr", scale=1.0))
        loader.load(image)
        np.testing.assert_array_equal(image, picture(90, 70))


def test_read_only_pictures_are_read():
    image = picture(90, 70)
    image.flags.writeable = False
    check(InputSpec(size=(90, 70)), image)


def test_a_region_inside_is_the_crop():
    image, spec = picture(90, 120), InputSpec(size=(48, 64))
    loader, tensor = preprocessor(spec)
    transform = loader.load(image, region=Affine.crop(10, 20, 60, 50))
    expected = reference(image[20:70, 10:70], spec, 48, 64)
    np.testing.assert_allclose(tensor[0], expected, atol=2e-6)
    # 60×50 into 64×48: scale 0.96, 58×48 with 3 columns on the left.
    np.testing.assert_allclose(transform.points(np.array([3.0, 0])), [10, 20], atol=1e-4)
    np.testing.assert_allclose(transform.points(np.array([61.0, 48])), [70, 70], atol=1e-4)
    assert (transform.width, transform.height) == (120, 90)


@pytest.mark.parametrize("corner", [(-20, -10), (80, 60), (-5, 30), (500, 500)], ids=str)
def test_a_region_past_the_border_is_padded(corner):
    image, spec = picture(90, 120), InputSpec(size=(48, 64), pad_value=50)
    loader, tensor = preprocessor(spec)
    x, y = corner
    transform = loader.load(image, region=Affine.crop(x, y, 64, 48))
    roomy = cv2.copyMakeBorder(image, 600, 600, 600, 600, cv2.BORDER_CONSTANT, value=(50,) * 3)
    part = roomy[600 + y : 648 + y, 600 + x : 664 + x]
    np.testing.assert_allclose(tensor[0], reference(part, spec, 48, 64), atol=2e-6)
    np.testing.assert_allclose(transform.points(np.array([7.0, 9])), [x + 7, y + 9])


def test_a_turned_region_is_what_warp_affine_cuts_out():
    image, spec = picture(120, 160), InputSpec(size=(48, 64), scale=1.0, colour="bgr")
    c, s = np.cos(0.4), np.sin(0.4)
    matrix = np.array([[c, -s, 70], [s, c, 20]])
    loader, tensor = preprocessor(spec)
    transform = loader.load(image, region=Affine(matrix, 64, 48))
    # Sampled at pixel centres by an own bilinear interpolation.
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    x = c * columns - s * rows + 70 - 0.5
    y = s * columns + c * rows + 20 - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    wide = cv2.copyMakeBorder(image, 60, 60, 60, 60, cv2.BORDER_CONSTANT, value=(114,) * 3)
    at = wide.astype(float)
    x0, y0 = x0 + 60, y0 + 60
    top = at[y0, x0] * (1 - fx) + at[y0, x0 + 1] * fx
    bottom = at[y0 + 1, x0] * (1 - fx) + at[y0 + 1, x0 + 1] * fx
    expected = (top * (1 - fy) + bottom * fy).transpose(2, 0, 1)
    # warpAffine computes in 1/32 pixels.
    assert np.abs(tensor[0] - expected).max() < 8
    assert np.abs(tensor[0] - expected).mean() < 0.6
    np.testing.assert_allclose(transform.points(np.array([5.0, 6])), matrix @ [5, 6, 1], rtol=1e-5)


def test_regions_and_whole_frames_may_alternate():
    image, spec = picture(90, 120), InputSpec(size=(48, 64))
    loader, tensor = preprocessor(spec)
    for region in (Affine.crop(0, 0, 30, 30), None, Affine.crop(-5, -5, 40, 20), None):
        loader.load(image, region=region)
    np.testing.assert_allclose(tensor[0], reference(image, spec, 48, 64), atol=2e-6)


@pytest.mark.parametrize(
    ("spec", "shape", "size"),
    [
        (InputSpec(size=(48, 64)), (90, 70), (48, 64)),
        (InputSpec(), (90, 70), (96, 96)),
        (InputSpec(), (1, 1), (32, 32)),
        (InputSpec(), (64, 96), (64, 96)),
        (InputSpec(multiple_of=1), (37, 53), (37, 53)),
        (InputSpec(max_size=(64, 128)), (128, 128), (64, 64)),
        (InputSpec(max_size=(100, 100)), (99, 50), (96, 64)),
        (InputSpec(max_size=(20, 20)), (99, 50), (32, 32)),
    ],
)
def test_the_size_of_a_dynamic_tensor(spec, shape, size):
    assert tensor_size(spec, *shape) == size


def test_a_dynamic_tensor_pads_the_picture_and_never_enlarges_it():
    spec = InputSpec(pad_side="end")
    loader, tensor = preprocessor(spec, 96, 96)
    image = picture(90, 70)
    transform = loader.load(image)
    expected = image[:, :, ::-1].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(tensor[0, :, :90, :70], expected, atol=1e-6)
    np.testing.assert_allclose(tensor[0, :, 90:], 114 / 255, rtol=1e-6)
    np.testing.assert_allclose(tensor[0, :, :, 70:], 114 / 255, rtol=1e-6)
    np.testing.assert_array_equal(transform.to_source, [[1, 0, 0], [0, 1, 0]])


def test_a_picture_that_needs_another_tensor_is_refused_naming_both_sizes():
    loader, _ = preprocessor(InputSpec(), 96, 96)
    with pytest.raises(DataError, match=r"128×128(.|\n)*96×96"):
        loader.load(picture(120, 120))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
    ids=["grey", "alpha", "float", "empty"],
)
def test_what_is_no_picture_is_refused(image):
    loader, _ = preprocessor(InputSpec(size=(48, 64)))
    with pytest.raises(DataError, match="no picture"):
        loader.load(image)


@pytest.mark.parametrize("shape", [(1080, 1920), (576, 768), (37, 91), (640, 640), (1, 1), (3, 5)])
def test_linear_is_within_one_grey_level_of_opencvs_inter_linear(shape):
    spec = InputSpec(size=(64, 96), resize="stretch", colour="bgr", scale=1.0)
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    tensor = np.empty((1, 3, 64, 96), np.float32)
    Preprocessor(spec, tensor).load(image)
    expected = cv2.resize(image, (96, 64), interpolation=cv2.INTER_LINEAR)
    assert np.abs(tensor[0].transpose(1, 2, 0) - expected).max() <= 1


@pytest.mark.parametrize("factor", [3, 5, 7])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (36, 64), (361, 641)])
def test_an_odd_whole_factor_gives_opencvs_linear_picture_exactly(factor, size):
    height, width = size
    spec = InputSpec(size=size, resize="stretch", colour="bgr", scale=1.0)
    shape = (height * factor, width * factor, 3)
    image = np.random.default_rng(6).integers(0, 256, shape, np.uint8)
    tensor = np.empty((1, 3, *size), np.float32)
    Preprocessor(spec, tensor).load(image)
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(tensor[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "centre-crop"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["bgr", "rgb"])
def test_uint8_tensors_hold_the_pixels_of_float_ones(colour, layout, resize):
    """They take a shorter way: OpenCV writes straight into the tensor."""
    random = np.random.default_rng(0)
    fields = {"size": (64, 48), "colour": colour, "layout": layout, "resize": resize, "scale": 1.0}
    pixels, floats = InputSpec(**fields, dtype="uint8"), InputSpec(**fields)
    shape = (2, *pixels.tensor_shape(64, 48))
    ours, expected = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    direct, exact = Preprocessor(pixels, ours), Preprocessor(floats, expected)
    for size in ((64, 48), (100, 201), (50, 40), (192, 144), (33, 77)):
        image = random.integers(0, 256, (*size, 3)).astype(np.uint8)
        for row in (0, 1):
            direct.load(image, row)
            exact.load(image, row)
            np.testing.assert_array_equal(ours[row], expected[row])
        assert np.array_equal(direct.load(image).to_source, exact.load(image).to_source)
