"""Code in PyTorch's files is found before PyTorch could run it; no PyTorch is needed for that."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision.converters.readers.torch_files import (
    check_program,
    check_state_dict,
    check_torchscript,
)
from edgevision.errors import ModelError

EMPTY = pickle.dumps({}, 2)
ATTACK = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."
SIZE = "Mul(Integer(2), Symbol('s34', positive=True, integer=True))"


def archive(path: Path, files: dict[str, bytes | str], around: str = "m/") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(around + name, content)
    return path


def saved(data: bytes) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", data)
    return buffer.getvalue()


def program(target: str = "torch.ops.aten.relu.default", size: str = SIZE, **more: Any) -> str:
    node = {"target": target, "inputs": [{"arg": {"as_sym_int": {"as_expr": {"expr_str": size}}}}]}
    return json.dumps({"graph_module": {"graph": {"nodes": [node]}}} | more)


def pt2(path: Path, **files: bytes | str) -> Path:
    plain: dict[str, bytes | str] = {
        "archive_format": "pt2",
        "models/model.json": program(),
        "data/weights/model_weights_config.json": '{"config": {"w": {"path_name": "weight_0"}}}',
        "data/weights/weight_0": bytes(16),
        "data/constants/model_constants_config.json": '{"config": {}}',
        "data/sample_inputs/model.pt": saved(EMPTY),
    }
    return archive(path, plain | {name.replace("__", "/"): f for name, f in files.items()})


def constants(path_name: str, use_pickle: bool = False) -> str:
    return json.dumps({"config": {"c": {"path_name": path_name, "use_pickle": use_pickle}}})


def test_plain_files_pass(tmp_path: Path) -> None:
    check_program(pt2(tmp_path / "m.pt2"))
    check_program(pt2(tmp_path / "m.pt2", **{"data/sample_inputs/model.pt": b""}))
    check_state_dict(archive(tmp_path / "m.pt", {"data.pkl": EMPTY}))
    check_torchscript(archive(tmp_path / "s.pt", {"code/a.py": "return torch.conv2d(x)"}))


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"data/sample_inputs/model.pt": saved(ATTACK)}, "posix.system"),
        ({"data/weights/model.pt": saved(ATTACK)}, "posix.system"),
        ({"data/constants/model.pt": saved(ATTACK)}, "posix.system"),
        (
            {
                "data/weights/model_weights_config.json": constants("weight_0", True),
                "data/weights/weight_0": saved(ATTACK),
            },
            "posix.system",
        ),
        (
            {
                "data/constants/model_constants_config.json": constants("tensor_0", True),
                "data/constants/tensor_0": saved(ATTACK),
            },
            "posix.system",
        ),
        ({"data/constants/model_constants_config.json": constants("opaque_obj_0")}, "opaque_obj"),
        ({"data/constants/model_constants_config.json": constants("custom_obj_0")}, "custom_obj"),
        ({"data/aotinductor/model/a.so": b"\x7fELF"}, "compiled code"),
        ({"extra/a.so": b"\x7fELF"}, "compiled code"),
    ],
)
def test_code_in_a_program_is_refused(
    tmp_path: Path, files: dict[str, bytes | str], word: str
) -> None:
    with pytest.raises(ModelError, match=r"could run code|runs code") as caught:
        check_program(pt2(tmp_path / "m.pt2", **files))
    assert word in str(caught.value)
    assert "torch.export.save" in caught.value.hint


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.load_library.__call__",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__",
        "torch.ops.higher_order.triton_kernel_wrapper_functional",
        "torch.sys.modules",
        "_operator.methodcaller",
        "_operator.call",
        "#acme:run",
        "builtins.eval",
    ],
)
def test_a_graph_calls_nothing_but_operators(tmp_path: Path, target: str) -> None:
    with pytest.raises(ModelError, match="could run code"):
        check_program(pt2(tmp_path / "m.pt2", **{"models/model.json": program(target)}))


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.conv2d.default",
        "torch.ops.aten._softmax.default",
        "torch.ops.aten._native_batch_norm_legit_no_training.default",
        "torch.ops.torchvision.nms.default",
        "torch.ops.higher_order.cond",
        "_operator.getitem",
        "_operator.floordiv",
        "torch.sym_max",
        "math.ceil",
    ],
)
def test_operators_of_pytorch_pass(tmp_path: Path, target: str) -> None:
    check_program(pt2(tmp_path / "m.pt2", **{"models/model.json": program(target)}))


def test_an_operator_of_an_extension_is_named_with_the_way_out(tmp_path: Path) -> None:
    graph = {"models/model.json": program("torch.ops.acme.twice.default")}
    with pytest.raises(ModelError, match="acme::twice") as caught:
        check_program(pt2(tmp_path / "m.pt2", **graph))
    assert "torch.onnx.export" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "fine"),
    [
        ("s0", True),
        ("2*s34 + 1", True),
        ("Symbol('s34', positive=True, integer=True)", True),
        ("Max(1, s0//2)", True),
        ("FloorDiv(Add(Symbol('s1', integer=True), Integer(-1)), Integer(2))", True),
        ("Float('1.0', precision=53)", True),
        ("__import__('os').system('id')", False),
        ("Symbol('s0').__class__", False),
        ("exec('1')", False),
        ("Symbol(chr(105))", False),
        ("Symbol('s0; import os')", False),
        ("(lambda: s0)()", False),
        ("[s0 for s0 in Max]", False),
        ("Max(1)(2)", False),
        ("eval", False),
        ("s0 +", False),
    ],
)
def test_a_size_is_a_formula_and_nothing_else(tmp_path: Path, size: str, fine: bool) -> None:
    path = pt2(tmp_path / "m.pt2", **{"models/model.json": program(size=size)})
    if fine:
        check_program(path)
    else:
        with pytest.raises(ModelError, match="no formula"):
            check_program(path)


@pytest.mark.parametrize("word", ["__enum__", "default_factory_module"])
def test_containers_that_import_a_module_are_refused(tmp_path: Path, word: str) -> None:
    tree = json.dumps([1, {"type": "collections.defaultdict", "context": {word: "os"}}])
    graph = {"models/model.json": program(in_spec=tree)}
    with pytest.raises(ModelError, match="could run code"):
        check_program(pt2(tmp_path / "m.pt2", **graph))


@pytest.mark.parametrize("call", ["torch.save(x, 'f')", "torch.from_file('f')", "ops.aten.save(x)"])
def test_torchscript_that_touches_files_is_refused(tmp_path: Path, call: str) -> None:
    with pytest.raises(ModelError, match="could run code"):
        check_torchscript(archive(tmp_path / "s.pt", {"code/__torch__/a.py": f"  y = {call}\n"}))


def test_a_whole_pickled_model_is_refused_and_the_ways_out_are_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", {"data.pkl": b"\x80\x02cnets\nNet\n)\x81."})
    with pytest.raises(ModelError, match="runs code") as caught:
        check_state_dict(path)
    assert caught.value.received == "it imports nets.Net"
    for word in ("state_dict", "--factory", "torch.export.save"):
        assert word in caught.value.hint


def test_a_checkpoint_of_ultralytics_is_sent_to_its_own_exporter(tmp_path: Path) -> None:
    data = b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n)\x81."
    with pytest.raises(ModelError, match="ultralytics") as caught:
        check_state_dict(archive(tmp_path / "m.pt", {"data.pkl": data}))
    assert caught.value.hint == "yolo export model=… format=onnx"


@pytest.mark.parametrize(
    "build",
    [
        lambda p: pt2(p, **{"models/model.json": "{"}),
        lambda p: pt2(p, **{"models/model.json": "[" * 100_000}),
        lambda p: pt2(p, **{"data/weights/model_weights_config.json": "{}"}),
        lambda p: pt2(p, **{"data/sample_inputs/model.pt": b"PK"}),
        lambda p: pt2(p, **{"Models/model.json": "{}"}),
        lambda p: pt2(p, serialized_exported_program="{}"),
    ],
    ids=["cut", "deep", "no table", "no archive", "one name twice", "two formats"],
)
def test_a_damaged_program_is_an_error_of_ours(tmp_path: Path, build: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match="truncated or damaged"):
        check_program(build(tmp_path / "m.pt2"))


def test_a_damaged_pickle_is_an_error_of_ours(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt", {"data.pkl": EMPTY[:-1]})
    with pytest.raises(ModelError, match="truncated or damaged"):
        check_state_dict(path)
    path.write_bytes(b"\x80\x02\x8a\nl")
    with pytest.raises(ModelError, match="truncated or damaged"):
        check_state_dict(path)
