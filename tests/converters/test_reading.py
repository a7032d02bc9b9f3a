"""A model of another framework becomes a bundle, if its ONNX does what the framework does. Readers are stand-ins."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgevision
from edgevision import cli
from edgevision.bundle import hash_file, open_bundle
from edgevision.converters import reading
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.graph.execute import run_once
from edgevision.errors import DependencyError, EdgevisionError, ModelError, UsageError
from edgevision.progress import Progress

Install = Callable[[str], None]
MakeOrder = Callable[..., Order]

#: A reader whose model lies in the archive: its ONNX is that model, and so is its framework, changed by `{twist}`.
READER = """
import io, zipfile
from dataclasses import replace
import onnx
from edgevision.converters.graph.execute import run_all
from edgevision.converters.readers import probe
from edgevision.spec import TensorSpec
model = onnx.load_model_from_string(zipfile.ZipFile(request.path).read("inner"))
dims = model.graph.input[0].type.tensor_type.shape.dim
inputs = [TensorSpec("images", "float32", tuple(d.dim_value or d.dim_param for d in dims))]
layout = probe.layout(request.spec, inputs)
spec = replace(request.spec, layout=layout)
feeds = probe.feeds(request, spec, probe.concrete(request, spec, inputs))
found = [list(outputs.values()) for outputs in run_all(model, feeds)]
found = [[{twist} for a in outputs] for outputs in found]
probe.save_probe(folder, feeds, found)
model.graph.node[0].metadata_props.add(key="stack", value=str(os.getpid()))
model.graph.node[0].doc_string = str(folder)
model.doc_string = str(folder)
onnx.save(model, folder / "model.onnx")
return {{"packages": {{"fake": "1.0"}}, "layout": layout}}
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    """Packs a model into an archive that is recognised as ``.keras``."""

    def pack(model: onnx.ModelProto) -> Path:
        path = tmp_path / "m.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("config.json", "metadata.json"):
                archive.writestr(name, "{}")
            archive.writestr("inner", model.SerializeToString())
        return path

    return pack


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


def plain(order: MakeOrder, output: Path, model: Path, **more: Any) -> Order:
    options = {"precisions": (), "calibration": None, "preset": "yolov8", "size": (64, 64)}
    return order(output, **({"model": model} | options | more))


@pytest.fixture
def detector(
    foreign: Callable[..., Path], fake_reader: Install, make_detector: Callable[..., Any]
) -> Path:
    fake_reader(READER.format(twist="a"))
    return foreign(make_detector({}))


def test_it_becomes_a_bundle_that_runs_like_the_onnx_model(
    order: MakeOrder, detector: Path, models: Path, data: Path, tmp_path: Path
) -> None:
    run(plain(order, tmp_path / "a.evb", detector))
    run(plain(order, tmp_path / "b.evb", models / "plain.onnx"))
    found = []
    for name in ("a.evb", "b.evb"):
        with edgevision.open(tmp_path / name) as model:
            found.append([r.boxes_xyxy for _, r in model.stream(str(data / "few"))])
    assert [len(boxes) for boxes in found[0]] == [5] * 12
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_int8_is_made_of_it_like_of_any_other(
    order: MakeOrder, detector: Path, data: Path, tmp_path: Path
) -> None:
    options = {"precisions": ("int8",), "calibration": data / "clip.avi"}
    assert run(plain(order, tmp_path / "a.evb", detector, **options)).passed


def test_where_it_comes_from_is_in_the_manifest_and_the_report(
    order: MakeOrder, detector: Path, tmp_path: Path
) -> None:
    run(plain(order, tmp_path / "a.evb", detector))
    bundle = open_bundle(tmp_path / "a.evb")
    source = bundle.manifest["provenance"]["source"]
    agreement = source.pop("agreement")
    assert source == {
        "file": "m.keras", "sha256": hash_file(detector), "data": {}, "format": "keras",
        "packages": {"fake": "1.0"}, "factory": None,
    }  # fmt: skip
    assert agreement["pictures"] == 4
    assert agreement["cosine"] == 1
    assert agreement["largest_difference"] == 0
    first = json.loads((tmp_path / "a.evb" / "report.json").read_bytes())["changes"][0]
    assert first.startswith("exported a fake model with fake 1.0; on 4 pictures")
    assert "exported a fake model" in (tmp_path / "a.evb" / "report.md").read_text("utf-8")


def test_the_same_file_gives_the_same_bytes(
    order: MakeOrder, detector: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(plain(order, tmp_path / name / "m.evb", detector))
    one, other = (open_bundle(tmp_path / name / "m.evb") for name in ("a", "b"))
    assert one.identity == other.identity
    file = tmp_path / "a" / "m.evb" / "fp32.onnx"
    assert b"edgevision-" not in file.read_bytes(), "no folder of the reader's"


def test_channels_last_is_seen_and_kept(
    order: MakeOrder,
    foreign: Callable[..., Path],
    fake_reader: Install,
    make_classifier: Callable[..., onnx.ModelProto],
    models: Path,
    tmp_path: Path,
) -> None:
    model = make_classifier()
    model.graph.node.insert(0, helper.make_node("Transpose", ["images"], ["t"], perm=[0, 3, 1, 2]))
    model.graph.node[1].input[0] = "t"
    shape = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", "h", "w", 3])
    model.graph.input[0].CopyFrom(shape)
    fake_reader(READER.format(twist="a"))
    options = {"preset": "imagenet"}
    run(plain(order, tmp_path / "a.evb", foreign(model), **options))
    run(plain(order, tmp_path / "b.evb", models / "classifier.onnx", **options))
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    found = []
    for name in ("a.evb", "b.evb"):
        entry = open_bundle(tmp_path / name).manifest["variants"][0]
        assert entry["input"]["layout"] == ("nhwc" if name == "a.evb" else "nchw")
        with edgevision.open(tmp_path / name) as opened:
            found.append(opened(image).scores)
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        ("a * 1.01", ["does not do what Fake does", "at most 0.001", "eval()"]),
        ("a[:, :, :-1]", ["does not do what Fake does", "inf"]),
        ("a * float('nan')", ["NaN or infinity in Fake itself", "scale, mean and std"]),
        ("a for _ in range(2)", ["other outputs", "expected: 2"]),
    ],
)
def test_an_onnx_model_that_does_something_else_is_refused(
    order: MakeOrder, detector: Path, fake_reader: Install, tmp_path: Path, twist: str, words: list[str]
) -> None:  # fmt: skip
    fake_reader(READER.format(twist=twist))
    with pytest.raises(ModelError) as caught:
        run(plain(order, tmp_path / "a.evb", detector))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "a.evb").exists()


def test_a_second_input_is_fed_with_zeros_as_it_is_in_run(
    order: MakeOrder, foreign: Callable[..., Path], fake_reader: Install,
    make_detector: Callable[..., onnx.ModelProto], tmp_path: Path,
) -> None:  # fmt: skip
    model = make_detector({})
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 6, 64]))
    model.graph.node[-1].output[0] = "unmasked"
    model.graph.node.append(helper.make_node("Add", ["unmasked", "mask"], ["output0"], name="last"))
    reader = READER.format(twist="a").replace(
        'd.dim_param for d in dims))]',
        'd.dim_param for d in dims)), TensorSpec("mask", "float32", (1, 6, 64))]',
    )  # fmt: skip
    fake_reader(reader)
    run(plain(order, tmp_path / "a.evb", foreign(model)))
    report = json.loads((tmp_path / "a.evb" / "report.json").read_bytes())
    assert report["inputs_fed_with_zeros"] == ["mask"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": None}, ["does not say how it is run", "--preset"]),
        ({"factory": "a:b"}, ["--factory makes the network of a state dict", "a fake model"]),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_is_read(
    order: MakeOrder, detector: Path, fake_reader: Install, tmp_path: Path,
    options: dict[str, Any], words: list[str],
) -> None:  # fmt: skip
    fake_reader("os._exit(1)")
    with pytest.raises(UsageError) as caught:
        run(plain(order, tmp_path / "a.evb", detector, **options))
    for word in words:
        assert word in str(caught.value)


def test_a_factory_for_an_onnx_model_is_refused(
    order: MakeOrder, models: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="an ONNX model"):
        run(plain(order, tmp_path / "a.evb", models / "plain.onnx", factory="a:b"))


def test_a_size_that_nobody_says_is_asked_for(
    order: MakeOrder, foreign: Callable[..., Path], fake_reader: Install,
    make_classifier: Callable[..., onnx.ModelProto], tmp_path: Path,
) -> None:  # fmt: skip
    fake_reader(READER.format(twist="a"))
    path = foreign(make_classifier((1, 3, "h", "w")))
    config = tmp_path / "c.toml"
    config.write_text('task = "classify"\n[output]\ndecoder = "softmax"\n')
    options = {"preset": None, "config": config}
    with pytest.raises(ModelError, match="no size of its own") as caught:
        run(plain(order, tmp_path / "a.evb", path, size=None, **options))
    assert caught.value.hint == "--size HxW"
    run(plain(order, tmp_path / "a.evb", path, **options))


@pytest.mark.parametrize(
    ("files", "options", "extra"),
    [
        (("m/archive_format", "m/models/model.json"), [], "torch"),
        (("m/data.pkl",), ["--factory", "a:b"], "torch"),
        (("config.json", "metadata.json"), [], "keras"),
    ],
)
def test_a_framework_that_is_missing_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    files: tuple[str, ...], options: list[str], extra: str,
) -> None:  # fmt: skip
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        for name in files:
            archive.writestr(name, b"x")
    call = ["convert", str(tmp_path / "m"), "-o", str(tmp_path / "a.evb"), "--preset", "yolov8"]
    with pytest.raises(SystemExit) as caught:
        cli.main([*call, *options])
    assert caught.value.code == 1
    assert f"pip install 'edgevision[{extra}]'" in capsys.readouterr().err


def test_a_framework_that_is_too_old_is_named(
    order: MakeOrder, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "0.9.1+cpu")
    with pytest.raises(DependencyError, match="newer numpy") as caught:
        run(plain(order, tmp_path / "a.evb", detector))
    assert caught.value.received == "0.9.1+cpu"
    assert caught.value.expected == "1.0 or later"


def test_weights_without_a_network_ask_for_the_factory(
    edgevision: Callable[..., Any], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
    done = edgevision("convert", tmp_path / "w.pt", "-o", tmp_path / "a.evb", "--preset", "yolov8")
    assert done.returncode == 2
    assert "holds weights, and no network" in done.stderr
    assert "--factory module:function" in done.stderr


def test_a_pickled_model_is_refused_before_a_factory_is_asked_for(
    edgevision: Callable[..., Any], tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02cnets\nNet\n)\x81.")
    done = edgevision("convert", tmp_path / "w.pt", "-o", tmp_path / "a.evb", "--preset", "yolov8")
    assert done.returncode == 1
    assert "nets.Net" in done.stderr


def test_nothing_is_left_behind(
    order: MakeOrder, detector: Path, fake_reader: Install, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    run(plain(order, tmp_path / "a.evb", detector))
    fake_reader("raise ValueError('no')")
    with pytest.raises(EdgevisionError, match="Fake cannot read"):
        run(plain(order, tmp_path / "b.evb", detector))
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "b.evb").exists()


def test_onnx_with_its_weights_elsewhere_is_read_as_before(
    order: MakeOrder, make_detector: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    onnx.save(
        make_detector({}), tmp_path / "m.onnx", save_as_external_data=True,
        location="m.data", size_threshold=0,
    )  # fmt: skip
    read = reading.read_model(plain(order, tmp_path / "a.evb", tmp_path / "m.onnx"), Progress())
    assert read.source["data"] == {"m.data": hash_file(tmp_path / "m.data")}
    assert read.layout is None
    shutil.move(tmp_path / "m.data", tmp_path / "gone")
    feed = {"images": np.zeros((1, 3, 64, 64), np.float32)}
    assert run_once(read.model, feed)["output0"].shape == (1, 6, 64)
