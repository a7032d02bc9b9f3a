"""Reading and writing ONNX files: every kind of bad file gets its own sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.graph import onnx_file
from edgevision.converters.graph.onnx_file import load, save
from edgevision.errors import ModelError


def small_model(
    op: str = "Add", domain: str = "", elem: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.arange(4096, dtype=np.float32), "w")
    node = helper.make_node(op, ["x", "w"], ["y"], name="the_node", domain=domain)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", elem, [4096])],
        [helper.make_tensor_value_info("y", elem, [4096])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def external(tmp_path: Path, location: str) -> Path:
    model = small_model()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    file = tmp_path / "models" / "m.onnx"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(model.SerializeToString())
    return file


def test_saved_model_loads_equal_and_leaves_no_other_file(tmp_path: Path) -> None:
    model = small_model()
    save(model, tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx") == model
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        save(small_model(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not an ONNX"),
        (b"hello, this is text\n", "not an ONNX"),
        (small_model().SerializeToString()[:-3000], "truncated"),
        (small_model().SerializeToString()[:20], "truncated|not an ONNX"),
    ],
    ids=["empty", "png", "text", "cut-late", "cut-early"],
)
def test_damaged_file_is_a_model_error(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        load(file)


def test_graph_without_outputs_is_refused(tmp_path: Path) -> None:
    model = small_model()
    del model.graph.output[:]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="no outputs"):
        load(tmp_path / "m.onnx")


def test_string_input_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(small_model(elem=TensorProto.STRING).SerializeToString())
    with pytest.raises(ModelError, match="'x' of type string"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("op", "domain", "words"),
    [
        ("BatchedNMS_TRT", "TRT", ["BatchedNMS_TRT", "'TRT'", "the_node", "custom domains"]),
        ("Gelu", "", ["'Gelu'", "version 17", "the_node", "from opset 20 on"]),
        ("EfficientNMS_TRT", "", ["'EfficientNMS_TRT'", "the_node", "plug-in", "without its NMS"]),
    ],
)
def test_unknown_operator_is_named_with_its_domain_and_node(
    tmp_path: Path, op: str, domain: str, words: list[str]
) -> None:
    (tmp_path / "m.onnx").write_bytes(small_model(op, domain).SerializeToString())
    with pytest.raises(ModelError) as caught:
        load(tmp_path / "m.onnx")
    for word in words:
        assert word in str(caught.value)


def test_unknown_operator_that_gives_nothing_is_named_too(tmp_path: Path) -> None:
    model = small_model()
    model.graph.node.add(op_type="Print", input=["x"])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="'Print'"):
        load(tmp_path / "m.onnx")


def test_an_input_without_a_shape_is_named(tmp_path: Path) -> None:
    model = small_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="'x' without a shape") as caught:
        load(tmp_path / "m.onnx")
    assert "make_tensor_value_info" in caught.value.hint


def test_external_data_beside_the_model_is_loaded(tmp_path: Path) -> None:
    file = external(tmp_path, "w.bin")
    np.arange(4096, dtype=np.float32).tofile(file.parent / "w.bin")
    assert load(file) == small_model() or np.array_equal(
        numpy_helper.to_array(load(file).graph.initializer[0]), np.arange(4096)
    )
    assert load(file).graph.initializer[0].data_location == TensorProto.DEFAULT


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("w.bin", "missing"),
        ("../w.bin", "outside its folder"),
        ("sub/../../w.bin", "outside its folder"),
        ("/etc/passwd", "outside its folder"),
    ],
)
def test_external_data_missing_or_outside_is_refused(
    tmp_path: Path, location: str, message: str
) -> None:
    file = external(tmp_path, location)
    np.zeros(4096, np.float32).tofile(tmp_path / "w.bin")
    with pytest.raises(ModelError, match=message):
        load(file)


def test_external_data_through_a_link_is_refused(tmp_path: Path) -> None:
    file = external(tmp_path, "w.bin")
    np.zeros(4096, np.float32).tofile(tmp_path / "w.bin")
    (file.parent / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="through a link"):
        load(file)


def test_truncated_external_data_is_refused(tmp_path: Path) -> None:
    file = external(tmp_path, "w.bin")
    np.zeros(100, np.float32).tofile(file.parent / "w.bin")
    with pytest.raises(ModelError, match="external data"):
        load(file)


def test_an_output_without_a_declared_shape_is_accepted(tmp_path: Path) -> None:
    model = small_model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert load(tmp_path / "m.onnx") == model, "nothing may be made up for it"


@pytest.mark.parametrize(("stored", "fits"), [(5, True), (4, False)])
def test_four_bit_weights_take_half_a_byte_each(tmp_path: Path, stored: int, fits: bool) -> None:
    model = small_model()
    packed = model.graph.initializer.add(
        name="q", data_type=TensorProto.INT4, dims=[3, 3], data_location=TensorProto.EXTERNAL
    )
    entry = packed.external_data.add()
    entry.key, entry.value = "location", "q.bin"
    model.opset_import[0].version, model.ir_version = 21, 10
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "q.bin").write_bytes(bytes(stored))
    if fits:
        assert len(load(tmp_path / "m.onnx").graph.initializer[1].raw_data) == 5
    else:
        with pytest.raises(ModelError, match="at least 5 bytes"):
            load(tmp_path / "m.onnx")


def test_external_weights_of_an_unknown_type_are_refused(tmp_path: Path) -> None:
    file = external(tmp_path, "w.bin")
    model = onnx.load(file, load_external_data=False)
    model.graph.initializer[0].data_type = 99
    file.write_bytes(model.SerializeToString())
    (file.parent / "w.bin").write_bytes(bytes(8))
    with pytest.raises(ModelError, match="'w' of type 99"):
        load(file)


def sparse(file: Path, size: int) -> None:
    """A file of holes: it takes no room."""
    with file.open("ab") as stream:
        stream.truncate(size)


def test_a_file_that_no_protobuf_can_be_is_refused_unread(tmp_path: Path) -> None:
    sparse(tmp_path / "m.onnx", 2**31)
    with pytest.raises(ModelError, match="too large") as caught:
        load(tmp_path / "m.onnx")
    assert "2147483648 bytes" in caught.value.received
    assert "2147483647" in caught.value.expected


def test_external_data_of_two_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    file = external(tmp_path, "w.bin")
    model = onnx.load(file, load_external_data=False)
    model.graph.initializer[0].dims[:] = [2**29]
    file.write_bytes(model.SerializeToString())
    sparse(file.parent / "w.bin", 2**31)
    with pytest.raises(ModelError, match="too large"):
        load(file)


def test_the_largest_size_itself_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(small_model(), tmp_path / "m.onnx")
    size = (tmp_path / "m.onnx").stat().st_size
    monkeypatch.setattr(onnx_file, "_LARGEST", size)
    load(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx_file, "_LARGEST", size - 1)
    with pytest.raises(ModelError, match="too large"):
        load(tmp_path / "m.onnx")
