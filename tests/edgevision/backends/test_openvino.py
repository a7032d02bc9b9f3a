from __future__ import annotations

import subprocess
import sys
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.backends import BackendOptions
from edgevision.backends.ort import OrtBackend
from edgevision.bundle import open_bundle
from edgevision.device import cpu_count
from edgevision.errors import BackendError, SpecError, UsageError
from edgevision.golden import TOLERANCE, compare, golden_record
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

ov = pytest.importorskip("openvino", reason="openvino is not installed: the extra 'openvino'")
openvino_ = pytest.importorskip("edgevision.backends.openvino_")

HINTS = pytest.mark.parametrize("hint", ["latency", "throughput"])
BF16 = pytest.mark.skipif(
    "BF16" not in openvino_._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor has no bf16",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def open_with():
    """Opens a model file or a variant in a backend; keywords are its options."""
    opened = []

    def open_it(what, engine=openvino_.OpenVinoBackend, **options):
        variant = (
            next(iter(open_bundle(what).variants.values())) if isinstance(what, Path) else what
        )
        opened.append(engine().open(variant, BackendOptions(**options)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def run(slot, image):
    slot.load(image)
    slot.submit()
    return slot.wait()


@pytest.mark.parametrize("name", ["detector", "classifier", "two_inputs", "bright"])
def test_results_are_those_of_ort(open_with, models, name):
    path = getattr(models, name)
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    found = run(open_with(path).slot(), image)
    wanted = run(open_with(path, OrtBackend).slot(), image)
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5)


def test_the_specs_are_those_of_ort(open_with, models):
    for path in (models.detector, models.dynamic, models.classifier, models.two_inputs):
        found, wanted = open_with(path), open_with(path, OrtBackend)
        assert dict(found.inputs) == dict(wanted.inputs)
        assert dict(found.outputs) == dict(wanted.outputs)


def test_golden_frames_made_with_ort_pass(load, models, draw_square):
    image = draw_square("green", (8, 40))
    stored = golden_record(load(models.detector), image)
    assert compare(load(models.detector, backend="openvino"), image, stored) == []


def test_a_square_scores_one_where_it_is(open_with, models, draw_square):
    output = run(open_with(models.detector).slot(), draw_square("red", (16, 24)))["output0"]
    # Anchor of the window at (16, 24): column 2, row 3 of a 7×7 grid; its centre is (24, 32).
    np.testing.assert_allclose(output[0, :, 3 * 7 + 2], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


@HINTS
def test_buffers_stay_where_they_are(open_with, models, draw_square, hint):
    slot = open_with(models.detector, hint=hint, threads=2).slot()
    seen = set()
    for x in (0, 8, 40):
        outputs = run(slot, draw_square(at=(x, 0)))
        inside = slot._inputs.arrays["images"].ctypes.data
        seen.add((id(outputs), outputs["output0"].ctypes.data, inside))
    assert len(seen) == 1


def test_tensors_are_the_slot_s_own_arrays(open_with, models):
    slot = open_with(models.detector).slot()
    for name, array in [*slot._inputs.arrays.items(), *slot._arrays.items()]:
        assert slot._request.get_tensor(name).data.ctypes.data == array.ctypes.data


def test_slots_of_different_sizes_live_side_by_side(open_with, models, draw_square):
    opened = open_with(models.dynamic)
    small, large = (opened.slot({"images": (1, 3, h, w)}) for h, w in ((64, 64), (96, 128)))
    for _ in range(2):
        assert run(small, draw_square())["output0"].shape == (1, 7, 7 * 7)
        output = run(large, draw_square(size=(96, 128)))["output0"]
        assert output.shape == (1, 7, 11 * 15)
        np.testing.assert_allclose(output[0, :, 3 * 15 + 2], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


def test_rows_of_a_batch(open_with, models, draw_square):
    slot = open_with(models.batched).slot()
    assert slot.rows == 2
    slot.load(draw_square("red", (8, 8), (32, 32)), row=0)
    slot.load(draw_square("blue", (0, 16), (32, 32)), row=1)
    slot.submit(2)
    output = slot.wait()["output0"]
    np.testing.assert_allclose(output[0, :, 4], [16, 16, 16, 16, 1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(output[1, :, 6], [8, 24, 16, 16, 0, 0, 1], atol=1e-5)


def test_hint_throughput_gives_the_same_results(open_with, models, draw_square):
    images = [draw_square("blue", (8 * i, 8 * i)) for i in range(6)]
    alone = open_with(models.detector).slot()
    expected = [run(alone, image)["output0"].copy() for image in images]
    opened = open_with(models.detector, hint="throughput", threads=2)
    slots = [opened.slot() for _ in images]
    for slot, image in zip(slots, images, strict=True):
        slot.load(image)
        slot.submit()
    for slot, wanted in zip(slots, expected, strict=True):
        np.testing.assert_allclose(slot.wait(10)["output0"], wanted, atol=1e-6)


def test_a_second_input_is_put(open_with, models):
    slot = open_with(models.two_inputs).slot()
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 50  # red
    slot.put("bias", np.array([[1, 2, 3]], np.float32))
    for _ in range(2):
        np.testing.assert_allclose(run(slot, image)["scores"], [[51, 2, 3]], atol=1e-4)
    with pytest.raises(BackendError, match="no input 'bais'"):
        slot.put("bais", np.zeros((1, 3), np.float32))


def test_int32_nhwc_pixels_arrive_as_they_are(open_with, models):
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = (10, 20, 30)
    np.testing.assert_allclose(
        run(open_with(models.classifier).slot(), image)["scores"], [[30, 20, 10]]
    )


@HINTS
def test_outputs_whose_size_depends_on_the_data(open_with, models, hint):
    slot = open_with(models.bright, hint=hint, threads=1).slot()
    mapping = None
    for count in (3, 3, 1, 0, 64, 0, 7):
        image = np.zeros((8, 8, 3), np.uint8)
        image.reshape(-1, 3)[:count, 2] = 200
        outputs = run(slot, image)
        assert mapping in (None, id(outputs))
        mapping = id(outputs)
        assert outputs["places"].shape == (4, count)
        np.testing.assert_array_equal(
            outputs["places"][2] * 8 + outputs["places"][3], np.arange(count)
        )


def save(path, nodes, outputs, constants=(), side=8, more=()):
    """A model of one picture (1×3×8×8, float32)."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", 1, [1, 3, side, side]), *more],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    spec = InputSpec((side, side), resize="stretch", scale=1.0)
    return Variant("small", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))


def test_outputs_of_any_type_and_shape(tmp_path, open_with):
    """Half floats, a scalar, truth values, one tensor under two names, the input itself; an input without use."""
    node = helper.make_node
    unused = helper.make_tensor_value_info("unused", TensorProto.INT32, [2])
    variant = save(
        tmp_path / "odd.onnx",
        [
            node("Relu", ["image"], ["plain"]),
            node("Identity", ["plain"], ["twin"]),
            node("Cast", ["plain"], ["half"], to=TensorProto.FLOAT16),
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["image", "limit"], ["bright"]),
        ],
        [
            ("half", TensorProto.FLOAT16, [1, 3, 8, 8]),
            ("plain", TensorProto.FLOAT, [1, 3, 8, 8]),
            ("twin", TensorProto.FLOAT, [1, 3, 8, 8]),
            ("image", TensorProto.FLOAT, [1, 3, 8, 8]),
            ("most", TensorProto.FLOAT, []),
            ("bright", TensorProto.BOOL, [1, 3, 8, 8]),
        ],
        {"limit": np.float32(100)},
        more=[unused],
    )
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    pixels = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    slot = open_with(variant).slot()
    for _ in range(2):
        found = run(slot, image)
        for name in ("half", "plain", "twin", "image"):
            np.testing.assert_array_equal(found[name], pixels)
        assert (found["half"].dtype, found["bright"].dtype) == (np.float16, np.bool_)
        assert found["most"] == pixels.max()
        np.testing.assert_array_equal(found["bright"], pixels > 100)


@pytest.mark.parametrize("threads", [1, 2])
@HINTS
def test_threads_and_version_are_read_back(open_with, models, threads, hint):
    if threads > cpu_count():
        pytest.skip("OpenVINO takes no more threads than there are cores")
    opened = open_with(models.detector, threads=threads, hint=hint)
    told = opened.executed
    assert (told.library, told.device, told.threads) == ("openvino", "cpu", threads)
    assert ov.__version__.startswith(told.version)
    assert opened._compiled.get_property("NUM_STREAMS") == (threads if hint == "throughput" else 1)
    assert opened.slots == (threads + 1 if hint == "throughput" else 1)


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


@pytest.mark.parametrize("compute", [None, "fp32"])
def test_fp32_stays_fp32_also_where_the_processor_has_bf16(open_with, test_data, compute):
    variant = real(test_data / "models" / "selfie.onnx", "nhwc", "float32", 256)
    opened = open_with(variant, compute=compute)
    assert (opened.executed.compute, layers(opened)) == ("fp32", {"f32"})


@BF16
def test_bf16_when_it_is_asked_for_also_from_the_cache(open_with, test_data):
    variant = real(test_data / "models" / "selfie.onnx", "nhwc", "float32", 256)
    for _ in range(2):
        opened = open_with(variant, compute="bf16")
        assert opened.executed.compute == "bf16"
        assert "bf16" in layers(opened)
    assert opened._compiled.get_property("LOADED_FROM_CACHE")
    assert open_with(variant).executed.compute == "fp32"


@pytest.mark.parametrize(("compute", "listed"), [("bf16", "FP32, INT8"), ("fp16", "FP32, BF16")])
def test_what_the_processor_has_not_is_refused(open_with, models, monkeypatch, compute, listed):
    monkeypatch.setattr(openvino_, "_capabilities", lambda core: listed.split(", "))
    with pytest.raises(BackendError, match=f"does not compute in {compute}") as refused:
        open_with(models.detector, compute=compute)
    assert listed in refused.value.received


def test_a_precision_that_is_not_used_is_told(open_with, models, monkeypatch):
    """On x86 OpenVINO takes the hint f16 for bf16, without a word."""
    has_fp16 = "FP16" in openvino_._capabilities(openvino_._core())
    if has_fp16:
        pytest.skip("this processor has fp16")
    monkeypatch.setattr(openvino_, "_capabilities", lambda core: ["FP32", "FP16"])
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


def quantized(path):
    """A 1×1 convolution between QuantizeLinear and DequantizeLinear, scales 1: whole numbers stay exact."""
    node = helper.make_node
    weights = np.eye(8, 3, dtype=np.int8)[:, :, None, None]
    return save(
        path,
        [
            node("QuantizeLinear", ["image", "one", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "one", "zero"], ["x"]),
            node("DequantizeLinear", ["w", "one", "zero_w"], ["weights"]),
            node("Conv", ["x", "weights"], ["y"]),
        ],
        [("y", TensorProto.FLOAT, [1, 8, 8, 8])],
        {
            "one": np.float32(1),
            "zero": np.uint8(0),
            "zero_w": np.int8(0),
            "w": weights,
        },
    )


@pytest.mark.parametrize("compute", [None, "int8"])
def test_int8_is_told_where_products_are_int8(tmp_path, open_with, compute):
    variant = replace(quantized(tmp_path / "q.onnx"), precision="int8")
    opened = open_with(variant, compute=compute)
    if "INT8" in openvino_._capabilities(openvino_._core()):
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


@HINTS
def test_calls_out_of_order_are_refused(open_with, models, draw_square, hint):
    slot = open_with(models.detector, hint=hint, threads=1).slot()
    with pytest.raises(BackendError, match=r"wait\(\) without submit"):
        slot.wait()
    slot.load(draw_square())
    slot.submit()
    for call in (lambda: slot.load(draw_square()), slot.submit):
        with pytest.raises(BackendError, match="submitted"):
            call()
    slot.wait()
    with pytest.raises(BackendError, match=r"wait\(\) without submit"):
        slot.wait()


def stumbling(path):
    """Fails at run time when a pixel is above 100: it adds constants of another shape to what it repeats."""
    node = helper.make_node
    return save(
        path,
        [
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["much"]),
            node("Cast", ["much"], ["more"], to=TensorProto.INT64),
            node("Add", ["once", "more"], ["times"]),
            node("Tile", ["image", "times"], ["tiles"]),
            node("Add", ["tiles", "zeros"], ["values"]),
        ],
        [("values", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        {
            "limit": np.float32(100),
            "once": np.array([1, 1, 1, 1]),
            "zeros": np.zeros((1, 3, 8, 8), np.float32),
        },
    )


@HINTS
def test_a_failed_run_is_told_and_leaves_the_slot_usable(tmp_path, open_with, hint, capfd):
    slot = open_with(stumbling(tmp_path / "stumbling.onnx"), hint=hint, threads=1).slot()
    good, bad = np.full((8, 8, 3), 50, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    run(slot, good)
    for timeout_s in (None, 10):
        slot.load(bad)
        slot.submit()
        with pytest.raises(BackendError, match="OpenVINO failed: ") as failed:
            slot.wait(timeout_s)
        assert "\n" not in failed.value.problem
        assert ".cpp" not in failed.value.problem
        with pytest.raises(BackendError, match="without submit"):  # no older outputs are handed out
            slot.wait()
        np.testing.assert_array_equal(run(slot, good)["values"], np.full((1, 3, 8, 8), 50))
    assert capfd.readouterr() == ("", "")


def slow(path):
    """A chain of convolutions that takes some tenths of a second."""
    weights = np.full((64, 64, 3, 3), 1e-3, np.float32)
    first = np.full((64, 3, 1, 1), 1e-3, np.float32)
    names = ["c0", *(f"c{n}" for n in range(1, 20))]
    nodes = [helper.make_node("Conv", ["image", "first"], ["c0"])]
    nodes += [
        helper.make_node("Conv", [a, "weights"], [b], pads=[1, 1, 1, 1]) for a, b in pairwise(names)
    ]
    outputs = [(names[-1], TensorProto.FLOAT, [1, 64, 256, 256])]
    return save(path, nodes, outputs, {"weights": weights, "first": first}, side=256)


@HINTS
def test_waiting_ends_after_the_timeout_and_can_be_repeated(tmp_path, open_with, hint):
    slot = open_with(slow(tmp_path / "slow.onnx"), hint=hint, threads=1).slot()
    slot.load(np.zeros((256, 256, 3), np.uint8))
    slot.submit()
    for timeout_s in (0, 0.001):
        with pytest.raises(BackendError, match=f"did not end within {timeout_s} s"):
            slot.wait(timeout_s)
    with pytest.raises(BackendError, match="submitted"):
        slot.load(np.zeros((256, 256, 3), np.uint8))
    assert list(slot.wait()) == ["c19"]


@HINTS
def test_a_closed_session_can_be_closed_again_and_refuses_work(
    open_with, models, draw_square, hint
):
    opened = open_with(models.detector, hint=hint, threads=1)
    slot = opened.slot()
    opened.close()
    opened.close()
    slot.load(draw_square())
    for _ in range(2):
        with pytest.raises(BackendError, match="the model is closed") as refused:
            slot.submit()
        assert refused.value.hint == "open it again"
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()
    with pytest.raises(BackendError, match="the model is closed"):
        opened.slot()


@HINTS
def test_closing_waits_for_what_is_submitted(tmp_path, open_with, models, draw_square, hint):
    opened = open_with(models.detector, hint=hint, threads=1)
    slot = opened.slot()
    slot.load(draw_square())
    slot.submit()
    opened.close()
    assert slot.wait()["output0"][0, :, 23] == pytest.approx([24, 32, 16, 16, 1, 0, 0])
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()


def test_closing_keeps_a_failure_for_who_waits(tmp_path, open_with):
    opened = open_with(stumbling(tmp_path / "stumbling.onnx"))
    slot = opened.slot()
    slot.load(np.full((8, 8, 3), 200, np.uint8))
    slot.submit()
    opened.close()
    with pytest.raises(BackendError, match="OpenVINO failed"):
        slot.wait()


def test_outputs_outlive_the_session(open_with, models):
    opened = open_with(models.bright)
    outputs = run(opened.slot(), np.full((8, 8, 3), 200, np.uint8))
    opened.close()
    assert outputs["places"].shape == (4, 192)
    assert outputs["places"][3].max() == 7


@HINTS
def test_a_closed_model_is_freed(open_with, models, draw_square, hint):
    opened = open_with(models.detector, hint=hint)
    slot = opened.slot()
    run(slot, draw_square())
    engine, request = weakref.ref(opened._compiled), weakref.ref(slot._request)
    opened.close()
    assert (engine(), request()) == (None, None)


def test_a_slot_may_be_dropped_while_it_runs(tmp_path, open_with):
    opened = open_with(slow(tmp_path / "slow.onnx"), hint="throughput", threads=1)
    for _ in range(2):
        slot = opened.slot()
        slot.load(np.zeros((256, 256, 3), np.uint8))
        slot.submit()
        del slot


@pytest.mark.parametrize("shape", [(1, 3, 64), (2, 3, 64, 64), (1, 4, 64, 64)])
def test_a_slot_of_a_shape_that_the_model_does_not_take(open_with, models, shape):
    with pytest.raises(BackendError, match="cannot take that shape"):
        open_with(models.dynamic).slot({"images": shape})


def test_an_input_spec_that_does_not_fit_names_both_sides(open_with, models, variant_of):
    variant = variant_of(models.classifier)
    wrong = replace(variant.spec, input=replace(variant.spec.input, dtype="uint8"))
    with pytest.raises(SpecError, match="int32 1×8×8×3"):
        open_with(replace(variant, spec=wrong)).slot()


def test_a_model_that_openvino_refuses(tmp_path, open_with, models, capfd):
    model = onnx.load(models.detector)
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(
        BackendError, match=r"cannot load strange\.onnx: .*NoSuchOperator"
    ) as refused:
        open_with(tmp_path / "strange.onnx")
    assert "\n" not in refused.value.problem
    assert ".cpp" not in refused.value.problem
    assert "ort" in refused.value.hint
    assert capfd.readouterr() == ("", "")


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
    assert openvino_._one_line(RuntimeError(text)) == line


def blobs(folder):
    return sorted(folder.rglob("*.blob"))


def test_compiled_models_are_kept_in_the_user_s_cache(open_with, models, cache, variant_of):
    before = sorted(models.detector.parent.iterdir())
    for _ in range(2):
        opened = open_with(models.detector)
    assert opened._compiled.get_property("LOADED_FROM_CACHE")
    assert [p.parent.parent for p in blobs(cache)] == [
        cache / "edgevision" / "openvino" / opened.executed.version
    ]
    open_with(replace(variant_of(models.detector), sha256="ab" * 32))
    assert [p.parent.name for p in blobs(cache)].count("ab" * 16) == 1
    assert sorted(models.detector.parent.iterdir()) == before


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, None])
def test_a_damaged_cache_is_no_error(open_with, models, cache, draw_square, damage):
    open_with(models.detector).close()
    for blob in blobs(cache):
        blob.write_bytes(blob.read_bytes()[:-500] if damage is None else damage)
    output = run(open_with(models.detector).slot(), draw_square("red", (16, 24)))["output0"]
    np.testing.assert_allclose(output[0, :, 23], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


def test_a_cache_that_cannot_be_written_is_no_error(open_with, models, cache, draw_square):
    cache.write_text("a file is in the way")
    assert len(run(open_with(models.detector).slot(), draw_square())["output0"]) == 1
    assert cache.read_text() == "a file is in the way"


@pytest.mark.parametrize("told", ["", "relative/path"])
def test_without_a_usable_variable_the_cache_is_in_the_home(
    monkeypatch, tmp_path, variant_of, models, told
):
    monkeypatch.setenv("XDG_CACHE_HOME", told)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = Path(openvino_._cache_folder(variant_of(models.detector)))
    assert (tmp_path / "home" / ".cache" / "edgevision") in found.parents
    assert found.stat().st_mode & 0o777 == 0o700


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OPENING = """
try:
    import edgevision.backends.openvino_
except edgevision.errors.DependencyError as error:
    print(type(error).__name__, error.problem, error.received, error.expected, error.hint, sep="|")
"""


def test_a_missing_openvino_names_the_extra():
    code = "import sys, edgevision.errors; sys.modules['openvino'] = None" + OPENING
    assert python(code) == (
        "DependencyError|backend 'openvino' needs openvino|||pip install 'edgevision[openvino]'"
    )


@pytest.mark.parametrize("version", ["'2023.0.1-10926'", "'0'", "''", None])
def test_an_old_openvino_is_told_what_is_needed(version):
    code = "import sys, types, edgevision.errors; m = sys.modules['openvino'] = types.ModuleType('o')\n"
    code += f"m.__version__ = {version}\n" if version is not None else ""
    assert "2024.6 or later" in python(code + OPENING)


def test_nothing_is_sent_to_the_makers_of_openvino(tmp_path):
    """Importing openvino alone reports that to them and leaves a client's id in the home."""
    code = f"""
import os, sys
os.environ["HOME"] = {str(tmp_path)!r}
import edgevision.backends.openvino_
print("openvino_telemetry" in sys.modules, os.listdir({str(tmp_path)!r}))
import openvino
assert openvino.convert_model
"""
    assert python(code) == "False []"


def real(path, layout, dtype, side):
    spec = InputSpec((side, side), resize="stretch", scale=1.0, layout=layout, dtype=dtype)
    return Variant("v", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))


@pytest.mark.parametrize(
    ("name", "layout", "dtype", "side"),
    [("selfie", "nhwc", "float32", 256), ("movenet-lightning", "nhwc", "int32", 192)],
)
def test_real_models_give_what_ort_gives(test_data, open_with, name, layout, dtype, side):
    variant = real(test_data / "models" / f"{name}.onnx", layout, dtype, side)
    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    found = run(open_with(variant).slot(), image)
    for key, value in run(open_with(variant, OrtBackend).slot(), image).items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE["fp32"])


def test_a_stream_in_order(load, models, squares_video):
    model = load(models.detector, backend="openvino", hint="throughput", params={"score": 0.6})
    wanted = load(models.detector, hint="latency", params={"score": 0.6})
    found, expected = (
        [
            (frame.index, result.boxes_xyxy.tolist())
            for frame, result in m.stream(str(squares_video))
        ]
        for m in (model, wanted)
    )
    assert len(found) == 12
    assert [index for index, _ in found] == list(range(12))
    for (_, boxes), (_, others) in zip(found, expected, strict=True):
        np.testing.assert_allclose(boxes, others, atol=1e-3)
