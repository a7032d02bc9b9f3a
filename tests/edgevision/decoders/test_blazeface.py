from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders._faces import FaceSuppression
from edgevision.decoders.blazeface import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec

SAME = Transform.identity(256, 256)
BACK, FRONT = (16, 32, 32, 32), (8, 16, 16, 16)


def published_anchors(size, strides, interpolated=True):
    """``SsdAnchorsCalculator`` with fixed anchor size, in fractions: equal strides share a grid."""
    anchors, layer = [], 0
    while layer < len(strides):
        last = layer
        while last < len(strides) and strides[last] == strides[layer]:
            last += 1
        count = (last - layer) * (2 if interpolated else 1)
        cells = math.ceil(size / strides[layer])
        for y in range(cells):
            for x in range(cells):
                anchors += [((x + 0.5) / cells, (y + 0.5) / cells)] * count
        layer = last
    return anchors


def published_boxes(scores, boxes, size, strides, least):
    """``TensorsToDetectionsCalculator``: x_scale … h_scale are the input's size, scores clipped at 100."""
    found = []
    for raw, values, (ax, ay) in zip(scores.tolist(), boxes.tolist(), published_anchors(size, strides), strict=True):  # fmt: skip
        score = 1 / (1 + math.exp(-min(max(raw[0], -100), 100)))
        if score < least:
            continue
        x, y = values[0] / size + ax, values[1] / size + ay
        w, h = values[2] / size, values[3] / size
        points = [(values[i] / size + ax, values[i + 1] / size + ay) for i in range(4, 16, 2)]
        numbers = [x - w / 2, y - h / 2, x + w / 2, y + h / 2, *np.ravel(points)]
        found.append((score, [size * v for v in numbers]))
    return sorted(found, key=lambda f: -f[0])


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def weighted(found, threshold):
    """``WeightedNonMaxSuppression`` of MediaPipe."""
    kept, left = [], list(found)
    while left:
        score, best = left[0]
        same = [f for f in left if iou(f[1], best) > threshold]
        total = sum(f[0] for f in same)
        mean = [sum(f[0] * f[1][i] for f in same) / total for i in range(len(best))]
        kept.append((score, mean))
        left = [f for f in left if f not in same]
    return kept


def plain(found, threshold):
    kept = []
    for face in found:
        if all(iou(face[1], other[1]) <= threshold for other in kept):
            kept.append(face)
    return kept


def raw(size=256, strides=BACK, seed=0):
    """Scores ``(896, 1)`` and values ``(896, 16)`` in which neighbouring anchors see the same faces."""
    rng = np.random.default_rng(seed)
    anchors = np.array(published_anchors(size, strides)) * size
    scores = rng.normal(-4, 1, (len(anchors), 1))
    boxes = rng.normal(0, 20, (len(anchors), 16))
    boxes[:, 2:4] = rng.uniform(20, 60, (len(anchors), 2))
    for face in rng.uniform(60, size - 60, (4, 2)):
        near = np.flatnonzero(np.abs(anchors - face).max(1) < size / 16)
        scores[near, 0] = rng.normal(2, 1, len(near))
        boxes[near, :2] = face - anchors[near] + rng.normal(0, 4, (len(near), 2))
        boxes[near, 2:4] = size / 8 + rng.normal(0, 4, (len(near), 2))
    return scores.astype(np.float32), boxes.astype(np.float32)


@pytest.mark.parametrize(("size", "strides"), [(256, BACK), (128, FRONT)], ids=["back", "front"])
@pytest.mark.parametrize("suppression", ["weighted", "plain"])
@pytest.mark.parametrize("together", [True, False])
def test_agrees_with_mediapipes_published_steps(size, strides, suppression, together):
    scores, boxes = raw(size, strides)
    assert len(scores) == 896
    suppress = weighted if suppression == "weighted" else plain
    candidates = published_boxes(scores, boxes, size, strides, 0.65)
    expected = suppress(candidates, 0.3)
    assert len(candidates) > 2 * len(expected) > 4
    if together:
        outputs = {"scores": scores[None], "boxes": boxes[None]}
    else:
        parts = {"a": scores[:512], "b": scores[512:], "c": boxes[:512], "d": boxes[512:]}
        outputs = {name: part[None] for name, part in parts.items()}
    wide = Transform(np.array([[1.0, 0, 100], [0, 1.0, 100]]), 500, 500, (size, size))
    found = plugin(strides=strides, suppression=suppression).decode(outputs, 0, wide)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-5)
    numbers = np.concatenate([found.boxes_xyxy, found.landmarks.reshape(len(found), -1)], 1)
    np.testing.assert_allclose(numbers - 100, [e[1] for e in expected], atol=2e-3)


def test_weighted_suppression_is_the_default():
    scores, boxes = raw()
    outputs = {"s": scores[None], "b": boxes[None]}
    ours, weighted_, plain_ = (
        plugin(**p).decode(outputs, 0, SAME).boxes_xyxy
        for p in ({}, {"suppression": "weighted"}, {"suppression": "plain"})
    )
    np.testing.assert_array_equal(ours, weighted_)
    assert np.abs(ours - plain_).max() > 0.1


def lone(score, anchor=0):
    scores, boxes = np.full((1, 896, 1), -200, np.float32), np.zeros((1, 896, 16), np.float32)
    scores[0, anchor] = score
    boxes[0, anchor] = (40, 42, 20, 10, *range(12))
    return {"s": scores, "b": boxes}


def test_a_hand_worked_anchor():
    # Anchor 512 + 6 · 9: the grid of 8×8 cells of 32 pixels, row 1, column 1: centre (48, 48).
    found = plugin().decode(lone(np.log(4), 512 + 6 * 9), 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [[78, 85, 98, 95]])
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)
    expected = [[48 + i, 49 + i] for i in range(0, 12, 2)]
    np.testing.assert_allclose(found.landmarks, [expected])
    assert found.landmarks.shape == (1, 6, 2)


def test_huge_scores_are_clipped_and_certain():
    found = plugin().decode(lone(1e30), 0, SAME)
    assert found.scores.tolist() == [1.0]


def test_one_grid_with_one_anchor_a_cell_is_the_full_range_model():
    scores, boxes = np.full((1, 2304, 1), -9, np.float32), np.zeros((1, 2304, 16), np.float32)
    scores[0, 48 * 10 + 20], boxes[0, 48 * 10 + 20, 2:4] = 5, 20
    decoder = plugin(strides=[4], anchors_per_stride=1)
    found = decoder.decode({"s": scores, "b": boxes}, 0, Transform.identity(192, 192))
    np.testing.assert_allclose(found.boxes_xyxy, [[72, 32, 92, 52]])


def test_a_face_at_an_overlap_of_one_still_stands_for_itself():
    assert len(plugin(iou=1.0).decode(lone(3), 0, SAME)) == 1


def test_outputs_for_other_anchors_are_refused_saying_how_many():
    with pytest.raises(SpecError, match="128 and 96"):
        plugin().decode(lone(3), 0, Transform.identity(128, 128))


@pytest.mark.parametrize(
    "params",
    [
        {"strides": []},
        {"strides": [16, 0]},
        {"strides": 16},
        {"anchors_per_stride": 0},
        {"key_points": 0},
        {"suppression": "soft"},
        {"classes": [0]},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


@pytest.fixture(scope="module")
def blazeface(test_data):
    ort = pytest.importorskip("onnxruntime")
    preset = presets.load("blazeface")
    spec = InputSpec.from_dict(preset["input"])
    tensor = np.empty((1, 256, 256, 3), np.float32)
    load = Preprocessor(spec, tensor).load
    session = ort.InferenceSession(
        str(test_data / "models/blazeface-back.onnx"), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    decoder = plugin(labels=("face",), **preset["output"]["params"])

    def detect(image):
        transform = load(image)
        outputs = session.run(None, {session.get_inputs()[0].name: tensor})
        return decoder.decode(dict(zip(names, outputs, strict=True)), 0, transform)

    return detect


#: Read off by eye in the pictures: eye, eye, nose, mouth, from the left; the ears are hidden by hair.
ASTRONAUT = [[203, 101], [246, 103], [223, 126], [224, 147]]
CARPHONE_60 = [[65, 54], [87, 49], [76, 58], [82, 75]]


def test_real_blazeface_finds_the_astronauts_face_eyes_nose_and_mouth(blazeface, test_data):
    found = blazeface(cv2.imread(str(test_data / "images/astronaut.png")))
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy[0], [173, 74, 277, 178], atol=8)
    np.testing.assert_allclose(found.landmarks[0, :4], ASTRONAUT, atol=6)


def test_real_blazeface_finds_the_talking_face_in_every_frame(blazeface, test_data):
    capture = cv2.VideoCapture(str(test_data / "video/carphone.mp4"))
    faces = []
    while (read := capture.read())[0]:
        faces.append(blazeface(read[1]))
    assert len(faces) == 120
    assert sum(len(found) == 1 for found in faces) >= 118
    np.testing.assert_allclose(faces[60].landmarks[0, :4], CARPHONE_60, atol=6)


def test_kept_boxes_that_overlap_by_rounding_stand_for_themselves():
    """Suppression and blending round overlaps differently: a second kept box had nothing left, and became NaN."""
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    points = boxes.reshape(3, 2, 2)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    blended, landmarks = FaceSuppression(0.3, 10, weighted=True)._blend(
        boxes, points, scores, np.array([0, 1])
    )
    np.testing.assert_array_equal(blended[1], boxes[1])
    np.testing.assert_allclose(blended[0], (0.9 * boxes[0] + 0.7 * boxes[2]) / 1.6, rtol=1e-6)
    assert np.isfinite(landmarks).all()
