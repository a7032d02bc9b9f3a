"""What was asked against what was built; and how far a build is, from nested phases."""

from __future__ import annotations

import copy
import json
import threading
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.engine.built_facts import inspected_types
from edgevision.converters.engine.order import Asked
from edgevision.converters.engine.progress import Phases
from edgevision.converters.engine.read_back import asked_of, check_built, shortfalls
from edgevision.errors import BackendError

ASKED = Asked({"x": "uint8"}, {"y": "float32"}, {"float16": 3, "float32": 1}, 2)
BUILT: dict[str, Any] = {
    "network": {
        "inputs": {"x": "uint8"}, "outputs": {"y": "float32"},
        "layers": {"float16": 3, "float32": 1}, "int8_layers": 2,
    },
    "engine": {"inputs": {"x": "uint8"}, "outputs": {"y": "float32"}, "types": {"Int8": 4, "Half": 9}},
}  # fmt: skip


def test_what_was_asked_is_enough_with_and_without_a_gpu():
    assert shortfalls(ASKED, BUILT) == []
    assert shortfalls(ASKED, BUILT | {"engine": None}) == []


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("network", {"int8_layers": 1}, "1 of 2 layers in int8"),
        ("network", {"layers": {"float16": 2, "float32": 2}}, "2 of 3 layers in float16"),
        ("network", {"inputs": {"x": "float32"}}, "network: input 'x' is float32, and uint8 was asked for"),
        ("engine", {"outputs": {}}, "engine: output 'y' is missing, and float32 was asked for"),
        ("engine", {"types": {"Half": 9}}, "no layer of the engine in int8"),
        ("engine", {"types": {"Int8": 9, "FP32": 3}}, "no layer of the engine in float16"),
    ],
)  # fmt: skip
def test_a_shortfall_is_an_error_that_names_it(place: str, change: dict[str, Any], said: str):
    built = copy.deepcopy(BUILT)
    built[place] |= change
    with pytest.raises(BackendError, match="not what was asked for") as raised:
        check_built(ASKED, built, "int8-trt")
    assert said in raised.value.received


def test_a_layer_whose_type_onnx_cannot_tell_is_not_asked_for():
    """What follows a plugin: no engine has a layer of type unknown, and it would be found out after the build."""
    nodes = [
        helper.make_node("Norm_TRT", ["x"], ["a"], domain="nvidia"),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in ("x", "y")
    ]
    weights = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nvidia", 1)]
    asked = asked_of(helper.make_model(graph, opset_imports=opsets))
    assert asked.layers == {}
    built = {"inputs": {"x": "float32"}, "outputs": {"y": "float32"}, "int8_layers": 0}
    assert shortfalls(asked, {"network": built | {"layers": {"float32": 1}}, "engine": None}) == []


def test_an_inspector_that_tells_nothing_proves_nothing_and_refuses_nothing():
    built = copy.deepcopy(BUILT)
    built["engine"]["types"] = {}
    assert shortfalls(ASKED, built) == []


def test_a_float16_layer_on_int8_may_be_fused_until_nothing_of_it_is_float16():
    asked = Asked({"x": "uint8"}, {"y": "float32"}, {"float16": 2}, 2)
    built = copy.deepcopy(BUILT)
    built["engine"]["types"] = {"Int8": 9, "FP32": 1}
    assert shortfalls(asked, built) == []


def test_what_is_asked_is_read_from_the_graph():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["e"]),
        helper.make_node("Conv", ["d", "e"], ["c"]),
        helper.make_node("Conv", ["c", "f"], ["y"]),
    ]
    constants = {"s": np.float32(1), "z": np.int8(0), "w": np.ones((3, 3, 1, 1), np.int8)}
    constants["f"] = np.ones((2, 3, 1, 1), np.float32)
    values = [("x", [1, 3, 4, 4]), ("unused", [1]), ("y", [1, 2, 4, 4])]
    x, unused, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values)
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [x, unused], [y], tensors))
    assert isinstance(model, onnx.ModelProto)
    assert asked_of(model) == Asked({"x": "float32"}, {"y": "float32"}, {"float32": 2}, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("[]", {}),
        ('{"Layers": ["names only"]}', {}),
        ('{"Layers": null}', {}),
        (
            '{"Layers": [{"Inputs": null, "Outputs": ["a name", {"Datatype": "Half"}]}]}',
            {"Half": 1},
        ),
        (
            json.dumps(
                {
                    "Layers": [
                        {
                            "Inputs": [{"Format/Datatype": "Row major Int8 format"}],
                            "Outputs": [
                                {
                                    "Format/Datatype": "Channel major FP16 format where channel % 4 == 0"
                                }
                            ],
                        }
                    ]
                }
            ),
            {"Int8": 1, "FP16": 1},
        ),
        ('{"Layers": [{"Outputs": [{"Format/Datatype": "Half"}]}]}', {"Half": 1}),
    ],
)
def test_types_in_an_inspector_s_report(text: str, expected: dict[str, int]):
    assert inspected_types(text) == expected


def test_nested_phases_become_one_share_that_never_goes_back():
    told: list[int] = []
    phases = Phases(lambda done, total: told.append(done), threading.Event())
    phases.start("building", None, 4)
    phases.step("building", 0)
    phases.start("timing", "building", 2)
    phases.step("timing", 0)
    phases.start("one", "timing", 0)
    phases.finish("one")
    phases.finish("timing")
    phases.step("building", 1)
    phases.step("of a phase that nobody began", 3)
    phases.step("building", 3)
    # A quarter; half of the second quarter; half; the whole is told by whoever knows that it is over.
    assert told == [0, 25, 37, 50, 99]


def test_a_cancelled_build_is_told_to_stop_at_its_next_step():
    cancelled = threading.Event()
    phases = Phases(lambda done, total: None, cancelled)
    phases.start("building", None, 4)
    assert phases.step("building", 0)
    cancelled.set()
    assert not phases.step("building", 1)
