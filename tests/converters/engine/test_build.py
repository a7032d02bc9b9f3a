"""The verb build: with the real TensorRT-RTX where it is installed, and with libraries that are made to fail."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgevision.bundle import open_bundle
from edgevision.cli import main
from edgevision.converters.engine.child import _crashed
from edgevision.converters.engine.cli import build
from edgevision.converters.engine.order import Request
from edgevision.converters.engine.working_folder import one_at_a_time, working_folder
from edgevision.engine_key import machine_facts, preflight
from edgevision.engines import find_engine, list_engines, read_engine
from edgevision.errors import BackendError

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed: pip install 'edgevision[rtx]'",
)
COMMAND = [sys.executable, "-c", "from edgevision.cli import main; main()", "build"]


@pytest.fixture
def model(make_detector: Callable[..., onnx.ModelProto], tmp_path: Path) -> Path:
    """A detector that says how it is run."""
    path = tmp_path / "squares.onnx"
    onnx.save(make_detector(), path)
    return path


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a TensorRT-RTX in front of any that is installed, whose Builder does as it is told."""

    def put(body: str) -> None:
        folder = tmp_path / "library"
        folder.mkdir()
        (folder / "tensorrt_rtx.py").write_text(
            "import os, resource, signal, sys, time\n"
            "__version__ = '1.7.1.116'\n"
            "class ILogger:\n    def __init__(self): pass\n"
            f"class Builder:\n    def __init__(self, logger):\n        {body}\n"
        )
        monkeypatch.syspath_prepend(str(folder))

    return put


def ended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status and what was said on stderr."""
    with pytest.raises(SystemExit) as left:
        main(["build", *map(str, arguments)])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return int(left.value.code or 0), said


def open_classifier() -> onnx.ModelProto:
    """One convolution on pictures of any size, and the mean of each of its three channels."""
    weights = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["images", "w"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["scores"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("images", ["n", 3, "h", "w"]), ("scores", ["n", 3]))
    ]
    graph = onnx.helper.make_graph(
        nodes, "open", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weights, "w")]
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    told = {"task": "classify", "names": "{0: 'a', 1: 'b', 2: 'c'}", "imgsz": "[64, 64]"}
    onnx.helper.set_model_props(model, told)
    return model


def leftovers(folder: Path) -> list[str]:
    return sorted(
        p.name for p in folder.rglob("*") if "build" in p.name or p.suffix in (".engine", ".json")
    )


@needs_rtx
def test_an_engine_is_built_read_back_and_found(model: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        main(["build", str(model), "--target", "rtx-sm89", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert left.value.code == 0
    assert told["key"]["cc"] == "8.9"
    assert told["key"]["profile"] == "images=1x3x64x64"
    assert told["built"]["network"]["layers"] == {"float32": 7}
    assert told["built"]["engine"] is None, "there is no GPU to open it on"
    variant = next(iter(open_bundle(model).variants.values()))
    facts = machine_facts("tensorrt-rtx", "1.7.1.116", "8.9")
    engine = find_engine(model, variant, facts)
    assert str(engine.path) == told["engine"]
    assert len(read_engine(engine, "")) == told["size_bytes"] > 100_000
    other = machine_facts("tensorrt-rtx", "1.7.1.116", "8.6")
    assert preflight(engine.key, other).status == "wrong device"
    assert not list(engine.path.parent.glob(".building*"))


@needs_rtx
def test_a_second_build_needs_force(model: Path, capsys: pytest.CaptureFixture[str]):
    arguments = (model, "--target", "rtx-sm75")
    assert ended(capsys, *arguments)[0] == 0
    status, said = ended(capsys, *arguments)
    assert status == 1
    assert "already" in said
    assert "--force" in said
    assert ended(capsys, *arguments, "--force")[0] == 0
    assert len(list_engines(model.parent / "engines")) == 1


@needs_rtx
def test_an_open_batch_is_built_with_a_profile(
    make_classifier: Callable[..., onnx.ModelProto],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    path = tmp_path / "open.onnx"
    made = make_classifier(("n", 3, 64, 64))
    told = {"task": "classify", "names": "{0: 'a', 1: 'b', 2: 'c'}", "imgsz": "[64, 64]"}
    onnx.helper.set_model_props(made, told)
    onnx.save(made, path)
    status, said = ended(capsys, path, "--target", "rtx-sm89", "--batch", 4)
    assert status == 0, said
    (engine,) = list_engines(tmp_path / "engines")
    assert engine.key.profile == "images=1x3x64x64..1x3x64x64..4x3x64x64"


@needs_rtx
@pytest.mark.parametrize(
    ("options", "said", "way_out"),
    [
        (["--workspace", "1"], "workspace limit", "leave --workspace out"),
        (["--shape", "images=1x3x999999x999999"], "volume exceeds", "--shape and --batch may ask for less"),
    ],
)  # fmt: skip
def test_what_tensorrt_cannot_build_is_told_with_the_option_that_asked_for_it(
    options: list[str], said: str, way_out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "open.onnx"
    onnx.save(open_classifier(), path)
    status, text = ended(capsys, path, "--target", "rtx-sm89", *options)
    assert status == 1
    assert said in text
    assert way_out in text
    assert not (tmp_path / "engines").exists()


@needs_rtx
def test_every_variant_that_the_converters_write_is_built(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(
            ["convert", str(model), "-o", str(tmp_path / "s.evb"), "--precision", "int8,fp16", "--target", "trt",
             "--random-calibration", "--samples", "4", "--golden", "none", "--bake", "input"]
        )  # fmt: skip
    bundle = tmp_path / "s.evb"
    identity = open_bundle(bundle).identity
    for variant, int8 in (("fp32", 0), ("fp16", 0), ("int8-trt", 4)):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(
                [
                    "build",
                    str(tmp_path / "s.evb"),
                    "--target",
                    "rtx-sm89",
                    "--variant",
                    variant,
                    "--json",
                ]
            )
        assert left.value.code == 0, variant
        told = json.loads(capsys.readouterr().out)
        assert told["built"]["network"]["int8_layers"] >= int8
    assert open_bundle(bundle).identity == identity, "engines are no part of it"


def test_a_library_that_gives_no_builder_is_told_with_where_to_look(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    # What pybind11 makes of a null pointer; the reason is in TensorRT's log.
    library(
        "E = type('E', (), {'name': 'ERROR'}); logger.log(E, 'CUDA initialization failure with error: 35'); "
        "raise TypeError('pybind11::init(): factory function returned nullptr')"
    )
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert "nullptr" not in said
    assert "CUDA initialization failure with error: 35" in said
    assert "edgevision doctor" in said


def test_a_library_that_crashes_is_one_clear_error(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    library(
        "sys.stderr.write('out of its depth\\n'); sys.stderr.flush(); os.kill(os.getpid(), signal.SIGSEGV)"
    )
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert "TensorRT crashed" in said
    assert "SIGSEGV" in said
    assert "out of its depth" in said
    assert leftovers(model.parent) == []


def test_a_signal_without_a_name_is_told_by_its_number(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    number = signal.SIGRTMIN + 3
    library(f"os.kill(os.getpid(), {number})")
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert f"signal {number}" in said


def test_a_crash_may_be_that_of_kernel_times_which_were_kept(tmp_path: Path):
    request = Request(tmp_path / "m.onnx", ("tensorrt",), None, {}, {}, None, tmp_path, "", "", ())
    assert "--no-cache" in _crashed(request, tmp_path, -11, "building").hint
    assert "--workspace" in _crashed(request, tmp_path, -9, "building").hint


def test_a_disk_that_is_full_is_no_crash_of_tensorrt(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    # No file of the child may grow: neither the plan nor what it has to say can be written.
    library(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        "open(os.readlink('/proc/self/fd/1') + '.plan', 'wb', 0).write(b'plan')"
    )
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert "cannot be written" in said
    assert "make room there" in said
    assert "crashed" not in said
    assert leftovers(model.parent) == []


def test_what_a_killed_build_left_is_removed_and_what_another_uses_is_not(tmp_path: Path):
    left, used, fresh = (tmp_path / f".building-{name}" for name in ("left", "used", "fresh"))
    for folder in (left, used, fresh):
        folder.mkdir()
        (folder / "lock").write_bytes(b"")
    for folder in (left, used):
        os.utime(folder, (1, 1))
    with (used / "lock").open("r+b") as file:
        # Held by a build in another container, where this one's process has no number.
        fcntl.flock(file, fcntl.LOCK_EX)
        with working_folder(tmp_path) as working:
            assert {p.name for p in tmp_path.iterdir()} == {used.name, fresh.name, working.name}
    assert {p.name for p in tmp_path.iterdir()} == {used.name, fresh.name}


def test_folders_that_were_made_for_nothing_are_gone_and_others_are_not(tmp_path: Path):
    (tmp_path / "there").mkdir()
    with working_folder(tmp_path / "there" / "a" / "b"):
        pass
    assert list((tmp_path / "there").iterdir()) == []
    with working_folder(tmp_path / "there" / "a" / "b") as working:
        (working.parent / "x.engine").write_bytes(b"")
    assert (tmp_path / "there" / "a" / "b" / "x.engine").exists()
    with working_folder(tmp_path / "there" / "a"):
        pass
    assert (tmp_path / "there" / "a" / "b" / "x.engine").exists()


def test_two_builds_do_not_put_engines_in_place_at_once(tmp_path: Path):
    with one_at_a_time(tmp_path):
        other = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


@needs_rtx
def test_an_engine_whose_place_is_taken_leaves_nothing_behind(
    model: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = (model, "--target", "rtx-sm75")
    assert ended(capsys, *arguments)[0] == 0
    (engine,) = list_engines(model.parent / "engines")
    engine.path.unlink()
    engine.path.with_suffix(".json").unlink()
    (engine.path.with_suffix(".json") / "in the way").mkdir(parents=True)
    status, said = ended(capsys, *arguments)
    assert status == 1
    assert "cannot be written" in said
    assert [p.name for p in engine.path.parent.iterdir()] == [f"{engine.path.stem}.json"]


@needs_rtx
def test_an_onnx_file_cannot_name_a_place_outside_the_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(["convert", str(model), "-o", str(tmp_path / "s.evb"), "--golden", "none"])
    made = onnx.load(tmp_path / "s.evb" / "fp32.onnx")
    (told,) = (prop for prop in made.metadata_props if '"variant":"fp32"' in prop.value)
    told.value = told.value.replace('"variant":"fp32"', '"variant":"../../x"')
    (tmp_path / "a").mkdir()
    onnx.save(made, tmp_path / "a" / "evil.onnx")
    status, said = ended(capsys, tmp_path / "a" / "evil.onnx", "--target", "rtx-sm75")
    assert status == 0, said
    (found,) = tmp_path.rglob("*.engine")
    assert found.parent == tmp_path / "a" / "engines"


def test_a_build_that_never_ends_is_stopped(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    # It does not listen to being asked, as native code that hangs does not.
    library("signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(600)")
    status, said = ended(capsys, model, "--target", "rtx-sm89", "--seconds", 3)
    assert status == 1
    assert "was stopped" in said
    assert "--seconds" in said
    assert leftovers(model.parent) == []


def test_an_error_of_the_library_is_told_with_the_next_step(
    model: Path, library: Callable[[str], None], capsys: pytest.CaptureFixture[str]
):
    library("raise RuntimeError('CUDA initialization failure with error: 35')")
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert "CUDA initialization failure" in said
    assert "--backend ort" in said
    assert leftovers(model.parent) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_build_and_leaves_nothing(
    number: int, model: Path, library: Callable[[str], None], tmp_path: Path
):
    library(
        "signal.signal(signal.SIGTERM, signal.SIG_DFL); open(os.environ['BEGUN'], 'w').close(); time.sleep(600)"
    )
    begun = tmp_path / "begun"
    environment = os.environ | {"BEGUN": str(begun), "PYTHONPATH": str(tmp_path / "library")}
    process = subprocess.Popen(
        [*COMMAND, str(model), "--target", "rtx-sm89"],
        cwd=tmp_path,  # else it would import the repository's folder and not what is installed
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not begun.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert leftovers(model.parent) == []


def test_a_folder_that_cannot_be_written_is_told_first(
    model: Path, library: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    library("open(os.path.join(os.path.dirname(__file__), 'reached'), 'w').close()")
    (tmp_path / "file").write_text("")
    status, said = ended(capsys, model, "--target", "rtx-sm89", "--engine-dir", tmp_path / "file")
    assert status == 1
    assert "engines cannot be written" in said
    assert "--engine-dir" in said
    assert not (tmp_path / "library" / "reached").exists()


def test_without_a_gpu_the_device_itself_is_named(model: Path, capsys: pytest.CaptureFixture[str]):
    try:
        from edgevision.cuda.driver import probe

        probe()
    except BackendError:
        status, said = ended(capsys, model)
        assert status == 1
        assert "run this on the device" in said
        assert leftovers(model.parent) == []
    else:
        pytest.skip("this machine has a GPU")


@pytest.mark.skipif(find_spec("tensorrt_rtx_bindings") is not None, reason="TensorRT-RTX is here")
def test_without_tensorrt_the_extra_is_named(model: Path, capsys: pytest.CaptureFixture[str]):
    status, said = ended(capsys, model, "--target", "rtx-sm89")
    assert status == 1
    assert "edgevision[rtx]" in said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("orin-nano-8gb", "copy the bundle there"),
        ("rtx-sm87", "unknown target"),
        ("h100", "copy the bundle there"),
        ("nonsense", "rtx-sm89"),
    ],
)
def test_a_target_that_cannot_be_built_for_from_here_is_refused(
    target: str, said: str, model: Path, capsys: pytest.CaptureFixture[str]
):
    status, text = ended(capsys, model, "--target", target)
    assert status == 2
    assert said in text


def test_a_variant_that_is_not_there_names_those_that_are(
    model: Path, capsys: pytest.CaptureFixture[str]
):
    status, said = ended(capsys, model, "--target", "rtx-sm89", "--variant", "int8-trt")
    assert status == 2
    assert "--precision int8,fp16 --target trt" in said


def test_what_the_lint_finds_is_told_before_anything_is_built(
    make_detector: Callable[..., onnx.ModelProto],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    model = make_detector()
    next(n for n in model.graph.node if n.op_type == "Sigmoid").op_type = "Det"
    onnx.save(model, tmp_path / "m.onnx")
    status, said = ended(capsys, tmp_path / "m.onnx", "--target", "rtx-sm89")
    assert status == 1
    assert "Det" in said
    with pytest.raises(SystemExit):
        main(["build", str(tmp_path / "m.onnx"), "--target", "rtx-sm89", "--json"])
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["op"] == "Det"
    assert not (tmp_path / "engines").exists()


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_the_rules_are_those_of_the_library_that_is_installed(
    make_detector: Callable[..., onnx.ModelProto],
    library: Callable[[str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    library("pass")  # TensorRT-RTX, which has fewer kernels; and no --target
    model = make_detector()
    next(n for n in model.graph.node if n.op_type == "Sigmoid").op_type = "Det"
    onnx.save(model, tmp_path / "m.onnx")
    status, said = ended(capsys, tmp_path / "m.onnx")
    assert status == 1
    assert "TensorRT-RTX does not have this operator" in said


def test_the_help_names_what_it_does():
    assert "TensorRT" in CliRunner().invoke(build, ["--help"]).output
