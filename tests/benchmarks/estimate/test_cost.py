"""Reading models: shapes through every kind of graph, and the totals of known networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.benchmarks.estimate.cost import read_network
from edgevision.benchmarks.estimate.layers import layers_of
from edgevision.benchmarks.estimate.shapes import input_shapes
from edgevision.errors import ModelError
from edgevision.onnx_header import read_header


def read(path, **named):
    return read_network(path, named or input_shapes(read_header(path).inputs))


@pytest.mark.parametrize(
    ("name", "size", "gmacs", "million"),
    [
        # torchvision's table of its weights: 4.09 GFLOPS (multiply-adds), 25,557,032 parameters; of these
        # batch normalization, which is folded here, has 53,120, of which half stay as biases.
        ("resnet50", 224, 4.09, 25.53),
        # Ultralytics: 2.6 M parameters and 6.5 GFLOPs, a multiply-add twice
        ("yolo11n", 640, 3.27, 2.616),
    ],
)
def test_totals_of_published_networks(drawn, name, size, gmacs, million):
    network = read(drawn(name), image=(1, 3, size, size))
    found = layers_of(network, "fp32")
    assert found.macs / 1e9 == pytest.approx(gmacs, abs=0.006)
    assert found.parameters / 1e6 == pytest.approx(million, abs=0.001)
    assert not found.unknown
    assert all(tensor.shape is not None for tensor in network.tensors.values())


def test_a_batch_does_as_much_for_each(drawn):
    one = layers_of(read(drawn("resnet50"), image=(1, 3, 224, 224)), "int8")
    four = layers_of(read(drawn("resnet50"), image=(4, 3, 224, 224)), "int8")
    assert four.macs == 4 * one.macs
    assert four.weight_bytes == one.weight_bytes


def test_a_real_classifier(test_data):
    found = layers_of(read(test_data / "models" / "efficientnet-lite0.onnx"), "fp32")
    # torchvision: EfficientNet-B0, which is the same with squeeze-and-excitation, 386 M multiply-adds.
    assert found.macs / 1e6 == pytest.approx(385.5, abs=1)
    # its authors: 4.7 M, with normalization, which is folded here
    assert found.parameters / 1e6 == pytest.approx(4.65, abs=0.05)


def test_every_real_model_in_full(test_data):
    for path in sorted((test_data / "models").glob("*.onnx")):
        inputs = read_header(path).inputs
        open_sizes = any(isinstance(dim, str) for dim in inputs[0].shape[1:])
        height = 48 if path.stem == "ppocr-rec" else 96  # of which only the width is open
        network = read_network(
            path, input_shapes(inputs, size=(height, 96) if open_sizes else None)
        )
        unknown = {name for name, t in network.tensors.items() if t.shape is None}
        assert not unknown, f"{path.name}: {unknown}"
        assert layers_of(network, "int8").macs > 0


def test_shapes_agree_with_those_of_a_run(test_data):
    import onnxruntime as ort

    path = test_data / "models" / "nanodet.onnx"
    model = onnx.load(path)
    del model.graph.output[:]
    names = [name for node in model.graph.node for name in node.output]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"input_1:0": np.zeros((1, 3, 416, 416), np.float32)}
    ran = dict(zip(names, (out.shape for out in session.run(None, feed)), strict=True))
    network = read(path)
    assert {name: network.shape(name) for name in network.tensors if name in ran} == {
        name: shape for name, shape in ran.items() if name in network.tensors
    }


def test_what_computes_shapes_is_computed(saved):
    path = saved(
        "g (float[n,4,h,w] x) => (float[a,b] y) {\n"
        "s = Shape(x)\nzero = Constant<value_int = 0>()\nminus = Constant<value_ints = [-1]>()\n"
        "n = Gather(s, zero)\naxes = Constant<value_ints = [0]>()\nm = Unsqueeze(n, axes)\n"
        "to = Concat<axis = 0>(m, minus)\ny = Reshape(x, to) }"
    )
    network = read(path, x=(2, 4, 6, 5))
    assert network.shape("y") == (2, 120)
    assert [node.op for node in network.nodes] == ["Reshape"]


def test_a_part_of_a_shape(saved):
    path = saved("g (float[n,4,h,w] x) => (int64[2] y) { y = Shape<start = -2>(x) }")
    assert read(path, x=(1, 4, 6, 5)).shape("y") == (2,)


MANY = "n = Constant<value_ints = [9000, 9000, 9000]>()\nc = ConstantOfShape(n)"
LONG = """a = Constant<value_int = 0>()\nb = Constant<value_int = 90000000000>()
d = Constant<value_int = 1>()\nc = Range(a, b, d)"""


@pytest.mark.parametrize("body", [MANY, LONG])
def test_a_large_constant_is_not_made(saved, body):
    path = saved(f"g (float[1] x) => (float[1] y) {{\n{body}\ny = Relu(x) }}")
    assert [node.op for node in read(path).nodes] == ["Relu"]


def test_a_constant_that_is_only_reshaped_stays_one(saved):
    path = saved(
        "g (float[1,2] x) => (float[1,2] y) <float[4] w = {1, 2, 3, 4}>\n"
        "{ s = Constant<value_ints = [2, 2]>()\nv = Reshape(w, s)\ny = MatMul(x, v) }"
    )
    found = layers_of(read(path))
    assert found.weight_bytes == 16
    assert [layer.op for layer in found.layers] == ["MatMul"]


def test_an_operator_of_another_domain_is_named_with_it(tmp_path):
    node = helper.make_node("Own", ["x"], ["y"], domain="some.where")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("some.where", 1)]
    path = tmp_path / "own.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    found = layers_of(read(path))
    assert found.unknown == {"some.where.Own": 1}
    # What comes out is what the file declares, as long as the input is what it declares.
    assert (found.layers[0].read_bytes, found.layers[0].write_bytes) == (12, 20)
    assert read(path, x=(2, 3)).shape("y") is None


def test_functions_of_a_model_are_looked_into(tmp_path):
    text = (
        '<ir_version: 8, opset_import: ["": 17, "own": 1]>\n'
        "g (float[1,4] x) => (float[1,4] y) { y = own.twice(x) }\n"
        '<domain: "own", opset_import: ["": 17]>\n'
        "twice (a) => (b) { c = Relu(a)\nb = Add(c, c) }"
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert [node.op for node in read(path).nodes] == ["Relu", "Add"]


@pytest.mark.parametrize("weights", ["raw", "inputs"])
def test_initializers_that_are_inputs_too(tmp_path, weights):
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    if weights == "inputs":  # as files before IR version 4 have them
        inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 1, 1]))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        inputs,
        [helper.make_empty_tensor_value_info("y")],
        [weight],
    )
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])
    path.write_bytes(model.SerializeToString())
    network = read(path)
    assert network.inputs == ("x",)
    assert layers_of(network).weight_bytes == 48


def test_sizes_that_a_model_does_not_take(drawn):
    with pytest.raises(ModelError, match="does not take these sizes") as caught:
        read(drawn("yolo11n"), image=(1, 3, 320, 320))
    assert "image 1×3×320×320" in str(caught.value)


def test_a_file_that_is_no_onnx(tmp_path):
    path = tmp_path / "no.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="not a usable ONNX file"):
        read_network(path, {})


def test_an_attribute_that_no_operator_has(saved):
    path = saved("g (float[1,3] x) => (float[1,3] y) { y = Relu<nonsense = 1>(x) }")
    with pytest.raises(ModelError, match="not a usable ONNX file") as caught:
        read(path)
    assert "nonsense" in str(caught.value)


def test_small_constants_in_a_file_of_their_own_are_read_and_large_ones_need_not_be_there(tmp_path):
    kernel = numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "w")
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["big"], mode="nearest"),
        helper.make_node("Conv", ["big", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], [scales, kernel])
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        path,
        save_as_external_data=True,
        location="m.bin",
        size_threshold=0,
    )
    found = layers_of(read(path), "fp32")
    # 14·14 places × 8 filters × 3·3·3 taps
    assert (found.macs, found.unknown) == (14 * 14 * 8 * 27, {})
    (tmp_path / "m.bin").unlink()
    assert "Conv" in layers_of(read(path), "fp32").unknown
