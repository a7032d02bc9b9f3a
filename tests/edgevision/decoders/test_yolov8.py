from __future__ import annotations

import numpy as np
import pytest

from edgevision.decoders.yolov8 import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

LABELS = ("cat", "dog", "owl")
SAME = Transform.identity(480, 640)


def head(*anchors, classes=3, count=50, dtype=np.float32):
    """``(1, 4 + classes, count)`` with some anchors: (position, cx, cy, w, h, {class: score})."""
    out = np.full((1, 4 + classes, count), 0.01, dtype)
    out[:, :4] = 20
    for position, *box, scores in anchors:
        out[0, :4, position] = box
        for class_id, score in scores.items():
            out[0, 4 + class_id, position] = score
    return out


def decode(tensor, row=0, transform=SAME, **params):
    params.setdefault("labels", LABELS)
    return plugin(**params).decode({"output0": tensor}, row, transform)


def test_reads_boxes_scores_and_classes_best_first():
    found = decode(head((3, 100, 80, 40, 20, {1: 0.6}), (9, 300, 200, 60, 100, {2: 0.9})))
    np.testing.assert_allclose(found.boxes_xyxy, [[270, 150, 330, 250], [80, 70, 120, 90]])
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert found.class_ids.tolist() == [2, 1]
    assert [found.label(i) for i in range(2)] == ["owl", "dog"]
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype) == (
        np.float32,
        np.float32,
        np.int32,
    )


def test_nothing_above_the_threshold_is_an_empty_result():
    found = decode(head())
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.labels == LABELS


@pytest.mark.parametrize(("score", "count"), [(0.25, 1), (0.2501, 0)])
def test_the_threshold_itself_counts(score, count):
    assert len(decode(head((0, 50, 50, 10, 10, {0: 0.25})), score=score)) == count


def test_overlapping_boxes_of_a_class_become_one():
    tensor = head(
        (0, 100, 100, 40, 40, {0: 0.7}),
        (1, 101, 100, 40, 40, {0: 0.8}),
        (2, 100, 101, 40, 40, {1: 0.5}),
    )
    assert decode(tensor).scores.tolist() == pytest.approx([0.8, 0.5])
    assert decode(tensor, class_agnostic=True).scores.tolist() == pytest.approx([0.8])
    # 39 of 41 columns: IoU 0.95.
    assert len(decode(tensor, iou=0.96)) == 3


@pytest.mark.parametrize("wanted", [["dog"], [1], ("dog", 1)])
def test_only_wanted_classes_are_kept(wanted):
    tensor = head((0, 50, 50, 10, 10, {0: 0.9}), (1, 200, 200, 10, 10, {1: 0.5}))
    assert decode(tensor, classes=wanted).class_ids.tolist() == [1]


def test_a_box_counts_for_its_best_class_only():
    # As Ultralytics: a cat at 0.9 is no dog at 0.5.
    assert len(decode(head((0, 50, 50, 10, 10, {0: 0.9, 1: 0.5})), classes=["dog"])) == 0


def test_the_transposed_layout_is_read_too():
    tensor = head((3, 100, 80, 40, 20, {1: 0.6}), (9, 300, 200, 60, 100, {2: 0.9}))
    turned = np.ascontiguousarray(tensor.transpose(0, 2, 1))
    for labels in (LABELS, ()):
        ours, theirs = decode(turned, labels=labels), decode(tensor, labels=labels)
        np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()


def test_labels_tell_the_layout_where_there_are_fewer_anchors_than_channels():
    tensor = head((1, 100, 80, 40, 20, {1: 0.6}), count=4)
    np.testing.assert_allclose(decode(tensor).boxes_xyxy, [[80, 70, 120, 90]])


def test_a_square_whose_layout_cannot_be_told_is_refused():
    with pytest.raises(SpecError, match=r"\(1, 7, 7\)"):
        decode(head(count=7))


def test_each_row_of_a_batch_is_its_own():
    batch = np.concatenate(
        [head((0, 50, 50, 10, 10, {0: 0.9})), head((0, 90, 90, 10, 10, {1: 0.8}))]
    )
    decoder = plugin(labels=LABELS)
    rows = [decoder.decode({"o": batch}, row, SAME).class_ids.tolist() for row in (0, 1)]
    assert rows == [[0], [1]]


def test_boxes_come_in_source_pixels_within_the_frame():
    # Tensor 320×320 of a 640×480 frame: scale 2, 40 rows of padding above and below.
    transform = Transform(np.array([[2.0, 0, 0], [0, 2.0, -80]]), 640, 480, (320, 320))
    tensor = head((0, 10, 50, 40, 40, {0: 0.9}), (1, 100, 10, 20, 20, {1: 0.8}))
    found = decode(tensor, transform=transform)
    # −10…30 → −20…60, cut at 0; 30…70 → −20…60, cut at 0. The second lies in the padding.
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 0, 60, 60]])


def test_boxes_outside_the_frame_vanish():
    assert len(decode(head((0, 900, 50, 10, 10, {0: 0.9})))) == 0


@pytest.mark.parametrize(
    "box", [(np.nan, 5, 5, 5), (5, 5, np.inf, 5), (5, 5, 0, 5), (5, 5, -5, 5)], ids=str
)
def test_unusable_boxes_vanish(box):
    tensor = head((0, *box, {0: 0.9}), (7, 100, 100, 20, 20, {1: 0.5}))
    assert decode(tensor).class_ids.tolist() == [1]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_anchors_with_unusable_scores_vanish(score):
    tensor = head((0, 50, 50, 10, 10, {0: score}), (7, 100, 100, 20, 20, {1: 0.5}))
    assert decode(tensor).class_ids.tolist() == [1]


def test_at_most_max_detections_come_out():
    tensor = head(*[(i, 12 * i + 10, 50, 10, 10, {0: 0.5 + i / 100}) for i in range(20)])
    assert decode(tensor, max_detections=3).scores.tolist() == pytest.approx([0.69, 0.68, 0.67])


def test_thousands_of_candidates_are_decoded_in_bounded_time():
    rng = np.random.default_rng(0)
    tensor = rng.uniform(0, 1, (1, 84, 8400)).astype(np.float32)
    tensor[0, :4] *= 600
    assert len(decode(tensor, labels=(), score=0.0, transform=Transform.identity(999, 999))) == 300


def test_float16_outputs_are_read():
    tensor = head((0, 100, 80, 40, 20, {1: 0.625}), dtype=np.float16)
    found = decode(tensor)
    np.testing.assert_allclose(found.boxes_xyxy, [[80, 70, 120, 90]])
    assert found.scores.dtype == np.float32


def test_results_are_the_callers_own():
    decoder, tensor = plugin(labels=LABELS), head((0, 100, 80, 40, 20, {1: 0.6}))
    first = decoder.decode({"o": tensor}, 0, SAME)
    kept = first.boxes_xyxy.copy(), first.scores.copy(), first.class_ids.copy()
    tensor[:] = head((5, 300, 200, 40, 20, {2: 0.9}))
    decoder.decode({"o": tensor}, 0, SAME)
    np.testing.assert_array_equal(first.boxes_xyxy, kept[0])
    np.testing.assert_array_equal(first.scores, kept[1])
    np.testing.assert_array_equal(first.class_ids, kept[2])


def test_buffers_follow_when_candidates_and_shapes_change():
    decoder = plugin(labels=LABELS)
    for n, count in ((3, 50), (1, 50), (20, 50), (20, 200), (2, 60)):
        tensor = head(*[(i, 12 * i + 10, 50, 10, 10, {i % 3: 0.5}) for i in range(n)], count=count)
        found = decoder.decode({"o": tensor}, 0, SAME)
        assert sorted(found.boxes_xyxy[:, 0].tolist()) == [12.0 * i + 5 for i in range(n)]


def test_agrees_with_a_plain_decoder_on_random_outputs():
    rng = np.random.default_rng(3)
    tensor = rng.uniform(0, 0.6, (1, 9, 300)).astype(np.float32)
    tensor[0, :2] *= 600
    tensor[0, 2:4] *= 100
    expected = {
        (int(a[4:].argmax()), round(float(a[4:].max()), 5))
        for a in tensor[0].T
        if a[4:].max() >= 0.5
    }
    found = decode(tensor, labels=(), score=0.5, iou=1.0)
    pairs = zip(found.class_ids.tolist(), found.scores.tolist(), strict=True)
    assert {(c, round(s, 5)) for c, s in pairs} <= expected
    assert len(found) > 0.8 * len(expected)  # some centres lie outside the 640×480 frame


def test_labels_of_another_number_are_refused_naming_both_numbers():
    with pytest.raises(SpecError, match="2 labels for 3 classes"):
        decode(head(), labels=("cat", "dog"))


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"a": np.zeros((1, 7), np.float32)},
        {"a": np.zeros((1, 7, 50), np.int64)},
        {"a": np.zeros((1, 4, 50), np.float32)},
        {"a": np.zeros((1, 7, 50), np.float32), "b": np.zeros((1, 7, 50), np.float32)},
    ],
    ids=["none", "flat", "integers", "no classes", "two"],
)
def test_other_layouts_are_refused_listing_what_was_seen(outputs):
    with pytest.raises(SpecError) as caught:
        plugin().decode(outputs, 0, SAME)
    assert all(str(a.shape) in str(caught.value) for a in outputs.values())


def test_an_output_can_be_named():
    outputs = {"a": np.zeros((1, 7, 50), np.float32), "b": head((0, 50, 50, 10, 10, {0: 0.9}))}
    assert len(plugin(outputs="b").decode(outputs, 0, SAME)) == 1
    with pytest.raises(SpecError, match="'c'"):
        plugin(outputs="c").decode(outputs, 0, SAME)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"scor": 0.5}, "scor"),
        ({"score": 1.5}, "score"),
        ({"score": "0.5"}, "score"),
        ({"score": True}, "score"),
        ({"score": float("nan")}, "score"),
        ({"iou": -0.1}, "iou"),
        ({"max_detections": 0}, "max_detections"),
        ({"max_detections": 2.5}, "max_detections"),
        ({"class_agnostic": 1}, "class_agnostic"),
        ({"classes": "dog"}, "classes"),
        ({"classes": ["bird"]}, "bird"),
        ({"classes": [3]}, "3"),
        ({"outputs": ""}, "outputs"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused_by_name(params, named):
    with pytest.raises(SpecError, match=named):
        plugin(labels=LABELS, **params)


def test_final_boxes_of_an_export_with_nms_are_not_taken_for_two_classes():
    final = np.zeros((1, 300, 6), np.float32)
    final[0, 0] = (100, 100, 200, 200, 0.9, 1)
    for labels in ((), ("a", "b")):
        with pytest.raises(SpecError, match=r"\(1, 300, 6\)|cannot read") as told:
            plugin(labels=labels).decode({"output0": final}, 0, SAME)
        assert "(1, 300, 6)" in told.value.received
