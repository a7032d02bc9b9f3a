"""What every backend promises: the order of calls, buffers that stay, results, failures, and an orderly end."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgevision.device import cpu_count
from edgevision.errors import BackendError, SpecError

EVERY = pytest.mark.parametrize("engine", ["ort", "openvino", "fake"])
COMPUTING = pytest.mark.parametrize("engine", ["ort", "openvino"])
HINTS = pytest.mark.parametrize("hint", ["latency", "throughput"])

#: The attribute of a session that holds what its engine loaded.
LOADED = {"ort": "_session", "openvino": "_compiled"}
LIBRARY = {"ort": "onnxruntime", "openvino": "openvino"}


# Inputs and outputs


@pytest.mark.parametrize("engine", ["openvino", "fake"])
@pytest.mark.parametrize("name", ["detector", "dynamic", "classifier", "two_inputs"])
def test_the_specs_are_those_of_ort(open_in, models, engine, name):
    found, wanted = (open_in(e, getattr(models, name)) for e in (engine, "ort"))
    assert dict(found.inputs) == dict(wanted.inputs)
    assert dict(found.outputs) == dict(wanted.outputs)


@COMPUTING
@HINTS
def test_a_square_scores_one_where_it_is(open_in, models, draw_square, run, engine, hint):
    slot = open_in(engine, models.detector, hint=hint).slot()
    output = run(slot, draw_square("red", (16, 24)))["output0"]
    # Anchor of the window at (16, 24): column 2, row 3 of a 7×7 grid; its centre is (24, 32).
    np.testing.assert_allclose(output[0, :, 3 * 7 + 2], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


@COMPUTING
def test_int32_nhwc_pixels_arrive_as_they_are(open_in, models, run, engine):
    image = np.zeros((8, 8, 3), np.uint8)
    image[...] = (10, 20, 30)
    scores = run(open_in(engine, models.classifier).slot(), image)["scores"]
    np.testing.assert_allclose(scores, [[30, 20, 10]])  # red first


@COMPUTING
def test_a_second_input_is_put_and_stays(open_in, models, run, engine):
    slot = open_in(engine, models.two_inputs).slot()
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 2] = 50  # red
    slot.put("bias", np.array([[1, 2, 3]], np.float32))
    for _ in range(2):
        np.testing.assert_allclose(run(slot, image)["scores"], [[51, 2, 3]], atol=1e-4)


@EVERY
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bias", np.zeros((3,), np.float32), r"shape \(3,\)"),
        ("bais", np.zeros((1, 3), np.float32), "no input 'bais'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(open_in, models, engine, name, value, said):
    with pytest.raises(BackendError, match=said):
        open_in(engine, models.two_inputs).slot().put(name, value)


@COMPUTING
def test_a_picture_after_a_value_is_padded_anew(open_in, models, run, engine):
    """A value covers the padding, too, which is else written once."""
    session = open_in(engine, models.detector)
    wide = np.full((32, 64, 3), 200, np.uint8)
    slot = session.slot()
    expected = {name: value.copy() for name, value in run(slot, wide).items()}
    shape = tuple(int(dim) for dim in next(iter(session.inputs.values())).shape)
    slot.put(next(iter(session.inputs)), np.ones(shape, np.float32))
    slot.submit()
    slot.wait()
    for name, value in run(slot, wide).items():
        np.testing.assert_array_equal(value, expected[name])


@COMPUTING
def test_rows_of_a_batch(open_in, models, draw_square, engine):
    slot = open_in(engine, models.batched).slot()
    assert slot.rows == 2
    slot.load(draw_square("red", (8, 8), (32, 32)), row=0)
    slot.load(draw_square("blue", (0, 16), (32, 32)), row=1)
    slot.submit(2)
    output = slot.wait()["output0"]
    np.testing.assert_allclose(output[0, :, 4], [16, 16, 16, 16, 1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(output[1, :, 6], [8, 24, 16, 16, 0, 0, 1], atol=1e-5)


@COMPUTING
def test_slots_of_different_sizes_live_side_by_side(open_in, models, draw_square, run, engine):
    opened = open_in(engine, models.dynamic)
    small, large = (opened.slot({"images": (1, 3, h, w)}) for h, w in ((64, 64), (96, 128)))
    for _ in range(2):
        assert run(small, draw_square())["output0"].shape == (1, 7, 7 * 7)
        output = run(large, draw_square(size=(96, 128)))["output0"]
        assert output.shape == (1, 7, 11 * 15)
        np.testing.assert_allclose(output[0, :, 3 * 15 + 2], [24, 32, 16, 16, 1, 0, 0], atol=1e-5)


@COMPUTING
@HINTS
def test_outputs_whose_size_depends_on_the_data(open_in, models, run, engine, hint):
    slot = open_in(engine, models.bright, hint=hint, threads=1).slot()
    mappings = set()
    for count in (3, 3, 1, 0, 64, 0, 7):
        image = np.zeros((8, 8, 3), np.uint8)
        image.reshape(-1, 3)[:count, 2] = 200
        outputs = run(slot, image)
        mappings.add(id(outputs))
        places = outputs["places"]
        assert places.shape == (4, count)
        np.testing.assert_array_equal(places[2] * 8 + places[3], np.arange(count))
    assert len(mappings) == 1


@COMPUTING
def test_outputs_of_any_type_and_shape(tmp_path, open_in, save_model, run, engine):
    """Half floats, a scalar, truth values, one tensor under two names, the input itself; an input without use."""
    node = helper.make_node
    shape = [1, 3, 8, 8]
    variant = save_model(
        tmp_path / "odd.onnx",
        [
            node("Relu", ["image"], ["plain"]),
            node("Identity", ["plain"], ["twin"]),
            node("Cast", ["plain"], ["half"], to=TensorProto.FLOAT16),
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["image", "limit"], ["bright"]),
        ],
        [
            ("half", TensorProto.FLOAT16, shape),
            *((name, TensorProto.FLOAT, shape) for name in ("plain", "twin", "image")),
            ("most", TensorProto.FLOAT, []),
            ("bright", TensorProto.BOOL, shape),
        ],
        {"limit": np.float32(100)},
        more=[helper.make_tensor_value_info("unused", TensorProto.INT32, [2])],
    )
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)
    pixels = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    slot = open_in(engine, variant).slot()
    for _ in range(2):
        found = run(slot, image)
        for name in ("half", "plain", "twin", "image"):
            np.testing.assert_array_equal(found[name], pixels)
        assert (found["half"].dtype, found["bright"].dtype) == (np.float16, np.bool_)
        assert found["most"] == pixels.max()
        np.testing.assert_array_equal(found["bright"], pixels > 100)


# Buffers


@EVERY
@HINTS
def test_buffers_stay_where_they_are(open_in, models, draw_square, run, engine, hint):
    slot = open_in(engine, models.detector, hint=hint, threads=2).slot()
    seen = set()
    for x in (0, 8, 40):
        outputs = run(slot, draw_square(at=(x, 0)))
        inside = slot._inputs.arrays["images"].ctypes.data
        seen.add((id(outputs), outputs["output0"].ctypes.data, inside))
    assert len(seen) == 1


@COMPUTING
@HINTS
def test_a_run_makes_no_new_arrays(tmp_path, open_in, save_model, engine, hint):
    """Natively counted by benchmarks/studies/allocations.py; here it is what numpy and Python ask for."""
    node, shape = helper.make_node("Relu", ["image"], ["values"]), [1, 3, 64, 64]
    outputs = [("values", TensorProto.FLOAT, shape)]
    variant = save_model(tmp_path / "relu.onnx", [node], outputs, side=64)
    slot = open_in(engine, variant, hint=hint, threads=1).slot()

    def runs():
        for _ in range(5):
            slot.submit()
            slot.wait()

    runs()
    tracemalloc.start()
    try:
        runs()
        assert tracemalloc.get_traced_memory()[1] < 8192  # of 49152 that each tensor takes
    finally:
        tracemalloc.stop()


@EVERY
@pytest.mark.parametrize("shape", [(1, 3, 64), (2, 3, 64, 64), (1, 4, 64, 64)])
def test_a_slot_of_a_shape_that_the_model_does_not_take(open_in, models, engine, shape):
    with pytest.raises(BackendError, match="cannot take that shape"):
        open_in(engine, models.dynamic).slot({"images": shape})


@EVERY
def test_an_input_spec_that_does_not_fit_names_both_sides(open_in, models, variant_of, engine):
    variant = variant_of(models.classifier)
    wrong = replace(variant.spec, input=replace(variant.spec.input, dtype="uint8"))
    with pytest.raises(SpecError, match="int32 1×8×8×3") as refused:
        open_in(engine, replace(variant, spec=wrong)).slot()
    assert "uint8" in str(refused.value)


# What really runs


@COMPUTING
@HINTS
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_version_are_read_back(open_in, models, engine, hint, threads):
    if engine == "openvino" and threads > cpu_count():
        pytest.skip("OpenVINO takes no more threads than there are cores")
    opened = open_in(engine, models.detector, threads=threads, hint=hint)
    told = opened.executed
    assert (told.library, told.device, told.threads) == (LIBRARY[engine], "cpu", threads)
    assert told.version == metadata.version(LIBRARY[engine])
    # One slot more than threads: the next frame waits loaded while all of them compute.
    assert opened.slots == (threads + 1 if hint == "throughput" else 1)


@COMPUTING
def test_all_cores_are_used_by_default(open_in, models, engine):
    assert open_in(engine, models.detector).executed.threads == cpu_count()


@EVERY
def test_hint_throughput_gives_the_same_results(open_in, models, draw_square, run, engine):
    images = [draw_square("blue", (8 * i, 8 * i)) for i in range(6)]
    alone = open_in(engine, models.detector).slot()
    expected = [run(alone, image)["output0"].copy() for image in images]
    opened = open_in(engine, models.detector, hint="throughput", threads=2)
    slots = [opened.slot() for _ in images]
    for slot, image in zip(slots, images, strict=True):
        slot.load(image)
        slot.submit()
    for slot, wanted in zip(slots, expected, strict=True):
        np.testing.assert_allclose(slot.wait(10)["output0"], wanted, atol=1e-6)


@COMPUTING
def test_a_stream_comes_out_in_order(load, open_in, models, squares_video, engine):
    open_in(engine, models.detector)  # skips where it is not installed
    model = load(models.detector, backend=engine, hint="throughput", params={"score": 0.6})
    wanted = load(models.detector, params={"score": 0.6})
    found, expected = (
        [(frame.index, result.boxes_xyxy) for frame, result in m.stream(str(squares_video))]
        for m in (model, wanted)
    )
    assert [index for index, _ in found] == list(range(12))
    for (_, boxes), (_, others) in zip(found, expected, strict=True):
        np.testing.assert_allclose(boxes, others, atol=1e-3)


# The order of calls


@EVERY
@HINTS
def test_calls_out_of_order_are_refused(open_in, models, draw_square, engine, hint):
    slot = open_in(engine, models.detector, hint=hint, threads=1).slot()
    with pytest.raises(BackendError, match=r"wait\(\) without submit"):
        slot.wait()
    slot.load(draw_square())
    slot.submit()
    value = np.zeros((1, 3, 64, 64), np.float32)
    for call in (
        lambda: slot.load(draw_square()),
        lambda: slot.put("images", value),
        slot.submit,
    ):
        with pytest.raises(BackendError, match="submitted"):
            call()
    slot.wait()
    with pytest.raises(BackendError, match=r"wait\(\) without submit"):
        slot.wait()


@pytest.mark.parametrize(
    ("engine", "hint"),  # onnxruntime with the hint latency has ended when submit returns
    [("ort", "throughput"), ("openvino", "latency"), ("openvino", "throughput")],
)
def test_waiting_ends_after_the_timeout_and_can_be_repeated(open_in, slow, engine, hint):
    slot = open_in(engine, slow, hint=hint, threads=1).slot()
    slot.load(np.zeros((256, 256, 3), np.uint8))
    slot.submit()
    for timeout_s in (0, 0.001):
        with pytest.raises(BackendError, match=f"did not end within {timeout_s} s"):
            slot.wait(timeout_s)
    with pytest.raises(BackendError, match="submitted"):
        slot.load(np.zeros((256, 256, 3), np.uint8))
    assert list(slot.wait()) == ["c7"]


# Failures


@COMPUTING
@HINTS
def test_a_failed_run_is_told_and_leaves_the_slot_usable(
    open_in, stumbling, run, engine, hint, capfd
):
    slot = open_in(engine, stumbling, hint=hint, threads=1).slot()
    good, bad = np.full((8, 8, 3), 50, np.uint8), np.full((8, 8, 3), 200, np.uint8)
    run(slot, good)
    for timeout_s in (None, 10):
        slot.load(bad)
        with pytest.raises(BackendError, match=r"(OpenVINO|onnxruntime) failed: ") as failed:
            slot.submit()
            slot.wait(timeout_s)
        assert "\n" not in failed.value.problem
        assert ".cpp" not in failed.value.problem
        with pytest.raises(BackendError, match="without submit"):  # no older outputs are handed out
            slot.wait()
        np.testing.assert_array_equal(run(slot, good)["values"], np.full((1, 3, 8, 8), 50))
    assert capfd.readouterr() == ("", "")


@COMPUTING
def test_a_model_that_the_engine_refuses_is_named_in_one_line(open_in, strange, engine, capfd):
    with pytest.raises(BackendError, match=r"load strange\.onnx: .*NoSuchOperator") as refused:
        open_in(engine, strange)
    assert "\n" not in refused.value.problem
    assert ".cpp" not in refused.value.problem
    assert refused.value.hint
    assert capfd.readouterr() == ("", "")


# The end


@EVERY
@HINTS
def test_a_closed_session_can_be_closed_again_and_refuses_work(
    open_in, models, draw_square, engine, hint
):
    opened = open_in(engine, models.detector, hint=hint, threads=1)
    slot = opened.slot()
    opened.close()
    opened.close()
    slot.load(draw_square())
    for call in (slot.submit, slot.submit, opened.slot):
        with pytest.raises(BackendError, match="the model is closed") as refused:
            call()
        assert refused.value.hint == "open it again"
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()


@EVERY
@HINTS
def test_closing_waits_for_what_is_submitted(open_in, models, draw_square, run, engine, hint):
    wanted = run(open_in(engine, models.detector).slot(), draw_square())["output0"]
    opened = open_in(engine, models.detector, hint=hint, threads=1)
    slot = opened.slot()
    slot.load(draw_square())
    slot.submit()
    opened.close()
    np.testing.assert_allclose(slot.wait()["output0"], wanted, atol=1e-5)
    with pytest.raises(BackendError, match="without submit"):
        slot.wait()


@pytest.mark.parametrize(
    ("engine", "hint"), [("ort", "throughput"), ("openvino", "latency"), ("openvino", "throughput")]
)
def test_closing_keeps_a_failure_for_who_waits(open_in, stumbling, engine, hint):
    opened = open_in(engine, stumbling, hint=hint, threads=1)
    slot = opened.slot()
    slot.load(np.full((8, 8, 3), 200, np.uint8))
    slot.submit()
    opened.close()
    with pytest.raises(BackendError, match="failed: "):
        slot.wait()


@COMPUTING
@HINTS
def test_outputs_outlive_the_session(open_in, models, run, engine, hint):
    opened = open_in(engine, models.bright, hint=hint, threads=1)
    outputs = run(opened.slot(), np.full((8, 8, 3), 200, np.uint8))
    opened.close()
    gc.collect()
    assert outputs["places"].shape == (4, 192)
    assert outputs["places"][3].max() == 7


@COMPUTING
@HINTS
def test_a_closed_model_is_freed_also_while_a_slot_is_kept(
    open_in, models, draw_square, run, engine, hint
):
    opened = open_in(engine, models.detector, hint=hint, threads=1)
    slot = opened.slot()
    run(slot, draw_square())
    loaded = weakref.ref(getattr(opened, LOADED[engine]))
    opened.close()
    gc.collect()
    assert loaded() is None
    assert slot.rows == 1


@COMPUTING
def test_a_slot_may_be_dropped_while_it_runs(open_in, slow, engine):
    opened = open_in(engine, slow, hint="throughput", threads=1)
    for _ in range(2):
        slot = opened.slot()
        slot.load(np.zeros((256, 256, 3), np.uint8))
        slot.submit()
        del slot
