from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders.nanodet import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.metrics.boxes import iou_matrix
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec

#: One-hot logits this large make a softmax's mean its bin, to 1e-6.
SURE = 20.0


def head(
    height, width, *cells, classes=3, bins=11, low=0.01, strides=(8, 16, 32), dtype=np.float32
):
    """All outputs; cells are (stride, row, column, class, score, (l, t, r, b) in strides)."""
    outputs = {}
    for stride in strides:
        rows, columns = -(-height // stride), -(-width // stride)
        scores = np.full((1, rows * columns, classes), low, dtype)
        sides = np.zeros((1, rows * columns, 4 * bins), dtype)
        for _, row, column, class_id, score, distances in (c for c in cells if c[0] == stride):
            scores[0, row * columns + column, class_id] = score
            for side, distance in enumerate(distances):
                sides[0, row * columns + column, side * bins + distance] = SURE
        outputs[f"scores{stride}"], outputs[f"sides{stride}"] = scores, sides
    return outputs


def decode(outputs, height=96, width=96, **params):
    return plugin(**params).decode(outputs, 0, Transform.identity(height, width))


def test_sides_are_measured_from_the_centre_of_the_cell():
    # Row 2, column 3 at stride 16: centre (56, 40).
    found = decode(head(96, 96, (16, 2, 3, 1, 0.8, (1, 2, 1, 3))))
    np.testing.assert_allclose(found.boxes_xyxy, [[40, 8, 72, 88]], atol=1e-3)
    assert found.class_ids.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.8])


def test_a_side_is_the_mean_of_its_bins():
    outputs = head(96, 96, (16, 3, 3, 0, 0.8, (1, 1, 1, 1)))
    # Bins 1 and 2 alike: 1.5 strides to the left of 56.
    outputs["sides16"][0, 3 * 6 + 3, 2] = SURE
    np.testing.assert_allclose(decode(outputs).boxes_xyxy, [[32, 40, 72, 72]], atol=1e-3)


def test_the_corner_of_the_cell_can_be_the_anchor():
    found = decode(head(96, 96, (16, 2, 3, 1, 0.8, (1, 1, 1, 1))), cell_offset=0)
    np.testing.assert_allclose(found.boxes_xyxy, [[32, 16, 64, 48]], atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 160), (160, 64), (100, 132)])
def test_every_stride_is_found_at_every_size(height, width):
    outputs = head(
        height,
        width,
        (8, 1, 1, 0, 0.9, (1, 1, 1, 1)),
        (16, 2, 2, 1, 0.8, (1, 1, 1, 1)),
        (32, 1, 1, 2, 0.7, (1, 1, 1, 1)),
    )
    found = decode(outputs, height, width)
    expected = [[4, 4, 20, 20], [24, 24, 56, 56], [16, 16, 80, min(80, height)]]
    expected[2][2] = min(80, width)
    np.testing.assert_allclose(found.boxes_xyxy, expected, atol=1e-3)
    assert found.class_ids.tolist() == [0, 1, 2]


def test_the_order_of_the_outputs_does_not_matter():
    outputs = head(96, 96, (16, 2, 3, 1, 0.8, (1, 2, 1, 3)), (8, 1, 1, 0, 0.9, (1, 1, 1, 1)))
    turned = dict(reversed(outputs.items()))
    np.testing.assert_array_equal(decode(outputs).boxes_xyxy, decode(turned).boxes_xyxy)


def test_the_best_of_a_cells_classes_counts_and_neighbours_are_suppressed():
    outputs = head(
        96,
        96,
        (8, 5, 5, 0, 0.6, (2, 2, 2, 2)),
        (8, 5, 5, 2, 0.7, (2, 2, 2, 2)),
        (16, 2, 2, 2, 0.9, (1, 1, 1, 1)),
    )
    # Centres (44, 44) and (40, 40), both 32×32: 28² common of 2·32² − 28², IoU 0.62.
    assert decode(outputs).scores.tolist() == pytest.approx([0.9])
    assert decode(outputs, iou=0.65).scores.tolist() == pytest.approx([0.9, 0.7])


def test_logits_become_scores_by_sigmoid_when_asked():
    outputs = head(
        96, 96, (16, 2, 3, 1, 2.0, (1, 1, 1, 1)), (8, 9, 9, 0, -1.0, (1, 1, 1, 1)), low=-9
    )
    found = decode(outputs, activation="sigmoid")
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2))], rtol=1e-6)
    # sigmoid(−1) is 0.269
    assert len(decode(outputs, activation="sigmoid", score=0.26)) == 2


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_extreme_thresholds_work_with_sigmoid(score):
    outputs = head(96, 96, (16, 2, 3, 1, 2.0, (1, 1, 1, 1)), low=-9)
    assert (len(decode(outputs, activation="sigmoid", score=score)) > 0) == (score == 0)


def test_only_wanted_classes_are_kept():
    outputs = head(96, 96, (8, 1, 1, 0, 0.9, (1, 1, 1, 1)), (16, 3, 3, 1, 0.8, (1, 1, 1, 1)))
    assert decode(outputs, classes=[1]).class_ids.tolist() == [1]
    assert decode(outputs, classes=["b"], labels=("a", "b", "c")).class_ids.tolist() == [1]


def test_nothing_found_is_an_empty_result():
    assert decode(head(96, 96)).boxes_xyxy.shape == (0, 4)


def test_values_that_are_not_finite_vanish():
    outputs = head(96, 96, (8, 1, 1, 0, np.nan, (1, 1, 1, 1)), (16, 3, 3, 1, 0.8, (1, 1, 1, 1)))
    outputs["scores8"][0, 40] = 0.9
    outputs["sides8"][0, 40] = np.nan
    assert decode(outputs).class_ids.tolist() == [1]


def test_float16_outputs_are_read():
    found = decode(head(96, 96, (16, 2, 3, 1, 0.75, (1, 2, 1, 3)), dtype=np.float16))
    np.testing.assert_allclose(found.boxes_xyxy, [[40, 8, 72, 88]], atol=1e-2)


def test_other_bins_and_strides_can_be_told():
    outputs = head(96, 96, (64, 0, 0, 1, 0.8, (0, 0, 0, 0)), bins=8, strides=(16, 64))
    outputs["sides64"][0, 0] = 0
    # Even bins 0…7: 3.5 strides to each side, cut at the frame.
    found = decode(outputs, reg_max=7, strides=[16, 64])
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 96, 96]])


def test_results_are_the_callers_own():
    decoder = plugin()
    same = Transform.identity(96, 96)
    first = decoder.decode(head(96, 96, (16, 2, 3, 1, 0.8, (1, 2, 1, 3))), 0, same)
    kept = first.boxes_xyxy.copy()
    decoder.decode(head(96, 96, (16, 1, 1, 1, 0.8, (1, 1, 1, 1))), 0, same)
    np.testing.assert_array_equal(first.boxes_xyxy, kept)


def test_labels_of_another_number_are_refused():
    with pytest.raises(SpecError, match="2 labels for 3 classes"):
        decode(head(96, 96), labels=("a", "b"))


def test_outputs_for_another_size_bins_or_stride_are_refused():
    for params in ({"height": 128}, {"reg_max": 7}, {"strides": (8, 64)}):
        with pytest.raises(SpecError, match="stride"):
            decode(head(96, 96), **params)


@pytest.mark.parametrize(
    "params",
    [
        {"reg_max": 0},
        {"strides": []},
        {"strides": [8, 8]},
        {"strides": [8, 0]},
        {"activation": "softmax"},
        {"cell_offset": 2},
        {"bins": 3},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


#: Read off frame 700 of vtest.avi by eye (a few pixels' accuracy): everyone who stands free.
PEOPLE = [
    [103, 285, 144, 394],  # woman in a dark coat, bottom left
    [280, 213, 308, 294],  # blue jacket
    [366, 173, 397, 254],  # brown jacket
    [185, 167, 213, 238],  # dark jacket, left
    [681, 217, 730, 307],  # paper in hand, right
    [519, 166, 544, 234],  # black, from behind
    [476, 136, 495, 200],  # red top
]


def test_real_nanodet_finds_people_where_people_are(test_data):
    ort = pytest.importorskip("onnxruntime")
    preset = presets.load("nanodet")
    spec = InputSpec.from_dict(preset["input"])
    labels = tuple((test_data / "labels/coco-80.txt").read_text().splitlines())
    tensor = np.empty((1, *spec.tensor_shape(*spec.size)), np.float32)
    transform = Preprocessor(spec, tensor).load(frame(test_data / "video/vtest.avi", 700))
    session = ort.InferenceSession(
        str(test_data / "models/nanodet.onnx"), providers=["CPUExecutionProvider"]
    )
    values = session.run(None, {session.get_inputs()[0].name: tensor})
    names = [output.name for output in session.get_outputs()]
    decoder = plugin(labels=labels, **preset["output"]["params"])
    found = decoder.decode(dict(zip(names, values, strict=True)), 0, transform)
    people = found.select(found.class_ids == labels.index("person"))
    best = iou_matrix(np.array(PEOPLE, float), people.boxes_xyxy).max(axis=1)
    # With the cell's corner as the anchor the mean is 0.57: every box sits 7 pixels up and left.
    assert best.min() > 0.7
    assert best.mean() > 0.8


def frame(path, index):
    capture = cv2.VideoCapture(str(path))
    for _ in range(index + 1):
        fine, image = capture.read()
    assert fine
    return image
