"""The conveyor's exact truth, written in both formats and read back, judged as a model would be."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from edgevision.labelled import open_labelled
from edgevision.metrics.accuracy import accuracy_for
from edgevision.results import Detections
from edgevision.sources._conveyor import Conveyor
from edgevision.sources._garments import CLASSES, shipped

WIDTH, HEIGHT, FRAMES = 320, 240, range(0, 40, 10)


@pytest.fixture(scope="module")
def belt(tmp_path_factory):
    """A folder that is a YOLO and a COCO data set at once; the latter numbers its classes backwards."""
    root = tmp_path_factory.mktemp("belt")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    conveyor, pixels = Conveyor(shipped(), 3, WIDTH, HEIGHT), np.empty((HEIGHT, WIDTH, 3), np.uint8)
    images, annotations = [], []
    for index in FRAMES:
        conveyor.render(index, pixels)
        assert cv2.imwrite(str(root / "images" / f"{index:03}.png"), pixels)
        truth = conveyor.truth(index)
        lines = []
        for box, class_id in zip(
            truth.boxes_xyxy.astype(float).tolist(), truth.class_ids.tolist(), strict=True
        ):
            x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
            parts = ((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT)
            lines.append(f"{class_id} " + " ".join(map(repr, parts)))
            annotations.append(
                {"image_id": index, "category_id": 100 - class_id, "bbox": [x, y, w, h]}
            )
        (root / "labels" / f"{index:03}.txt").write_text("\n".join(lines))
        images.append(
            {"id": index, "file_name": f"{index:03}.png", "width": WIDTH, "height": HEIGHT}
        )
    (root / "data.yaml").write_text("names:\n" + "".join(f"- {name}\n" for name in CLASSES))
    categories = [{"id": 100 - i, "name": name.upper()} for i, name in enumerate(CLASSES)]
    table = {"images": images, "annotations": annotations, "categories": categories}
    (root / "labels.json").write_text(json.dumps(table))
    return root


def test_both_formats_give_the_truth_that_was_rendered(belt):
    conveyor = Conveyor(shipped(), 3, WIDTH, HEIGHT)
    both = zip(
        open_labelled(belt, CLASSES), open_labelled(belt / "labels.json", CLASSES), strict=True
    )
    for index, ((a_image, a), (b_image, b)) in zip(FRAMES, both, strict=True):
        expected = conveyor.truth(index)
        assert len(expected.class_ids) > 0
        np.testing.assert_array_equal(a_image, b_image)
        for found in (a, b):
            np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
            assert found.class_ids.tolist() == expected.class_ids.tolist()


@pytest.mark.parametrize("source", [".", "labels.json"])
def test_what_was_labelled_scores_1_and_other_classes_score_0(belt, source):
    pytest.importorskip("pycocotools")
    data = open_labelled(belt / source, CLASSES, task="detect")
    right, wrong = (accuracy_for("detect", CLASSES, classes=data.classes) for _ in range(2))
    for _, truth in data:
        scores = np.full(len(truth), 0.9, np.float32)
        other = ((truth.class_ids + 1) % len(CLASSES)).astype(np.int32)
        right.add(truth, Detections(truth.boxes_xyxy, scores, truth.class_ids, CLASSES))
        wrong.add(truth, Detections(truth.boxes_xyxy, scores, other, CLASSES))
    assert right.value == pytest.approx(1, abs=1e-9)
    assert right.to_dict()["f1"] == 1
    assert wrong.to_dict()["f1"] < 0.2
    assert wrong.value < 0.2
