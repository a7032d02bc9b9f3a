from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders.centerface import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.preprocess import Preprocessor, tensor_size
from edgevision.spec import InputSpec


def raw(height=64, width=96, seed=0):
    rng = np.random.default_rng(seed)
    grid = height // 4, width // 4
    return {
        "537": rng.uniform(0, 1, (1, 1, *grid)).astype(np.float32) ** 4,
        "538": rng.normal(1.2, 0.4, (1, 2, *grid)).astype(np.float32),
        "539": rng.uniform(-0.5, 0.5, (1, 2, *grid)).astype(np.float32),
        "540": rng.uniform(0, 1, (1, 10, *grid)).astype(np.float32),
    }


def published(outputs, score, overlap):
    """``decode`` and ``nms`` of Star-Clouds/CenterFace in plain loops, without cutting boxes."""
    heat, scale, offset, landmark = (outputs[n][0].astype(float) for n in ("537", "538", "539", "540"))  # fmt: skip
    faces = []
    for y, x in np.argwhere(heat[0] > score):
        h, w = (float(np.exp(scale[i, y, x]) * 4) for i in (0, 1))
        left = (x + offset[1, y, x] + 0.5) * 4 - w / 2
        top = (y + offset[0, y, x] + 0.5) * 4 - h / 2
        marks = [
            (landmark[2 * j + 1, y, x] * w + left, landmark[2 * j, y, x] * h + top)
            for j in range(5)
        ]
        faces.append((heat[0, y, x], (left, top, left + w, top + h), marks))
    faces.sort(key=lambda f: -f[0])
    kept = []
    for face in faces:
        if all(iou(face[1], other[1]) <= overlap for other in kept):
            kept.append(face)
    return kept


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (96, 160), (480, 32)])
def test_agrees_with_the_published_decoding_at_multiples_of_32(height, width):
    outputs = raw(height, width)
    expected = published(outputs, 0.5, 0.3)
    wide = Transform(np.array([[1.0, 0, 100], [0, 1.0, 100]]), 900, 900, (height, width))
    found = plugin().decode(outputs, 0, wide)
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy - 100, [e[1] for e in expected], atol=1e-3)
    np.testing.assert_allclose(found.landmarks - 100, [e[2] for e in expected], atol=1e-3)
    assert found.landmarks.dtype == np.float32


def one(points=((0.25, 0.5),) * 5):
    """A face of 24×16 pixels around (34, 18); points as (y, x) fractions of it."""
    outputs = {n: np.zeros_like(a) for n, a in raw().items()}
    outputs["537"][0, 0, 4, 8] = 0.9
    outputs["538"][0, :, 4, 8] = np.log(4), np.log(6)
    outputs["540"][0, :, 4, 8] = np.ravel(points)
    return outputs


def test_a_hand_worked_face():
    found = plugin(labels=("face",)).decode(one(), 0, Transform.identity(64, 96))
    np.testing.assert_allclose(found.boxes_xyxy, [[22, 10, 46, 26]], rtol=1e-6)
    np.testing.assert_allclose(found.landmarks, [[[34, 14]] * 5], rtol=1e-6)
    detection = found.to_dict()["detections"][0]
    assert detection["landmarks"] == [[34, 14]] * 5
    assert detection["label"] == "face"


def test_landmarks_follow_the_transform_and_are_not_cut_at_the_frame():
    transform = Transform(np.array([[2.0, 0, -60], [0, 2.0, 0]]), 100, 100, (64, 96))
    found = plugin().decode(one([(0, 0), (1, 1), (0, 1), (1, 0), (0.5, 0.5)]), 0, transform)
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 20, 32, 52]], rtol=1e-6)
    expected = [[-16, 20], [32, 52], [32, 20], [-16, 52], [8, 36]]
    np.testing.assert_allclose(found.landmarks, [expected], rtol=1e-6)


def test_a_face_whose_landmarks_are_no_numbers_vanishes():
    found = plugin().decode(one([(np.nan, 0)] + [(0, 0)] * 4), 0, Transform.identity(64, 96))
    assert len(found) == 0


def test_the_tensors_may_come_in_another_order_when_named():
    outputs = one()
    turned = dict(reversed(outputs.items()))
    named = plugin(outputs=["537", "538", "539", "540"])
    found = named.decode(turned, 0, Transform.identity(64, 96))
    np.testing.assert_allclose(found.boxes_xyxy, [[22, 10, 46, 26]], rtol=1e-6)


def test_outputs_of_another_size_or_missing_are_refused():
    with pytest.raises(SpecError, match="16, 16"):
        plugin().decode(one(), 0, Transform.identity(64, 64))
    outputs = one()
    del outputs["539"]
    with pytest.raises(SpecError, match=r"1 \| 2 \| 2 \| 10"):
        plugin().decode(outputs, 0, Transform.identity(64, 96))
    with pytest.raises(SpecError, match="called a, b, c, d"):
        plugin(outputs=["a", "b", "c", "d"]).decode(one(), 0, Transform.identity(64, 96))


#: Read off by eye in the pictures, a few pixels' accuracy: eye, eye, nose, mouth's corners, from the left.
ASTRONAUT = [[203, 101], [246, 103], [223, 126], [204, 140], [245, 140]]
CARPHONE_60 = [[65, 54], [87, 49], [76, 58], [73, 76], [89, 76]]


@pytest.fixture(scope="module")
def centerface(test_data, tmp_path_factory):
    """Runs the real model on a picture of any size: it is cleaned for that size."""
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from edgevision.converters.graph.clean import clean

    model = onnx.load(test_data / "models/centerface.onnx")
    preset = presets.load("centerface")
    spec = InputSpec.from_dict(preset["input"])

    def detect(image):
        height, width = tensor_size(spec, *image.shape[:2])
        cleaned = clean(model, shapes={"input.1": [1, 3, height, width]}).model
        session = ort.InferenceSession(
            cleaned.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        tensor = np.empty((1, 3, height, width), np.float32)
        transform = Preprocessor(spec, tensor).load(image)
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, {"input.1": tensor}), strict=True))
        return plugin(labels=("face",), **preset["output"]["params"]).decode(outputs, 0, transform)

    return detect


def test_real_centerface_finds_the_astronauts_face_eyes_nose_and_mouth(centerface, test_data):
    found = centerface(cv2.imread(str(test_data / "images/astronaut.png")))
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy[0], [182, 58, 270, 178], atol=8)
    np.testing.assert_allclose(found.landmarks[0], ASTRONAUT, atol=6)


def test_real_centerface_finds_the_talking_face_in_a_frame_of_odd_size(centerface, test_data):
    capture = cv2.VideoCapture(str(test_data / "video/carphone.mp4"))
    frames = [capture.read()[1] for _ in range(61)]
    assert frames[60].shape == (144, 176, 3)  # no multiple of 32: stretched to 160×192
    found = centerface(frames[60])
    assert len(found) == 1
    np.testing.assert_allclose(found.landmarks[0], CARPHONE_60, atol=6)
