from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgevision.backends import BackendOptions
from edgevision.backends.ort import OrtBackend
from edgevision.device import cpu_count
from edgevision.errors import BackendError, SpecError, UsageError


def reference(path, **feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run(slot, image):
    slot.load(image)
    slot.submit()
    return slot.wait()


def test_results_equal_a_plain_session(session, models, draw_square):
    image = draw_square("green", (8, 40))
    found = run(session(models.detector).slot(), image)["output0"]
    feed = (image[None, :, :, ::-1].transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    np.testing.assert_allclose(found, reference(models.detector, images=feed)["output0"], atol=1e-6)


def test_a_square_scores_one_where_it_is(session, models, draw_square):
    output = run(session(models.detector).slot(), draw_square("red", (16, 24)))["output0"]
    # Anchor of the window at (16, 24): column 2, row 3 of a 7×7 grid; its centre is (24, 32).
    np.testing.assert_allclose(output[0, :, 3 * 7 + 2], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_buffers_stay_where_they_are(session, models, draw_square, hint):
    slot = session(models.detector, hint=hint, threads=2).slot()
    seen = set()
    for x in (0, 8, 40):
        outputs = run(slot, draw_square(at=(x, 0)))
        seen.add(
            (
                id(outputs),
                outputs["output0"].ctypes.data,
                slot._inputs.arrays["images"].ctypes.data,
            )
        )
    assert len(seen) == 1


def test_outputs_of_a_dynamic_model_are_bound_after_the_first_run(session, models, draw_square):
    slot = session(models.dynamic).slot({"images": (1, 3, 64, 64)})
    first = run(slot, draw_square())["output0"].copy()
    second = run(slot, draw_square())["output0"]
    address = second.ctypes.data
    assert run(slot, draw_square())["output0"].ctypes.data == address
    np.testing.assert_array_equal(first, second)


def test_slots_of_different_sizes_live_side_by_side(session, models, draw_square):
    opened = session(models.dynamic)
    small, large = (opened.slot({"images": (1, 3, h, w)}) for h, w in ((64, 64), (96, 128)))
    assert run(small, draw_square())["output0"].shape == (1, 7, 7 * 7)
    assert run(large, draw_square(size=(96, 128)))["output0"].shape == (1, 7, 11 * 15)
    assert run(small, draw_square())["output0"].shape == (1, 7, 7 * 7)


def test_hint_throughput_gives_the_same_results(session, models, draw_square):
    images = [draw_square("blue", (8 * i, 8 * i)) for i in range(6)]
    alone = session(models.detector).slot()
    expected = [run(alone, image)["output0"].copy() for image in images]
    opened = session(models.detector, hint="throughput", threads=2)
    slots = [opened.slot() for _ in images]
    for slot, image in zip(slots, images, strict=True):
        slot.load(image)
        slot.submit()
    for slot, wanted in zip(slots, expected, strict=True):
        np.testing.assert_allclose(slot.wait()["output0"], wanted, atol=1e-6)


def test_a_second_input_is_put(session, models):
    slot = session(models.two_inputs).slot()
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 50  # red
    slot.put("bias", np.array([[1, 2, 3]], np.float32))
    np.testing.assert_allclose(run(slot, image)["scores"], [[51, 2, 3]], atol=1e-4)
    np.testing.assert_allclose(run(slot, image)["scores"], [[51, 2, 3]], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bias", np.zeros((3,), np.float32), "shape (3,)"),
        ("bais", np.zeros((1, 3), np.float32), "no input 'bais'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(session, models, name, value, said):
    with pytest.raises(BackendError, match=said.replace("(", r"\(").replace(")", r"\)")):
        session(models.two_inputs).slot().put(name, value)


def test_int32_nhwc_pixels_arrive_as_they_are(session, models):
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = (10, 20, 30)
    scores = run(session(models.classifier).slot(), image)["scores"]
    np.testing.assert_allclose(scores, [[30, 20, 10]])  # red first


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_outputs_whose_size_depends_on_the_data(session, models, hint):
    slot = session(models.bright, hint=hint, threads=1).slot()
    for count in (3, 3, 1, 0, 64, 0, 7):
        image = np.zeros((8, 8, 3), np.uint8)
        image.reshape(-1, 3)[:count, 2] = 200
        places = run(slot, image)["places"]
        assert places.shape == (4, count)
        np.testing.assert_array_equal(places[2] * 8 + places[3], np.arange(count))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_read_back(session, models, threads):
    opened = session(models.detector, threads=threads)
    assert opened.executed.threads == threads
    assert opened.executed.library == "onnxruntime"
    assert opened.executed.version == onnxruntime.__version__


def test_all_cores_are_used_by_default(session, models):
    assert session(models.detector).executed.threads == cpu_count()


def test_throughput_has_a_slot_more_than_threads(session, models):
    opened = session(models.detector, hint="throughput", threads=2)
    assert (opened.slots, opened.executed.threads) == (3, 2)
    assert session(models.detector).slots == 1


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_calls_out_of_order_are_refused(session, models, draw_square, hint):
    slot = session(models.detector, hint=hint, threads=1).slot()
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
    """Fails at run time when a pixel is above 100: the index it gathers is out of range."""
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["too_much"]),
            node("Cast", ["too_much"], ["index"], to=onnx.TensorProto.INT64),
            node("Gather", ["one", "index"], ["value"]),
            node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
            node("Add", ["mean", "value"], ["scores"]),
        ],
        "stumbling",
        [helper.make_tensor_value_info("image", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", 1, [1, 3])],
        [
            onnx.numpy_helper.from_array(np.float32(100), "limit"),
            onnx.numpy_helper.from_array(np.array([0], np.float32), "one"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_failed_run_is_told_and_leaves_the_slot_usable(tmp_path, session, models, hint, capfd):
    model = stumbling(None)
    donor = onnx.load(models.two_inputs)
    helper.set_model_props(model, {p.key: p.value for p in donor.metadata_props})
    onnx.save(model, tmp_path / "stumbling.onnx")
    slot = session(tmp_path / "stumbling.onnx", hint=hint, threads=1).slot()
    good, bad = np.full((8, 8, 3), 50, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    run(slot, good)
    slot.load(bad)
    with pytest.raises(BackendError, match="onnxruntime failed"):
        slot.submit()
        slot.wait()
    with pytest.raises(BackendError, match="without submit"):  # no older outputs are handed out
        slot.wait()
    np.testing.assert_allclose(run(slot, good)["scores"], [[50, 50, 50]], atol=1e-4)
    assert capfd.readouterr() == ("", "")


def test_a_closed_session_can_be_closed_again_and_refuses_work(session, models, draw_square):
    opened = session(models.detector, hint="throughput", threads=1)
    slot = opened.slot()
    opened.close()
    opened.close()
    slot.load(draw_square())
    with pytest.raises(BackendError, match="closed"):
        slot.submit()


def test_closing_waits_for_what_is_submitted(session, models, draw_square):
    opened = session(models.detector, hint="throughput", threads=1)
    slot = opened.slot()
    slot.load(draw_square())
    slot.submit()
    opened.close()
    assert slot.wait()["output0"][0, :, 23] == pytest.approx([24, 32, 16, 16, 1, 0, 0])


def test_a_model_that_onnxruntime_refuses(tmp_path, variant_of, models, capfd):
    model = onnx.load(models.detector)
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(BackendError, match=r"cannot load strange\.onnx.*NoSuchOperator"):
        OrtBackend().open(variant_of(tmp_path / "strange.onnx"), BackendOptions())
    assert capfd.readouterr() == ("", "")


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


@pytest.mark.parametrize("shape", [(1, 3, 64), (2, 3, 64, 64), (1, 4, 64, 64)])
def test_a_slot_of_a_shape_that_the_model_does_not_take(session, models, shape):
    with pytest.raises(BackendError, match="cannot take that shape"):
        session(models.dynamic).slot({"images": shape})


def test_an_input_spec_that_does_not_fit_names_both_sides(session, models, tmp_path):
    model = onnx.load(models.classifier)
    text = model.metadata_props[0].value.replace('"dtype":"int32"', '"dtype":"uint8"')
    helper.set_model_props(model, {"edgevision": text})
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(SpecError, match="int32 1×8×8×3") as refused:
        session(tmp_path / "wrong.onnx").slot()
    assert "uint8" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "feed"),
    [("selfie", "nhwc float32"), ("movenet-lightning", "nhwc int32"), ("centerface", "dynamic")],
)
def test_real_models_give_what_a_plain_session_gives(test_data, name, feed, tmp_path):
    from edgevision.spec import InputSpec, ModelSpec, OutputSpec
    from edgevision.variant import Variant

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
