from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgevision.backends import BackendOptions
from edgevision.backends.ort import OrtBackend
from edgevision.errors import BackendError, UsageError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant


def reference(path, **feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def test_results_equal_a_plain_session(session, models, draw_square, run):
    image = draw_square("green", (8, 40))
    found = run(session(models.detector).slot(), image)["output0"]
    feed = (image[None, :, :, ::-1].transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    np.testing.assert_allclose(found, reference(models.detector, images=feed)["output0"], atol=1e-6)


def test_outputs_of_a_dynamic_model_are_bound_after_the_first_run(
    session, models, draw_square, run
):
    slot = session(models.dynamic).slot({"images": (1, 3, 64, 64)})
    first = run(slot, draw_square())["output0"].copy()
    second = run(slot, draw_square())["output0"]
    address = second.ctypes.data
    assert run(slot, draw_square())["output0"].ctypes.data == address
    np.testing.assert_array_equal(first, second)


@pytest.fixture
def out_of_range(tmp_path, save_model):
    """Fails at run time when a pixel is above 100: the index it gathers is out of range."""
    node = helper.make_node
    return save_model(
        tmp_path / "out_of_range.onnx",
        [
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["too_much"]),
            node("Cast", ["too_much"], ["index"], to=onnx.TensorProto.INT64),
            node("Gather", ["one", "index"], ["value"]),
            node("Add", ["image", "value"], ["values"]),
        ],
        [("values", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        {"limit": np.float32(100), "one": np.array([0], np.float32)},
    )


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_run_that_fails_with_outputs_of_fixed_shape(open_in, out_of_range, run, hint):
    slot = open_in("ort", out_of_range, hint=hint, threads=1).slot()
    slot.load(np.full((8, 8, 3), 200, np.uint8))
    with pytest.raises(BackendError, match="onnxruntime failed"):
        slot.submit()
        slot.wait()
    assert run(slot, np.full((8, 8, 3), 50, np.uint8))["values"].max() == 50


def test_a_run_that_gets_no_thread_is_told(session, models, draw_square):
    opened = session(models.detector, hint="throughput", threads=1)
    slot = opened.slot()
    slot.load(draw_square())
    opened._pool.shutdown()
    with pytest.raises(BackendError, match="cannot be started"):
        slot.submit()
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (BackendOptions(compute="bf16"), UsageError),
        (BackendOptions(extra={"providers": "cuda"}), BackendError),
        (BackendOptions(extra={"providers": "abacus"}), BackendError),
    ],
)
def test_options_that_cannot_be_honoured(variant_of, models, options, error):
    if (options.extra or {}).get("providers") == "cuda" and (
        "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ):
        pytest.skip("this onnxruntime has the provider")
    with pytest.raises(error):
        OrtBackend().open(variant_of(models.detector), options)


@pytest.mark.parametrize(
    ("name", "feed"),
    [("selfie", "nhwc float32"), ("movenet-lightning", "nhwc int32"), ("centerface", "dynamic")],
)
def test_real_models_give_what_a_plain_session_gives(test_data, name, feed, tmp_path):
    layout = "nhwc" if "nhwc" in feed else "nchw"
    dtype = "int32" if "int32" in feed else "float32"
    path = test_data / "models" / f"{name}.onnx"
    plain = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    first = plain.get_inputs()[0]
    shape = (1, 3, 64, 64) if feed == "dynamic" else tuple(first.shape)
    if feed == "dynamic":
        model = onnx.load(path)
        names = {i.name for i in model.graph.initializer}
        kept = [i for i in model.graph.input if i.name not in names]
        del model.graph.input[:]
        model.graph.input.extend(kept)
        for at, symbol in ((0, "n"), (2, "h"), (3, "w")):
            kept[0].type.tensor_type.shape.dim[at].dim_param = symbol
            model.graph.input[0].type.tensor_type.shape.dim[at].dim_param = symbol
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
        path = tmp_path / "dynamic.onnx"
        onnx.save(model, path)
        plain = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    size = shape[1:3] if layout == "nhwc" else shape[2:4]
    spec = InputSpec(size, resize="stretch", scale=1.0, layout=layout, dtype=dtype)
    variant = Variant("v", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))
    opened = OrtBackend().open(variant, BackendOptions())
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    slot = opened.slot({first.name: shape})
    for _ in range(2):
        slot.load(image)
        slot.submit()
        found = slot.wait()
    pixels = image[None, ..., ::-1] if layout == "nhwc" else image.transpose(2, 0, 1)[None, ::-1]
    wanted = plain.run(None, {first.name: np.ascontiguousarray(pixels, dtype)})
    for output, value in zip(plain.get_outputs(), wanted, strict=True):
        np.testing.assert_allclose(found[output.name], value, rtol=1e-3, atol=1e-4)
    opened.close()


def test_an_int8_graph_cannot_be_asked_to_run_in_fp32(variant_of, models):
    variant = replace(variant_of(models.detector), id="int8-x86", precision="int8")
    OrtBackend().open(variant, BackendOptions(compute="int8")).close()
    with pytest.raises(UsageError, match="int8-x86 in int8, not in fp32"):
        OrtBackend().open(variant, BackendOptions(compute="fp32"))


def test_idle_workers_sleep(session, models):
    options = session(models.detector)._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(("told", "left"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_nothing_is_sent_to_the_makers_of_onnxruntime(models, tmp_path, told, left):
    """Left alone, it reports its use and leaves an id in the home; who wants that can have it."""
    code = (
        "import os\n"
        "import edgevision as ev\n"
        f"with ev.open({str(models.detector)!r}):\n"
        "    print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    plain = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", *told)}
    plain.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain | {"HOME": str(tmp_path)} | told,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, left), done.stderr
    if not told:
        assert list(tmp_path.iterdir()) == []
