from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgevision.errors import ModelError
from edgevision.onnx_header import read_header


def expected(path):
    """The same facts by the onnx package."""
    model = onnx.load(path, load_external_data=False)
    held = {i.name for i in model.graph.initializer}

    def tensor(value):
        kind = value.type.tensor_type
        dims = [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        return value.name, dtype, tuple(dims)

    return {
        "inputs": [tensor(v) for v in model.graph.input if v.name not in held],
        "outputs": [tensor(v) for v in model.graph.output],
        "ops": Counter(node.op_type for node in model.graph.node),
        "opsets": {o.domain: o.version for o in model.opset_import},
        "metadata": {p.key: p.value for p in model.metadata_props},
        "ir": model.ir_version,
        "elements": sum(int(np.prod(i.dims)) for i in model.graph.initializer),
        "tensors": len(model.graph.initializer),
    }


def check(path):
    header, wanted = read_header(path), expected(path)
    assert [(t.name, t.dtype, t.shape) for t in header.inputs] == wanted["inputs"]
    assert [(t.name, t.dtype, t.shape) for t in header.outputs] == wanted["outputs"]
    assert header.ops == wanted["ops"]
    assert header.opsets == wanted["opsets"]
    assert header.metadata == wanted["metadata"]
    assert header.ir_version == wanted["ir"]
    assert sum(n for n, _ in header.weights.values()) == wanted["tensors"]
    return header, wanted


@pytest.mark.parametrize(
    "name", ["detector", "dynamic", "batched", "classifier", "two_inputs", "bright"]
)
def test_it_says_what_the_onnx_package_says(models, name):
    check(getattr(models, name))


@pytest.mark.parametrize(
    "name",
    ["nanodet", "centerface", "blazeface-back", "efficientnet-lite0", "movenet-lightning",
     "selfie", "mobileface", "ppocr-det", "ppocr-rec", "esrgan-slim-x2"],
)  # fmt: skip
def test_it_says_of_real_models_what_the_onnx_package_says(test_data, name):
    header, wanted = check(test_data / "models" / f"{name}.onnx")
    if set(header.weights) == {"float32"}:
        assert header.weights["float32"][1] == 4 * wanted["elements"]


def save(path, **changes):
    """``y = x + w`` with whatever the test changes."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        changes.get("inputs", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])]),
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, changes.get("shape", [2]))],
        [changes.get("weight", numpy_helper.from_array(np.ones(2, np.float32), "w"))],
    )
    model = helper.make_model(graph, producer_name="tester", producer_version="3")
    onnx.save(model, path, **changes.get("how", {}))
    return path


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path):
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("w", "x")]
    header = read_header(save(tmp_path / "m.onnx", inputs=inputs))
    assert [t.name for t in header.inputs] == ["x"]
    assert header.producer == "tester 3"


def test_dimensions_that_are_unknown(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, None, "batch", 0, 7])
    bare = helper.make_tensor_value_info("z", TensorProto.INT64, None)
    header = read_header(save(tmp_path / "m.onnx", inputs=[x, bare], shape=[]))
    assert [t.shape for t in header.inputs] == [("?", "?", "batch", "?", 7), ()]
    assert [t.shape for t in header.outputs] == [()]


@pytest.mark.parametrize(
    ("kind", "name", "size"),
    [
        (TensorProto.INT8, "int8", 10),
        (TensorProto.FLOAT16, "float16", 20),
        (TensorProto.INT4, "int4", 5),
        (TensorProto.BFLOAT16, "bfloat16", 20),
    ],
)
def test_weights_are_counted_by_type(tmp_path, kind, name, size):
    weight = helper.make_tensor("w", kind, [2, 5], [1] * 10)
    assert read_header(save(tmp_path / "m.onnx", weight=weight)).weights == {name: (1, size)}


def test_external_data_are_not_needed(tmp_path):
    weight = numpy_helper.from_array(np.ones(5000, np.float32), "w")
    how = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = save(tmp_path / "m.onnx", weight=weight, how=how)
    (tmp_path / "weights.bin").unlink()
    assert read_header(path).weights == {"float32": (1, 20000)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\x00" * 100, "no protobuf message"),
        (b"PK\x03\x04 a zip file", "not a usable ONNX file"),
        (b"\x08", "cut short"),
        (b"\x08\x07", "no graph with outputs"),
        (b"\xff" * 50, "no protobuf message"),
        (b"<!DOCTYPE html><html>not found</html>", "not a usable ONNX file"),
    ],
)
def test_what_is_no_onnx_file_says_so(tmp_path, content, said):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said):
        read_header(path)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(ModelError, match="there is no file"):
        read_header(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="not a usable ONNX file"):
        read_header(tmp_path)


def test_every_truncation_is_a_model_error(models, tmp_path):
    whole, path = models.detector.read_bytes(), tmp_path / "cut.onnx"
    fine = 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            read_header(path)
            fine += 1
        except ModelError:
            continue
    assert (
        fine <= 10
    )  # only between the fields behind the graph, where a shorter message is one too


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_damaged_bytes_are_read_or_refused_but_never_crash(models, tmp_path, changes, cut):
    data = bytearray(models.classifier.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / "damaged.onnx"
    path.write_bytes(data if cut is None else data[: cut % len(data)])
    try:
        header = read_header(path)
    except ModelError:
        return
    assert header.outputs
