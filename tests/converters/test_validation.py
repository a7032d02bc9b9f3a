"""Labelled data decide: by the task's own metric, on pictures that had no part in making or choosing a variant."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.converters import variants
from edgevision.converters.accuracy import compared, shortcoming
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.validation import open_validation
from edgevision.errors import DataError, GateError, UsageError
from edgevision.frame import picture_digest
from edgevision.metrics.classification import ClassificationAccuracy
from edgevision.metrics.truth import ClassTruth
from edgevision.progress import Progress
from edgevision.results import Classification
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

Scene = tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]
Draw = Callable[..., Scene]
MakeOrder = Callable[..., Order]
SIDE = 64
LABELS = ("red", "green")


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


def write_yolo(folder: Path, draw: Draw, count: int, *, wrong: bool = False) -> Path:
    """Squares with their labels; ``wrong`` swaps the classes."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text("path: .\nval: images\nnames:\n  0: red\n  1: green\n")
    for number in range(count):
        image, truth = draw(5000 + number)
        cv2.imwrite(str(folder / f"images/{number:04d}.png"), image)
        lines = [
            f"{1 - kind if wrong else kind} {(x1 + x2) / 2 / SIDE} {(y1 + y2) / 2 / SIDE} "
            f"{(x2 - x1) / SIDE} {(y2 - y1) / SIDE}"
            for kind, x1, y1, x2, y2 in truth
        ]
        (folder / f"labels/{number:04d}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """240 labelled pictures."""
    return write_yolo(tmp_path_factory.mktemp("labelled") / "squares", draw, 240)


@pytest.fixture(scope="session")
def validated(
    tmp_path_factory: pytest.TempPathFactory, order: MakeOrder, squares: Path
) -> Conversion:
    """Labelled pictures alone: to calibrate on, to choose by and to confirm."""
    output = tmp_path_factory.mktemp("validated") / "squares.evb"
    return run(order(output, calibration=None, validation=squares, precisions=("int8", "fp16")))


def report(conversion: Conversion) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((conversion.order.output / "report.json").read_bytes())
    return found


def test_accuracy_decides_and_agreement_is_told_beside_it(validated: Conversion) -> None:
    for name in ("int8-x86", "fp16"):
        variant = report(validated)["variants"][name]
        accuracy = variant["accuracy"]
        assert variant["decided_by"] == "accuracy"
        assert accuracy["metric"] == "map50_95"
        # The detector's weights are made by hand: it finds every square where it is.
        assert accuracy["reference"] > 0.9
        assert accuracy["drop"] == pytest.approx(
            accuracy["reference"] - accuracy["value"], abs=2e-6
        )
        assert accuracy["verdict"] == variant["verdict"] == "pass"
        assert variant["agreement"]["metric"] == "f1"
        assert variant["agreement"]["frames"] == accuracy["images"]
    assert report(validated)["verdict"] == "pass"
    assert "trials" in report(validated)["variants"]["int8-x86"]
    assert "accuracy" in report(validated)["variants"]["int8-x86"]["trials"][0]


def test_each_picture_has_one_part_only_and_all_are_counted(
    validated: Conversion, squares: Path
) -> None:
    found = report(validated)["validation"]
    parts = ("calibrated_on_it", "selection_samples", "confirmation_samples")
    # 64 is what --samples asks for, at most, of the first two.
    assert [found[p] for p in parts[:2]] <= [64, 64]
    assert 90 <= found["confirmation_samples"] <= 150, "about half of 240"
    assert len({found["selection_digest"], found["confirmation_digest"]}) == 2
    assert found["data"] == "squares"
    spec = validated.spec
    opened = open_validation(
        squares, spec, samples=64, data=None, calibrate=True, progress=lambda *_: None
    )
    digests = [
        {picture_digest(image) for image, _ in part}
        for part in (opened.calibration, opened.selection, opened.confirmation)
    ]
    assert not digests[0] & digests[1] | digests[0] & digests[2] | digests[1] & digests[2]
    assert len(digests[2]) == opened.count == found["confirmation_samples"]


def test_the_manifest_lists_what_was_verified_by_its_accuracy(validated: Conversion) -> None:
    bundle = open_bundle(validated.order.output)
    line = next(v for v in bundle.variants["int8-x86"].verified if v["backend"] == "ort")
    accuracy = report(validated)["variants"]["int8-x86"]["accuracy"]
    assert (line["metric"], line["value"]) == ("map50_95", accuracy["value"])
    assert line["reference"] == accuracy["reference"]
    assert candidates(bundle)


def test_the_report_for_people_says_what_decided(validated: Conversion) -> None:
    text = (validated.order.output / "report.md").read_text(encoding="utf-8")
    found = report(validated)["validation"]
    for sentence in (
        f"On {found['confirmation_samples']} labelled pictures it has mAP@0.5:0.95 ",
        "(at most 0.01 may be lost)",
        "`squares`, labelled pictures, split into parts chosen by each file's hash",
        f"- proven on {found['confirmation_samples']} others",
        "mAP@0.5:0.95 on the selection pictures",
        "| accuracy |",
    ):
        assert sentence in text, sentence


def test_what_loses_too_much_is_rejected_although_it_agrees(
    order: MakeOrder, tmp_path: Path, squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An INT8 graph whose boxes are 3 % too far out: the same objects by agreement's IoU of 0.5, worse by mAP."""
    real = variants.best_candidate

    def damaged(*given: Any, **options: Any) -> Any:
        best, trials = real(*given, **options)
        (stride,) = [t for t in best.model.graph.initializer if t.name == "stride"]
        moved = numpy_helper.to_array(stride) * np.float32(1.03)
        stride.CopyFrom(numpy_helper.from_array(moved, "stride"))
        return best, trials

    monkeypatch.setattr(variants, "best_candidate", damaged)
    with pytest.raises(GateError, match="not proven") as caught:
        run(order(tmp_path / "a.evb", validation=squares, calibration=None))
    assert "a loss of at most 0.01 mAP@0.5:0.95" in str(caught.value)
    rejected = json.loads((tmp_path / "a.evb.rejected/report.json").read_bytes())
    int8 = rejected["variants"]["int8-x86"]
    assert int8["accuracy"]["verdict"] == int8["verdict"] == "fail"
    assert int8["accuracy"]["drop"] > 0.01
    assert int8["agreement"]["verdict"] == "pass"
    assert not (tmp_path / "a.evb").exists()


def test_calibration_of_another_place_leaves_more_to_confirm(
    order: MakeOrder, tmp_path: Path, squares: Path
) -> None:
    conversion = run(order(tmp_path / "a.evb", validation=squares))
    found = report(conversion)
    assert found["validation"]["calibrated_on_it"] == 0
    assert found["validation"]["confirmation_samples"] > 130, "two thirds of 240"
    calibration = found["calibration"]
    assert calibration["data"] == "clip.avi"
    assert calibration["recipes_chosen_on"] == "validation"
    assert (calibration["selection_samples"], calibration["proof_samples"]) == (0, 0), "not used"
    text = (tmp_path / "a.evb/report.md").read_text(encoding="utf-8")
    assert "labelled pictures of `squares`" in text


def test_pictures_that_were_calibrated_on_confirm_nothing(
    order: MakeOrder, tmp_path: Path, squares: Path
) -> None:
    """Calibrated on the validation's own pictures, written anew so that their files differ."""
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in sorted((squares / "images").iterdir()):
        cv2.imwrite(str(copies / f"{file.stem}.bmp"), cv2.imread(str(file)))
    conversion = run(order(tmp_path / "a.evb", validation=squares, calibration=copies, samples=240))
    found = report(conversion)["validation"]
    assert conversion.data is not None
    used = conversion.data.calibration.count + conversion.data.selection.count
    assert used > 100
    assert found["confirmation_repeated"] > 30
    assert found["confirmation_samples"] + found["confirmation_repeated"] > 130
    assert "left out: the same, pixel by pixel" in (tmp_path / "a.evb/report.md").read_text("utf-8")


def test_too_few_labelled_pictures_are_no_pass(
    order: MakeOrder, tmp_path: Path, draw: Draw
) -> None:
    few = write_yolo(tmp_path / "few", draw, 60)
    with pytest.raises(GateError, match="insufficient"):
        run(order(tmp_path / "a.evb", validation=few))
    accuracy = json.loads((tmp_path / "a.evb.rejected/report.json").read_bytes())["variants"][
        "int8-x86"
    ]["accuracy"]
    assert "labelled pictures to confirm with; a verdict needs 50" in accuracy["shortcoming"]


def test_labels_that_say_something_else_are_no_pass(
    order: MakeOrder, tmp_path: Path, draw: Draw
) -> None:
    """Every class is the other one: fp32 is wrong everywhere, so INT8 loses nothing, which proves nothing."""
    wrong = write_yolo(tmp_path / "wrong", draw, 240, wrong=True)
    with pytest.raises(GateError) as caught:
        run(order(tmp_path / "a.evb", validation=wrong))
    assert "who finds next to nothing loses next to nothing" in str(caught.value)


# A classifier


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Path:
    """A folder a class, 150 pictures each; what colour most squares have is in the drawing itself."""
    folder = tmp_path_factory.mktemp("labelled") / "colours"
    for name, channel in (("red", 2), ("green", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(150):
            image = draw(7000 + number)[0] // 4
            image[:, :, channel] += 120
            cv2.imwrite(str(folder / name / f"{number}.png"), image)
    return folder


def test_a_classifier_is_judged_by_its_top_1(
    order: MakeOrder, models: Path, tmp_path: Path, colours: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nneither\n")
    conversion = run(
        order(
            tmp_path / "a.evb",
            model=models / "classifier.onnx",
            preset="imagenet",
            size=(SIDE, SIDE),
            labels=labels,
            calibration=None,
            validation=colours,
        )
    )
    variant = report(conversion)["variants"]["int8-x86"]
    accuracy = variant["accuracy"]
    assert (accuracy["metric"], variant["verdict"]) == ("top1", "pass")
    assert accuracy["images"] == accuracy["samples"] >= 100
    assert accuracy["reference"] == 1.0, "the pictures are tinted all over"
    assert accuracy["commonest_share"] == pytest.approx(0.5, abs=0.1)


def answers(right: int, wrong: int, classes: int = 2) -> ClassificationAccuracy:
    tally = ClassificationAccuracy([str(i) for i in range(classes)])
    for number in range(right + wrong):
        truth = number % classes
        said = truth if number < right else (truth + 1) % classes
        tally.add(
            ClassTruth(truth),
            Classification(np.array([said], np.int32), np.ones(1, np.float32), ()),
        )
    return tally


@pytest.mark.parametrize(
    ("variant", "max_drop", "verdict"),
    [
        ((190, 10), 0.0, "pass"),
        ((188, 12), 0.01, "pass"),  # exactly what may be lost
        ((187, 13), 0.01, "fail"),
        ((200, 0), 0.0, "pass"),  # better than fp32
    ],
)
def test_a_drop_is_what_fp32_has_less_what_the_variant_has(
    variant: tuple[int, int], max_drop: float, verdict: str
) -> None:
    found = compared(answers(190, 10), answers(*variant), max_drop)
    assert found["drop"] == pytest.approx((190 - variant[0]) / 200)
    assert found["verdict"] == verdict


def test_ninety_nine_pictures_are_too_few_for_a_classifier() -> None:
    assert compared(answers(95, 4), answers(95, 4), 0.01)["verdict"] == "insufficient"
    assert compared(answers(95, 5), answers(95, 5), 0.01)["verdict"] == "pass"


def test_a_classifier_that_only_guesses_loses_nothing_that_counts() -> None:
    found = compared(answers(100, 100), answers(100, 100), 0.01)
    assert found["verdict"] == "insufficient"
    assert "no more than by always saying the commonest label" in found["shortcoming"]


def test_pictures_of_one_class_prove_nothing() -> None:
    found = compared(answers(200, 0), answers(200, 0), 0.01) | {"commonest_share": 0.91}
    assert "have the same label" in shortcoming(found)


# Data that does not fit


def detector(**changed: Any) -> ModelSpec:
    values = {
        "task": "detect", "labels": LABELS, "input": InputSpec(size=(64, 64)), "output": OutputSpec("yolov8"),
    } | changed  # fmt: skip
    return ModelSpec(**values)


def open_it(path: Path, spec: ModelSpec) -> Any:
    return open_validation(
        path, spec, samples=50, data=None, calibrate=True, progress=lambda *_: None
    )


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda f: (f / "labels/0003.txt").write_text("7 0.5 0.5 0.1 0.1"), "0003.txt"),
        (lambda f: (f / "labels/0003.txt").write_text("0 0.5 0.5 1.9 0.1"), "0003.txt"),
        (lambda f: (f / "labels/0003.txt").write_text("0 0.5 half 0.1 0.1"), "0003.txt"),
        (lambda f: (f / "data.yaml").write_text("names: [cat, dog]\n"), "does not have"),
        (lambda f: shutil.rmtree(f / "labels"), ""),
        (lambda f: shutil.rmtree(f / "images"), ""),
    ],
)
def test_labels_that_do_not_fit_are_named(
    tmp_path: Path, draw: Draw, spoil: Callable[[Path], object], problem: str
) -> None:
    folder = write_yolo(tmp_path / "data", draw, 24)
    spoil(folder)
    with pytest.raises(DataError) as caught:
        open_it(folder, detector())
    assert problem in str(caught.value)


def test_pictures_that_are_missing_are_counted_and_named(tmp_path: Path, draw: Draw) -> None:
    folder = write_yolo(tmp_path / "data", draw, 40)
    (folder / "images/0005.png").write_bytes(b"no picture")
    found = open_it(folder, detector())
    assert any("0005.png" in line for line in found.problems)


def test_labels_for_another_task_are_refused(tmp_path: Path, draw: Draw, colours: Path) -> None:
    with pytest.raises(DataError, match="do not fit what the model does"):
        open_it(colours, detector())


@pytest.mark.parametrize("task", ["keypoints", "segment"])
def test_a_task_that_no_labels_are_read_for_says_which_are(tmp_path: Path, task: str) -> None:
    with pytest.raises(UsageError, match=f"no labels for the task '{task}'") as caught:
        open_it(tmp_path, detector(task=task))
    assert "detect: a COCO .json" in str(caught.value)
    assert "--min-agreement" in str(caught.value)


def test_a_handful_of_pictures_is_said_to_be_too_little(tmp_path: Path, draw: Draw) -> None:
    with pytest.raises(DataError, match="too little to validate on"):
        open_it(write_yolo(tmp_path / "data", draw, 3), detector())


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no labelled data"):
        open_it(tmp_path / "nothing", detector())


# Real pictures


def read_idx(file: Path) -> NDArray[np.uint8]:
    """An array of MNIST's format: a magic number that ends in the number of dims, the dims, the bytes."""
    data = gzip.decompress(file.read_bytes())
    dims = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(dims)


def test_a_classifier_of_real_garments_is_judged_by_real_labels(
    order: MakeOrder, test_data: Path, tmp_path: Path
) -> None:
    """Ridge regression on Fashion-MNIST: trained on its training pictures, judged on 1,200 of its test pictures."""
    folder = test_data / "data/fashion-mnist"
    images, kinds = (read_idx(next(folder.glob(f"train-{part}*"))) for part in ("images", "labels"))
    flat = images[:8000].reshape(8000, -1).astype(np.float64) / 255
    flat = np.hstack([flat, np.ones((8000, 1))])
    wanted = np.eye(10)[kinds[:8000]]
    weights = np.linalg.solve(flat.T @ flat + 10 * np.eye(785), flat.T @ wanted).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ridge",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 10])],
        [
            numpy_helper.from_array(np.ascontiguousarray(weights[:784]), "w"),
            numpy_helper.from_array(np.ascontiguousarray(weights[784]), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "ridge.onnx")
    (tmp_path / "ridge.toml").write_text(
        'task = "classify"\nlabels = ["0","1","2","3","4","5","6","7","8","9"]\n'
        '[input]\nsize = [28, 28]\nresize = "stretch"\ncolour = "gray"\nscale = 0.00392156862745098\n'
        '[output]\ndecoder = "softmax"\n'
    )
    images, kinds = (read_idx(next(folder.glob(f"t10k-{part}*"))) for part in ("images", "labels"))
    for number in range(1200):
        place = tmp_path / "val" / str(kinds[number])
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), images[number])
    conversion = run(
        order(
            tmp_path / "ridge.evb",
            model=tmp_path / "ridge.onnx",
            config=tmp_path / "ridge.toml",
            calibration=None,
            validation=tmp_path / "val",
        )
    )
    accuracy = report(conversion)["variants"]["int8-x86"]["accuracy"]
    assert accuracy["verdict"] == "pass"
    # A linear model's published accuracy on Fashion-MNIST is about 0.84 with all 60,000 pictures.
    assert 0.75 < accuracy["reference"] < 0.88
    assert accuracy["images"] > 500
    assert accuracy["classes"] == 10
