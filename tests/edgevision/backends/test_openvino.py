"""What is OpenVINO's own: precisions asked for and read back, the cache of compiled models, its process-wide habits."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgevision.device import cpu_count
from edgevision.errors import BackendError, UsageError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

pytest.importorskip("openvino", reason="the extra openvino is not installed")
_openvino_model = import_module("edgevision.backends._openvino_model")

BF16 = pytest.mark.skipif(
    "BF16" not in _openvino_model.core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor has no bf16",
)


@pytest.fixture
def open_with(open_in):
    """Opens a model file or a variant; keywords are the options."""
    return lambda what, **options: open_in("openvino", what, **options)


def test_tensors_are_the_slot_s_own_arrays(open_with, models):
    slot = open_with(models.detector).slot()
    for name, array in [*slot._inputs.arrays.items(), *slot._arrays.items()]:
        assert slot._request.get_tensor(name).data.ctypes.data == array.ctypes.data


def test_a_run_that_cannot_be_started_is_told(open_with, slow):
    slot = open_with(slow, threads=1).slot()
    slot._request.start_async()
    with pytest.raises(BackendError, match=r"OpenVINO failed: .*busy"):
        slot.submit()
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()


@pytest.mark.parametrize(("hint", "streams"), [("latency", 1), ("throughput", 2)])
def test_streams_are_as_many_as_inferences_at_once(open_with, models, hint, streams):
    if cpu_count() < 2:
        pytest.skip("OpenVINO makes no more streams than there are cores")
    opened = open_with(models.detector, threads=2, hint=hint)
    assert opened._compiled.get_property("NUM_STREAMS") == streams


def test_more_threads_than_cores_are_told_as_they_are(open_with, models):
    opened = open_with(models.detector, threads=256, hint="throughput")
    told = opened._compiled.get_property("INFERENCE_NUM_THREADS")
    assert opened.executed.threads == told
    assert opened.slots == opened._compiled.get_property("NUM_STREAMS") + 1


def layers(session):
    """Precision of each product in the compiled graph, as OpenVINO tells it."""
    infos = [o.get_rt_info() for o in session._compiled.get_runtime_model().get_ops()]
    return {
        i["runtimePrecision"].astype(str)
        for i in infos
        if i["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul")
    }


@pytest.fixture
def selfie(test_data):
    """A real model of convolutions."""
    spec = InputSpec((256, 256), resize="stretch", scale=1.0, layout="nhwc")
    path = test_data / "models" / "selfie.onnx"
    return Variant("v", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))


@pytest.mark.parametrize("compute", [None, "fp32"])
def test_fp32_stays_fp32_also_where_the_processor_has_bf16(open_with, selfie, compute):
    opened = open_with(selfie, compute=compute)
    assert (opened.executed.compute, layers(opened)) == ("fp32", {"f32"})


@BF16
def test_bf16_when_it_is_asked_for_also_from_the_cache(open_with, selfie):
    for _ in range(2):
        opened = open_with(selfie, compute="bf16")
        assert opened.executed.compute == "bf16"
        assert "bf16" in layers(opened)
    assert opened._compiled.get_property("LOADED_FROM_CACHE")
    assert open_with(selfie).executed.compute == "fp32"


@pytest.mark.parametrize(("compute", "listed"), [("bf16", "FP32, INT8"), ("fp16", "FP32, BF16")])
def test_what_the_processor_has_not_is_refused(open_with, models, monkeypatch, compute, listed):
    monkeypatch.setattr(_openvino_model, "capabilities", lambda: listed.split(", "))
    with pytest.raises(BackendError, match=f"does not compute in {compute}") as refused:
        open_with(models.detector, compute=compute)
    assert listed in refused.value.received


def test_a_precision_that_is_not_used_is_told(open_with, models, monkeypatch):
    """On x86 OpenVINO takes the hint f16 for bf16, without a word."""
    has_fp16 = "FP16" in _openvino_model.capabilities()
    if has_fp16:
        pytest.skip("this processor has fp16")
    monkeypatch.setattr(_openvino_model, "capabilities", lambda: ["FP32", "FP16"])
    with pytest.raises(BackendError, match="did not use the precision"):
        open_with(models.detector, compute="fp16")


@pytest.mark.parametrize(
    ("precision", "compute"),
    [("fp32", "int8"), ("fp32", "abacus"), ("fp32", ""), ("int8", "fp32"), ("int8", "bf16")],
)
def test_a_precision_that_the_graph_is_not_written_for(
    variant_of, models, open_with, precision, compute
):
    variant = replace(variant_of(models.detector), id="v", precision=precision)
    if compute == "":
        assert open_with(variant, compute=compute).executed.compute == "fp32"
        return
    with pytest.raises(UsageError, match=f"v in {compute}"):
        open_with(variant, compute=compute)


@pytest.fixture
def quantized(tmp_path, save_model):
    """A 1×1 convolution between QuantizeLinear and DequantizeLinear, scales 1: whole numbers stay exact."""
    node = helper.make_node
    weights = np.eye(8, 3, dtype=np.int8)[:, :, None, None]
    variant = save_model(
        tmp_path / "quantized.onnx",
        [
            node("QuantizeLinear", ["image", "one", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "one", "zero"], ["x"]),
            node("DequantizeLinear", ["w", "one", "zero_w"], ["weights"]),
            node("Conv", ["x", "weights"], ["y"]),
        ],
        [("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        {"one": np.float32(1), "zero": np.uint8(0), "zero_w": np.int8(0), "w": weights},
    )
    return replace(variant, precision="int8")


@pytest.mark.parametrize("compute", [None, "int8"])
def test_int8_is_told_where_products_are_int8(open_with, quantized, run, compute):
    opened = open_with(quantized, compute=compute)
    if "INT8" in _openvino_model.capabilities():
        assert opened.executed.compute == "int8"
    image = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    pixels = image[..., ::-1].transpose(2, 0, 1)
    np.testing.assert_allclose(run(opened.slot(), image)["y"][0, :3], pixels, atol=1e-3)


def test_int8_is_not_told_where_nothing_is_int8(variant_of, models, open_with):
    variant = replace(variant_of(models.detector), id="int8-x86", precision="int8")
    assert open_with(variant).executed.compute == "fp32"


def test_a_signal_after_several_models_reaches_its_handler(models):
    """Freed in the order they were made, two cores would leave the signals' stack in freed memory."""
    code = f"""
import os, signal, gc
from pathlib import Path
from edgevision.backends import BackendOptions
from edgevision.backends.openvino_ import OpenVinoBackend
from edgevision.bundle import open_bundle
from edgevision.choice import choose
signal.signal(signal.SIGINT, lambda *_: print("interrupted"))
variant = choose(open_bundle(Path({str(models.detector)!r}))).variant
opened = [OpenVinoBackend().open(variant, BackendOptions()) for _ in range(3)]
while opened:
    opened.pop(0).close()
    gc.collect()
os.kill(os.getpid(), signal.SIGINT)
"""
    assert python(code) == "interrupted"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.cpp:2:\nIt broke\n\n", "It broke"),
        ("Summary:\n-- No rule: A\n-- No rule: B", "No rule: A No rule: B"),
        ("", "RuntimeError"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_a_foreign_error_becomes_one_line(text, line):
    assert _openvino_model.one_line(RuntimeError(text)) == line


def blobs(folder):
    return sorted(folder.rglob("*.blob"))


def test_compiled_models_are_kept_in_the_user_s_cache(open_with, models, cache, variant_of):
    before = sorted(models.detector.parent.iterdir())
    for _ in range(2):
        opened = open_with(models.detector)
    assert opened._compiled.get_property("LOADED_FROM_CACHE")
    [blob] = blobs(cache)
    assert blob.parents[2] == cache / "edgevision" / "openvino" / opened.executed.version
    open_with(replace(variant_of(models.detector), sha256="ab" * 32))
    assert [b.parents[1].name for b in blobs(cache)].count("ab" * 16) == 1
    assert sorted(models.detector.parent.iterdir()) == before


DAMAGES = {
    "empty": lambda data: b"",
    "of zeros": lambda data: bytes(len(data)),
    "cut off": lambda data: data[:-500],
    "half written": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "one bit": lambda data: data[:-500] + bytes([data[-500] ^ 1]) + data[-499:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_not_used(open_with, models, cache, draw_square, run, damage):
    open_with(models.detector).close()
    [blob] = blobs(cache)
    blob.write_bytes(damage(blob.read_bytes()))
    opened = open_with(models.detector)
    assert not opened._compiled.get_property("LOADED_FROM_CACHE")
    output = run(opened.slot(), draw_square("red", (16, 24)))["output0"]
    np.testing.assert_allclose(output[0, :, 23], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)
    assert open_with(models.detector)._compiled.get_property("LOADED_FROM_CACHE")


def test_a_cache_on_a_full_disk_is_no_error(models, cache):
    code = f"""
import resource
from pathlib import Path
from edgevision.backends import BackendOptions
from edgevision.backends.openvino_ import OpenVinoBackend
from edgevision.bundle import open_bundle
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
[variant] = open_bundle(Path({str(models.detector)!r})).variants.values()
for _ in range(2):
    print(OpenVinoBackend().open(variant, BackendOptions())._compiled.get_property("LOADED_FROM_CACHE"))
"""
    assert python(code).split() == ["False", "False"]


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_sent_to_the_makers_of_openvino(tmp_path):
    """Importing its converter reports that to them and leaves a client's id in the home."""
    code = f"""
import os, sys
os.environ["HOME"] = {str(tmp_path)!r}
import edgevision.backends.openvino_
print("openvino_telemetry" in sys.modules, "openvino.tools.ovc" in sys.modules, os.listdir({str(tmp_path)!r}))
"""
    assert python(code) == "False False []"


@pytest.mark.parametrize(
    "use",
    [
        "import openvino; openvino.convert_model(model)",
        "from openvino import convert_model; convert_model(model)",
        "from openvino.tools.ovc import convert_model; convert_model(model)",
    ],
)
@pytest.mark.parametrize("before", ["import edgevision.backends.openvino_", "import openvino"])
def test_openvinos_converter_is_there_for_others(stumbling, before, use, tmp_path):
    code = f"""
import os, sys
os.environ["HOME"] = {str(tmp_path)!r}
sys.modules["openvino_telemetry"] = None
{before}
import edgevision.backends.openvino_
model = {str(stumbling.file)!r}
{use}
import openvino
print(hasattr(openvino, "convert_model"), hasattr(openvino, "convert_models"))
"""
    assert python(code).splitlines()[-1] == "True False"
