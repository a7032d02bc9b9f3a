"""How it is found out how a model is run: who is asked first, and what is said when nobody knows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision import presets
from edgevision.converters.settings import Overrides, fixed_shapes, read_labels, resolve
from edgevision.errors import SpecError, UsageError
from edgevision.metadata import KEY, variant_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

FIXED = [TensorSpec("images", "float32", (1, 3, 416, 352))]
DYNAMIC = [TensorSpec("images", "float32", ("batch", 3, "height", "width"))]
ULTRALYTICS = {"task": "detect", "names": "{0: 'a', 1: 'b'}", "imgsz": "[64, 96]", "stride": "16"}

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "convert.md"

CONFIG = """\
task = "detect"
labels = ["nut", "bolt"]

[input]
size = [384, 640]           # height, width
resize = "letterbox"        # or stretch, centre-crop
colour = "bgr"
scale = 1.0
mean = [103.53, 116.28, 123.675]
std = [57.375, 57.12, 58.395]

[output]
decoder = "nanodet"
params = { score = 0.4, reg_max = 7, strides = [8, 16, 32, 64] }
"""


def found(
    metadata: dict[str, str] | None = None, inputs: list[TensorSpec] = FIXED, **asked: object
) -> ModelSpec:
    return resolve(Overrides(**asked), metadata or {}, inputs, model_name="m.onnx")  # type: ignore[arg-type]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_preset_says_everything_but_the_size_of_a_fixed_model() -> None:
    spec = found(preset="nanodet")
    assert (spec.task, spec.output.decoder) == ("detect", "nanodet")
    assert spec.input.colour == "bgr"
    assert spec.input.size == (416, 352)
    assert spec.input.tensor == "images"


def test_a_model_for_any_size_is_not_run_at_the_one_it_was_exported_at() -> None:
    exported = [TensorSpec("input.1", "float32", (10, 3, 32, 32))]
    with pytest.raises(UsageError, match="any multiple of 32") as caught:
        found(preset="centerface", inputs=exported)
    assert "--size HxW" in caught.value.hint
    assert found(preset="centerface", inputs=exported, size=(480, 640)).input.size == (480, 640)
    assert found(preset="centerface", inputs=exported, size=(32, 32)).input.size == (32, 32)


def test_a_preset_wins_over_metadata() -> None:
    assert found(ULTRALYTICS, preset="imagenet").task == "classify"


def test_a_preset_without_labels_takes_the_names_of_the_file(tmp_path: Path) -> None:
    assert found(ULTRALYTICS, preset="nanodet").labels == found(ULTRALYTICS).labels != ()
    own = write(tmp_path / "own.txt", "nut\nbolt\n")
    assert found(ULTRALYTICS, preset="nanodet", labels=own).labels == ("nut", "bolt")
    broken = {**ULTRALYTICS, "names": "no literal"}
    assert found(broken, preset="nanodet").labels == ()


def test_a_config_says_it_in_toml(tmp_path: Path) -> None:
    spec = found(inputs=DYNAMIC, config=write(tmp_path / "own.toml", CONFIG))
    assert spec == ModelSpec(
        "detect",
        InputSpec(
            size=(384, 640),
            colour="bgr",
            scale=1.0,
            mean=(103.53, 116.28, 123.675),
            std=(57.375, 57.12, 58.395),
            tensor="images",
        ),
        OutputSpec("nanodet", {"score": 0.4, "reg_max": 7, "strides": [8, 16, 32, 64]}),
        ("nut", "bolt"),
    )


def test_the_config_that_the_documentation_shows_is_the_yolov8_preset(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENTED.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (text for text in examples if "[input]" in text)  # the other lists models
    documented = found(inputs=DYNAMIC, config=write(tmp_path / "own.toml", example))
    preset = found(inputs=DYNAMIC, preset="yolov8")
    assert documented.labels == ("person", "bicycle")
    assert documented.input == replace(preset.input, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert documented.output.decoder == preset.output.decoder
    assert documented.output.params == {"score": 0.25, "iou": 0.7}


def test_preset_and_config_together_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--preset and --config both"):
        found(preset="yolov8", config=write(tmp_path / "own.toml", CONFIG))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = ", "no TOML"),
        (b"task = '\xff'", "no text in UTF-8"),
        ("labels = ['a']", "'task'"),
        ('task = "detect"\n[input]\nsise = [1, 1]\n[output]\ndecoder = "yolov8"', "sise"),
        ('task = "detect"\n[input]\nsize = [64]\n[output]\ndecoder = "yolov8"', "'size'"),
        ('task = "detect"\n[input]\nstd = [0.0]\n[output]\ndecoder = "yolov8"', "'std'"),
        ('task = "detect"', "output"),
    ],
)
def test_a_config_that_is_wrong_names_the_field(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        found(config=write(tmp_path / "own.toml", text))


def test_a_config_that_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"none\.toml cannot be read: No such file"):
        found(config=Path("none.toml"))


def test_metadata_of_ultralytics_is_enough() -> None:
    spec = found(ULTRALYTICS, [TensorSpec("images", "float32", (1, 3, 64, 96))])
    assert (spec.task, spec.output.decoder, spec.labels) == ("detect", "yolov8", ("a", "b"))
    assert (spec.input.size, spec.input.resize, spec.input.colour) == ((64, 96), "letterbox", "rgb")


def test_metadata_of_edgevision_is_enough() -> None:
    own = ModelSpec("classify", InputSpec(size=(32, 32), tensor="images"), OutputSpec("softmax"))
    inputs = [TensorSpec("images", "float32", (1, 3, 32, 32))]
    assert found({KEY: variant_metadata("fp32", "fp32", own)}, inputs) == own


def test_a_model_that_says_nothing_names_the_presets() -> None:
    with pytest.raises(UsageError) as caught:
        found()
    assert "images float32 1×3×416×352" in caught.value.received
    assert caught.value.hint.startswith("--preset with one of: " + ", ".join(presets.names()))
    assert "--config" in caught.value.hint


def test_the_size_asked_for_wins_over_all() -> None:
    assert found(ULTRALYTICS, size=(320, 256)).input.size == (320, 256)
    assert found(inputs=DYNAMIC, preset="yolov8", size=(320, 256)).input.size == (320, 256)


def test_a_dynamic_model_takes_the_size_of_its_preset() -> None:
    assert found(inputs=DYNAMIC, preset="yolov8").input.size == (640, 640)


def test_a_dynamic_model_stays_open_when_its_config_gives_no_size(tmp_path: Path) -> None:
    text = 'task = "detect"\n[input]\nmultiple_of = 16\n[output]\ndecoder = "yolov8"'
    spec = found(inputs=DYNAMIC, config=write(tmp_path / "own.toml", text))
    assert (spec.input.size, spec.input.multiple_of) == (None, 16)
    assert fixed_shapes(spec, DYNAMIC, None) == {"images": [1, 3, "height", "width"]}


def test_task_and_decoder_are_replaced_where_they_are_given() -> None:
    spec = found(preset="nanodet", task="classify", decoder="softmax")
    assert (spec.task, spec.output) == ("classify", OutputSpec("softmax"))


@pytest.mark.parametrize(
    ("inputs", "received"),
    [
        ([TensorSpec("x", "float32", (1, 10))], "x float32 1×10"),
        ([TensorSpec("a", "float32", (1, 3, 8, 8)), TensorSpec("b", "float32", (1, 3, 8, 8))], "b"),
        ([TensorSpec("x", "uint8", (1, 3, 8, 8))], "x uint8 1×3×8×8"),
        ([TensorSpec("x", "float32", (1, 8, 8, 3))], "x float32 1×8×8×3"),
        ([TensorSpec("x", "float32", (1, 1, 8, 8))], "x float32 1×1×8×8"),
        ([], ""),
    ],
)
def test_an_input_that_does_not_fit_is_shown(inputs: list[TensorSpec], received: str) -> None:
    with pytest.raises(SpecError) as caught:
        found(inputs=inputs, preset="yolov8")
    assert received in caught.value.received


def test_shapes_are_fixed_by_the_spec_and_open_dims_of_other_inputs_become_one() -> None:
    inputs = [TensorSpec("images", "float32", (10, 3, 32, 32)), TensorSpec("s", "int64", ("n", 2))]
    spec = found(inputs=inputs, preset="yolov8", size=(480, 640))
    assert fixed_shapes(spec, inputs, None) == {"images": [1, 3, 480, 640], "s": [1, 2]}
    assert fixed_shapes(spec, inputs, 4)["images"] == [4, 3, 480, 640]


def test_labels_are_read_one_a_line(tmp_path: Path) -> None:
    file = write(tmp_path / "names.txt", "\ufeffperson\r\n traffic light \nöl\n\n\n")
    assert read_labels(file) == ("person", "traffic light", "öl")


@pytest.mark.parametrize(
    ("text", "received"),
    [("", "no names"), ("\n \n", "no names"), ("a\n\nb\n", "an empty name in line 2")],
)
def test_labels_that_are_none_are_refused(tmp_path: Path, text: str, received: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_labels(write(tmp_path / "names.txt", text))
    assert caught.value.received == received


def test_labels_lose_what_a_terminal_would_obey(tmp_path: Path) -> None:
    (name,) = read_labels(write(tmp_path / "names.txt", "\x1b[31mred\x9b0m\u202e"))
    assert "\x1b" not in name
    assert "\x9b" not in name
    assert "\u202e" not in name


def test_labels_of_many_megabytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="too large"):
        read_labels(write(tmp_path / "names.txt", "a\n" * 3_000_000))


@pytest.mark.parametrize(
    "names",
    [
        "__import__('os').system('true')",
        "{0: 'a', 2: 'c'}",
        "{0: 1}",
        "'a'",
        "[" * 5000,
        "['a'" + ", 'a'" * 100_000 + "]",
    ],
)
def test_hostile_names_in_metadata_are_refused(names: str) -> None:
    with pytest.raises(SpecError) as caught:
        found(ULTRALYTICS | {"names": names})
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", json.dumps({"schema": 99})])
def test_damaged_metadata_of_our_own_is_refused(text: str) -> None:
    with pytest.raises(SpecError):
        found({KEY: text})
