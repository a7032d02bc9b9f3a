from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders.movenet import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec

SAME = Transform.identity(192, 192)


def output(score=0.5, rows=1, dtype=np.float32):
    """Point k lies at x = k / 20, y = 1 − k / 20 of the tensor."""
    k = np.arange(17)
    values = np.stack([1 - k / 20, k / 20, np.full(17, score)], axis=1)
    return np.tile(values, (rows, 1, 1, 1)).astype(dtype)


def decode(values, transform=SAME, row=0, **params):
    return plugin(**params).decode({"points": values}, row, transform)


def test_points_are_x_and_y_in_pixels_from_y_and_x_in_fractions():
    found = decode(output())
    assert len(found) == 1
    np.testing.assert_allclose(found.points[0, 5], [5 / 20 * 192, 15 / 20 * 192], rtol=1e-6)
    assert found.points.dtype == found.point_scores.dtype == found.scores.dtype == np.float32
    assert found.skeleton.names[5] == "left_shoulder"
    assert found.boxes_xyxy is None


def test_the_padding_is_taken_off():
    # 640×480 in 192×192: scaled by 0.3 to 192×144, 24 lines of padding above.
    way = Transform(np.array([[1 / 0.3, 0, 0], [0, 1 / 0.3, -24 / 0.3]]), 640, 480, (192, 192))
    found = decode(output(), way)
    np.testing.assert_allclose(found.points[0, 10], [320, (96 - 24) / 0.3], rtol=1e-5)
    # Point 16 lies in the padding: above the picture, and that is said.
    np.testing.assert_allclose(found.points[0, 16], [512, (38.4 - 24) / 0.3], rtol=1e-5)


def test_a_tensor_need_not_be_square():
    found = decode(output(), Transform.identity(100, 300))
    np.testing.assert_allclose(found.points[0, 4], [60, 80], rtol=1e-5)


def test_the_score_of_a_person_is_the_mean_of_the_points():
    values = output()
    values[0, 0, :, 2] = np.arange(17) / 17
    found = decode(values)
    assert found.scores[0] == pytest.approx(8 / 17)
    np.testing.assert_allclose(found.point_scores[0], np.arange(17) / 17)


@pytest.mark.parametrize(
    ("score", "least", "people"), [(0.24, 0.25, 0), (0.25, 0.25, 1), (0.0, 0.0, 1), (0.9, 1.0, 0)]
)
def test_a_person_below_the_least_score_is_left_out(score, least, people):
    found = decode(output(score), score=least)
    assert len(found) == people
    assert found.points.shape == (people, 17, 2)


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_nobody(column, bad):
    values = output()
    values[0, 0, 3, column] = bad
    assert len(decode(values)) == 0


def test_rows_float16_and_a_missing_dimension_of_rows():
    values = output(rows=2)
    values[1, ..., 2] = 0.75
    assert decode(values, row=1).scores[0] == 0.75
    assert decode(output(dtype=np.float16)).point_scores.dtype == np.float32
    assert len(decode(output()[0])) == 1


def test_the_result_does_not_share_memory_with_the_outputs():
    values = output()
    found = decode(values)
    values[:] = 0
    assert found.points.min() >= 0
    assert found.point_scores.min() == 0.5


@pytest.mark.parametrize("shape", [(1, 1, 17, 2), (1, 6, 56), (1, 1, 21, 3), (17, 3)])
def test_other_layouts_are_refused_by_shape(shape):
    with pytest.raises(SpecError, match="cannot read these outputs") as refused:
        decode(np.zeros(shape, np.float32))
    assert str(shape) in refused.value.received


def test_the_output_can_be_named():
    outputs = {"a": output(), "b": output(0.75)}
    with pytest.raises(SpecError):
        plugin().decode(outputs, 0, SAME)
    assert plugin(outputs="b").decode(outputs, 0, SAME).scores[0] == 0.75
    with pytest.raises(SpecError, match="cannot read"):
        plugin(outputs="c").decode(outputs, 0, SAME)


@pytest.mark.parametrize(
    "params", [{"scores": 0.5}, {"score": 2}, {"score": "high"}, {"outputs": ""}, {"iou": 0.5}]
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError):
        plugin(**params)


def test_more_than_one_label_is_refused():
    assert len(decode(output(), labels=("person",))) == 1
    with pytest.raises(SpecError, match="labels"):
        decode(output(), labels=("cat", "dog"))


@pytest.fixture(scope="module")
def movenet(test_data):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        str(test_data / "models/movenet-lightning.onnx"), providers=["CPUExecutionProvider"]
    )
    preset = presets.load("movenet")
    tensor = np.zeros((1, 192, 192, 3), np.int32)
    loader = Preprocessor(InputSpec.from_dict(preset["input"]), tensor)
    decoder = plugin(**preset["output"]["params"])

    def run(image):
        transform = loader.load(image)
        return decoder.decode({"o": session.run(None, {"input:0": tensor})[0]}, 0, transform)

    return run


#: Read off the picture by eye: the man on the left, who faces the camera.
BASKETBALL = {
    "nose": (92, 112),
    "left_shoulder": (117, 155),
    "right_shoulder": (48, 160),
    "left_hip": (113, 270),
    "right_hip": (70, 272),
    "left_ankle": (120, 450),
    "right_ankle": (65, 455),
}


def test_real_movenet_finds_the_man_with_the_ball(movenet, test_data):
    found = movenet(cv2.imread(str(test_data / "images/basketball1.png")))
    assert len(found) == 1
    for name, (x, y) in BASKETBALL.items():
        point = found.points[0, found.skeleton.names.index(name)]
        assert np.hypot(*(point - (x, y))) < 20, (name, point)


def test_real_movenet_finds_the_same_man_in_a_picture_of_another_size(movenet, test_data):
    image = cv2.imread(str(test_data / "images/basketball1.png"))
    wide = cv2.copyMakeBorder(image, 0, 0, 30, 50, cv2.BORDER_CONSTANT)
    ours, theirs = movenet(image), movenet(cv2.resize(wide, None, fx=2, fy=2))
    sure = (ours.point_scores[0] >= 0.4) & (theirs.point_scores[0] >= 0.4)
    assert np.count_nonzero(sure) >= 6
    back = theirs.points[0] / 2 - (30, 0)
    assert np.linalg.norm(ours.points[0] - back, axis=1)[sure].max() < 25


def test_real_movenet_finds_nobody_where_nobody_is(movenet, test_data):
    for name in ("fruits.jpg", "chelsea.png", "coffee.png"):
        assert len(movenet(cv2.imread(str(test_data / "images" / name)))) == 0
    assert len(movenet(np.zeros((480, 640, 3), np.uint8))) == 0
