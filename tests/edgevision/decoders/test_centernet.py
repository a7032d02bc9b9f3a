from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.decoders.centernet import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(128, 192)


def raw(classes=5, height=32, width=48, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    heat = rng.normal(-3, 2, (1, classes, height, width))
    for plane in heat[0]:
        plane[:] = cv2.GaussianBlur(plane, (5, 5), 1) * 3 + 4
    size = rng.uniform(1, 9, (1, 2, height, width))
    offset = rng.uniform(0, 1, (1, 2, height, width))
    return {n: v.astype(dtype) for n, v in (("hm", heat), ("wh", size), ("reg", offset))}


def published(outputs, k, score):
    """``ctdet_decode`` as published: sigmoid, 3×3 max-pool (by OpenCV), the best k of all classes."""
    heat = 1 / (1 + np.exp(-outputs["hm"][0].astype(float)))
    found = []
    for class_id, plane in enumerate(heat):
        pooled = cv2.dilate(plane, np.ones((3, 3)), borderType=cv2.BORDER_REPLICATE)
        for y, x in np.argwhere(plane == pooled):
            w, h = outputs["wh"][0, :, y, x].astype(float)
            dx, dy = outputs["reg"][0, :, y, x].astype(float)
            box = [x + dx - w / 2, y + dy - h / 2, x + dx + w / 2, y + dy + h / 2]
            found.append((plane[y, x], class_id, [4 * v for v in box]))
    found.sort(key=lambda f: -f[0])
    return [f for f in found[:k] if f[0] >= score]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("most", [20, 1000])
def test_agrees_with_the_published_decoding(seed, most):
    outputs = raw(seed=seed)
    expected = published(outputs, most, 0.3)
    wide = Transform(np.array([[1.0, 0, 100], [0, 1.0, 100]]), 500, 500, (128, 192))
    found = plugin(max_detections=most).decode(outputs, 0, wide)
    assert len(found) == len(expected) >= 20
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-5)
    assert found.class_ids.tolist() == [e[1] for e in expected]
    np.testing.assert_allclose(found.boxes_xyxy - 100, [e[2] for e in expected], atol=1e-3)


def quiet(classes=3, low=0.01):
    heat = np.full((1, classes, 32, 48), low, np.float32)
    return {"hm": heat, "wh": np.full((1, 2, 32, 48), 5, np.float32), "reg": np.zeros((1, 2, 32, 48), np.float32)}  # fmt: skip


def test_neighbours_of_a_peak_are_not_objects_but_other_classes_are():
    outputs = quiet()
    outputs["hm"][0, 1, 10:13, 20:23] = 0.6
    outputs["hm"][0, 1, 11, 21] = 0.7
    outputs["hm"][0, 2, 11, 22] = 0.5
    found = plugin(activation="none").decode(outputs, 0, SAME)
    assert found.class_ids.tolist() == [1, 2]


@pytest.mark.parametrize("cell", [(0, 0), (0, 47), (31, 0), (31, 47), (0, 20), (15, 47)])
def test_peaks_at_the_edge_are_found(cell):
    outputs = quiet()
    outputs["hm"][(0, 0, *cell)] = 0.8
    found = plugin(activation="none").decode(outputs, 0, SAME)
    left, top = max(0, 4 * cell[1] - 10), max(0, 4 * cell[0] - 10)
    np.testing.assert_allclose(found.boxes_xyxy[:, :2], [[left, top]])


def test_level_peaks_beside_each_other_both_count_as_in_the_published_code():
    outputs = quiet()
    outputs["hm"][0, 1, 10, 20:22] = 0.6
    assert len(plugin(activation="none").decode(outputs, 0, SAME)) == 2


def test_a_neighbour_that_is_no_number_takes_nothing_away():
    outputs = quiet()
    outputs["hm"][0, 1, 10, 20:22] = 0.6, np.nan
    assert len(plugin(activation="none").decode(outputs, 0, SAME)) == 1


def test_two_classes_are_told_from_size_and_offset_by_their_place_or_their_names():
    outputs = quiet(classes=2)
    outputs["hm"][0, 1, 10, 20] = 0.8
    assert plugin(activation="none").decode(outputs, 0, SAME).class_ids.tolist() == [1]
    mixed = {name: outputs[name] for name in ("reg", "wh", "hm")}
    decoder = plugin(activation="none", outputs=["hm", "wh", "reg"])
    found = decoder.decode(mixed, 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [[70, 30, 90, 50]])


def test_another_stride_can_be_told():
    outputs = quiet()
    outputs["hm"][0, 1, 10, 20] = 0.8
    found = plugin(activation="none", stride=8).decode(outputs, 0, Transform.identity(256, 384))
    np.testing.assert_allclose(found.boxes_xyxy, [[140, 60, 180, 100]])


def test_heat_maps_of_another_size_are_refused_saying_which():
    with pytest.raises(SpecError, match="32, 64"):
        plugin().decode(quiet(), 0, Transform.identity(128, 256))


@pytest.mark.parametrize(
    "params",
    [{"activation": "softmax"}, {"stride": 0}, {"outputs": ["hm", "wh"]}, {"iou": 0.5}],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)
