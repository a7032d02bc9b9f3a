"""Key points and masks the whole way: converted, proven, run and verified; made models, then real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgevision as ev
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.settings import Overrides
from edgevision.frame import Image
from edgevision.progress import Progress
from edgevision.verification import verify_bundle

SIDE = 48
Node = onnx.NodeProto


def save(path: Path, nodes: Sequence[Node], dtype: int, shape: list[int], **weights: Any) -> Path:
    """A model of one NHWC picture, 48×48."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("picture", dtype, [1, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def point_model(path: Path) -> Path:
    """MoveNet's layout: point k lies in the middle of the red, green or blue square (k modulo 3)."""
    node = helper.make_node
    colours = np.full((17, 3), -0.5, np.float32)
    colours[np.arange(17), np.arange(17) % 3] = 1
    nodes = [
        node("Cast", ["picture"], ["real"], to=TensorProto.FLOAT),
        node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "scale"], ["scaled"]),
        node("Conv", ["scaled", "colours"], ["pure"]),
        node("Relu", ["pure"], ["purity"]),
        node("Conv", ["purity", "mean"], ["heat"], group=17, pads=[4, 4, 4, 4]),
        node("Reshape", ["heat", "flat"], ["cells"]),
        node("ReduceMax", ["cells"], ["score"], axes=[2], keepdims=1),
        node("ArgMax", ["cells"], ["best"], axis=2, keepdims=1),
        node("Cast", ["best"], ["place"], to=TensorProto.FLOAT),
        node("Div", ["place", "side"], ["lines"]),
        node("Floor", ["lines"], ["y"]),
        node("Mul", ["y", "side"], ["before"]),
        node("Sub", ["place", "before"], ["x"]),
        node("Concat", ["y", "x"], ["corner"], axis=2),
        node("Add", ["corner", "half"], ["middle"]),
        node("Div", ["middle", "side"], ["point"]),
        node("Concat", ["point", "score"], ["points"], axis=2),
        node("Unsqueeze", ["points", "first"], ["found"]),
    ]
    return save(
        path,
        nodes,
        TensorProto.INT32,
        [1, 1, 17, 3],
        scale=np.float32(1 / 255),
        colours=colours.reshape(17, 3, 1, 1),
        mean=np.full((17, 1, 9, 9), 1 / 81, np.float32),
        flat=np.array([1, 17, -1]),
        side=np.float32(SIDE),
        half=np.float32(0.5),
        first=np.array([1]),
    )


def red_model(path: Path) -> Path:
    """A mask of what is red."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["picture"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "red"], ["redness"]),
        node("Relu", ["redness"], ["red_only"]),
        node("Conv", ["red_only", "more", "less"], ["logits"], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["logits"], ["mask"]),
        node("Transpose", ["mask"], ["found"], perm=[0, 2, 3, 1]),
    ]
    red = np.tile(np.array([1, -0.5, -0.5], np.float32), (16, 1)).reshape(16, 3, 1, 1)
    more = np.zeros((1, 16, 3, 3), np.float32)
    more[..., 1, 1] = 12 / 16
    shape, less = [1, SIDE, SIDE, 1], np.full(1, -6, np.float32)
    return save(path, nodes, TensorProto.FLOAT, shape, red=red, more=more, less=less)


def squares(seed: int) -> tuple[Image, list[tuple[int, int]]]:
    """A red, a green and a blue square of 9×9 pixels on grey, and their middle pixels."""
    random = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), random.integers(20, 90), np.uint8)
    corners = random.choice(9, 3, replace=False)
    middles = []
    for colour, corner in enumerate(corners):
        y, x = (int(v) * 15 + int(random.integers(7)) for v in divmod(int(corner), 3))
        image[y : y + 9, x : x + 9] = 0
        image[y : y + 9, x : x + 9, 2 - colour] = 255
        middles.append((x + 4, y + 4))
    return image, middles


def film(path: Path, pictures: Sequence[Image]) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def converted(model: Path, preset: str, clip: Path, output: Path, **changed: Any) -> Conversion:
    wanted = {"samples": 60, "precisions": ("int8",), **changed}
    order = Order(model, output, Overrides(preset=preset), calibration=clip, **wanted)
    return convert(order, Progress(quiet=True))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(
        tmp_path_factory.mktemp("clip") / "squares.avi", [squares(i)[0] for i in range(150)]
    )


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Conversion:
    folder = tmp_path_factory.mktemp("points")
    model = point_model(folder / "points.onnx")
    return converted(model, "movenet", clip, folder / "points.evb")


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Conversion:
    folder = tmp_path_factory.mktemp("masks")
    return converted(red_model(folder / "red.onnx"), "selfie", clip, folder / "red.evb")


def agreement(conversion: Conversion, variant: str) -> dict[str, Any]:
    proof = next(m.proof for m in conversion.made if m.variant.id == variant)
    assert proof is not None
    return proof.agreement


@pytest.mark.parametrize("variant", ["fp32", "int8-x86"])
def test_points_lie_where_the_squares_are(points: Conversion, variant: str) -> None:
    with ev.open(points.order.output, variant=variant) as model:
        for seed in range(1000, 1010):
            image, middles = squares(seed)
            found = model(image.repeat(4, axis=0).repeat(4, axis=1))
            assert isinstance(found, ev.Keypoints)
            wanted = [(4 * x + 2, 4 * y + 2) for x, y in middles]
            np.testing.assert_allclose(found.points[0, :3], wanted, atol=5)
            assert found.point_scores.min() > 0.8


@pytest.mark.parametrize("variant", ["fp32", "int8-x86"])
def test_the_mask_lies_where_red_is(masks: Conversion, variant: str) -> None:
    with ev.open(masks.order.output, variant=variant) as model:
        for seed in range(1000, 1010):
            image, _ = squares(seed)
            found = model(image)
            assert isinstance(found, ev.Segmentation)
            truth = image[..., 2] == 255
            differ = np.count_nonzero(found.class_map() != np.where(truth, 0, 255))
            assert differ <= 20, (seed, differ)
            assert found.label(0) == "person"
            assert found.share(0) == pytest.approx(81 / SIDE**2, rel=0.3)


def test_the_proof_is_in_the_terms_of_the_task(points: Conversion, masks: Conversion) -> None:
    found = agreement(points, "int8-x86")
    assert (found["metric"], found["verdict"], found["frames"]) == ("1-nme", "pass", 60)
    assert found["samples"] == 60 * 17
    assert found["nme"] < 0.05
    found = agreement(masks, "int8-x86")
    assert (found["metric"], found["verdict"], found["samples"]) == ("miou", "pass", 60)
    report = (points.order.output / "report.md").read_text("utf-8")
    assert "mean key-point error of" in report
    assert "mean IoU" in (masks.order.output / "report.md").read_text("utf-8")


def test_a_bundle_verifies_where_it_was_made(points: Conversion, masks: Conversion) -> None:
    for conversion in (points, masks):
        assert verify_bundle(conversion.order.output, backend="ort", as_json=True) == 0


def test_result_lines_and_an_annotated_video(
    points: Conversion,
    masks: Conversion,
    clip: Path,
    edgevision: Callable[..., Any],
    tmp_path: Path,
) -> None:
    for conversion, key in ((points, "keypoints"), (masks, "segments")):
        bundle = conversion.order.output
        outputs = [tmp_path / f"{key}.jsonl", tmp_path / f"{key}.avi"]
        done = edgevision("run", bundle, clip, *outputs, "--frames", 5)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in outputs[0].read_text("utf-8").splitlines()]
        assert [line["frame"] for line in lines] == list(range(5))
        assert [len(line[key]) for line in lines] == [1] * 5
        assert outputs[1].stat().st_size > 0


def test_too_few_points_are_told_on_the_command_line(
    edgevision: Callable[..., Any], points: Conversion, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, SIDE, SIDE, 1)).astype(np.uint8)
    seen, grey = [squares(i)[0] for i in range(60)], list(noise.repeat(3, axis=3))
    clip = film(tmp_path / "clip.avi", seen + grey)  # nothing is left to prove on
    done = edgevision(
        *("convert", points.order.model, "--preset", "movenet", "--precision", "int8"),
        *("--calibration", clip, "--samples", 60, "-o", tmp_path / "a.evb"),
    )
    assert done.returncode == 3
    assert "mean key-point error 0 % of the person's height on 0 samples" in done.stderr
    assert "with at least 100 key points in them" in done.stderr


def test_a_decoder_of_another_task_is_refused_at_once(
    points: Conversion, edgevision: Callable[..., Any], tmp_path: Path
) -> None:
    done = edgevision(
        *("convert", points.order.model, "--preset", "movenet", "--task", "segment"),
        *("-o", tmp_path / "a.evb"),
    )
    assert done.returncode == 1
    assert "'segment' and decoder 'movenet' do not fit" in done.stderr
    assert "Segmentation" in done.stderr


# Real models, on the picture of a man with a ball and another one, as a camera that moves would see them


def walk(image: Image, count: int) -> list[Image]:
    """Views of 384×384 pixels that wander over a picture, closer and farther."""
    views = []
    for i in range(count):
        turn = 2 * np.pi * i / count
        zoom = 0.85 + 0.1 * np.sin(5 * turn)
        x, y = 20 - 40 * np.cos(3 * turn), 25 * np.sin(7 * turn) - 10
        matrix = np.array([[zoom, 0, x], [0, zoom, y]])
        views.append(cv2.warpAffine(image, matrix, (384, 384), borderMode=cv2.BORDER_REFLECT))
    return views


@pytest.fixture(scope="module")
def men(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = cv2.imread(str(test_data / "images/basketball1.png"))
    both = walk(image, 75) + walk(cv2.flip(image, 1), 75)
    # In turn, so that each part of the data sees both.
    return film(tmp_path_factory.mktemp("men") / "men.avi", [v for p in zip(both[:75], both[75:], strict=True) for v in p])  # fmt: skip


@pytest.mark.slow
def test_real_movenet_keeps_its_points_in_int8(men: Path, test_data: Path, tmp_path: Path) -> None:
    model = test_data / "models/movenet-lightning.onnx"
    conversion = converted(model, "movenet", men, tmp_path / "pose.evb")
    found = agreement(conversion, "int8-x86")
    assert (found["verdict"], found["frames"]) == ("pass", 60)
    assert found["samples"] > 500
    assert found["nme"] < 0.04
    assert verify_bundle(conversion.order.output, backend="ort", as_json=True) == 0


@pytest.mark.slow
def test_real_selfie_segmentation_keeps_its_mask_in_int8(
    men: Path, test_data: Path, tmp_path: Path
) -> None:
    model = test_data / "models/selfie.onnx"
    conversion = converted(model, "selfie", men, tmp_path / "selfie.evb", least=0.8)
    found = agreement(conversion, "int8-x86")
    assert (found["verdict"], found["samples"]) == ("pass", 60)
    assert verify_bundle(conversion.order.output, backend="ort", as_json=True) == 0
