"""Read an ONNX file with errors a person can act on, and write one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

from edgevision.converters.graph.index import bodies, nodes_in
from edgevision.errors import ModelError

__all__ = ["data_files", "load", "save"]

_STANDARD = ("", "ai.onnx")
# onnxruntime's own operators: it runs them, nobody else does, so they may stay in an fp32 model.
_TOLERATED = ("com.microsoft",)
_REFUSED_TYPES = {
    TensorProto.STRING: "string",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
}
# A protobuf message, which an ONNX file is one of, can be no larger.
_LARGEST = 2**31 - 1
# Types of which several elements share a byte, by name: not every onnx knows them all.
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


def load(path: str | Path) -> onnx.ModelProto:
    """Read and check an ONNX model, external data included.

    Args:
        path: The ``.onnx`` file.

    Returns:
        The model with all weights in memory; nothing in it refers to another file.

    Raises:
        ModelError: The file is missing, empty, truncated, not ONNX, or too large with its external
            data; that is missing or lies outside its folder; it uses a type or an operator we
            cannot run.
    """
    file = Path(path)
    model = _parse(file, _read(file))
    _read_external(model, file)
    _check_body(model, file)
    _check_types(model, file)
    _check_operators(model, file)
    return model


def data_files(path: str | Path) -> list[str]:
    """Names of the files with external data that a model `load` accepted refers to, sorted."""
    model = onnx.load(str(path), load_external_data=False)
    outside = (t for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL)
    return sorted({ExternalDataInfo(tensor).location for tensor in outside})


def save(model: onnx.ModelProto, path: str | Path) -> None:
    """Write ``model`` with the same bytes every time.

    Raises:
        OSError: The file cannot be written.
    """
    Path(path).write_bytes(model.SerializeToString(deterministic=True))


def _read(file: Path) -> bytes:
    if not file.exists():
        raise ModelError(
            f"no model file at {file}",
            expected="a path to an .onnx file",
            hint="check the spelling and the folder you are in",
        )
    if file.is_dir():
        raise ModelError(f"{file} is a folder", expected="a path to an .onnx file")
    if not file.is_file():  # a pipe may never end, and is empty the second time
        raise ModelError(
            f"{file} is a pipe or a device",
            expected="a path to a file",
            hint="write the model to a file first",
        )
    try:
        _check_size(file, file.stat().st_size)
        data = file.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read {file}", received=exc.strerror or str(exc)) from exc
    if not data:
        raise ModelError(
            f"{file} is empty", expected="an ONNX model", hint="export or download it again"
        )
    return data


def _check_size(file: Path, size: int) -> None:
    if size > _LARGEST:
        raise ModelError(
            f"{file} is too large to convert",
            received=f"{size} bytes with its external data",
            expected=f"at most {_LARGEST} (2 GB), which is all that one ONNX file can hold",
            hint="export a smaller variant of the model",
        )


def _parse(file: Path, data: bytes) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as exc:  # protobuf's DecodeError, which has no typed home
        # The first field of every exporter's file is ir_version (tag 0x08) or a producer string.
        looks_onnx = data[:1] in (b"\x08", b"\x12", b"\x3a")
        raise ModelError(
            f"{file} is {'truncated or damaged' if looks_onnx else 'not an ONNX file'}",
            received=f"{len(data)} bytes that do not parse, starting with {data[:8]!r}",
            expected="a complete ONNX protobuf",
            hint="export or download it again, and compare the size with the source",
        ) from exc
    if not model.HasField("graph") or not (model.ir_version or model.opset_import):
        raise ModelError(
            f"{file} is not an ONNX model",
            received="a file without an ONNX graph",
            expected="an ONNX model with a graph",
        )
    return model


def _read_external(model: onnx.ModelProto, file: Path) -> None:
    folder = file.parent
    outside = [t for t in _tensors(model.graph) if t.data_location == TensorProto.EXTERNAL]
    if not outside:
        return
    for tensor in outside:
        _check_external(tensor, folder, file)
    _check_size(file, file.stat().st_size + sum(_stored_bytes(t, file) for t in outside))
    try:
        load_external_data_for_model(model, str(folder))
    except Exception as exc:  # onnx raises several unrelated types here
        raise ModelError(
            f"the external data of {file} cannot be read",
            received=str(exc),
            hint="copy the data files that belong to the model beside it, complete",
        ) from exc


def _check_external(tensor: TensorProto, folder: Path, file: Path) -> None:
    """Weights may lie in a plain file in the model's folder, never elsewhere."""
    location = ExternalDataInfo(tensor).location
    relative = Path(location)
    if not location or relative.is_absolute() or ".." in relative.parts or "\\" in location:
        raise ModelError(
            f"{file} reads weights from outside its folder",
            received=f"tensor {tensor.name!r} at {location!r}",
            expected="a relative path inside the model's folder",
            hint="save the model again with its data beside it",
        )
    steps = [folder.joinpath(*relative.parts[: i + 1]) for i in range(len(relative.parts))]
    if any(step.is_symlink() for step in steps):
        raise ModelError(
            f"{file} reads weights through a link",
            received=f"tensor {tensor.name!r} at {location!r}",
            expected="a plain file inside the model's folder",
            hint="replace the link by the file it points to",
        )
    if not steps[-1].is_file():
        raise ModelError(
            f"the external data of {file} is missing",
            received=f"no file {location!r} in {folder}",
            expected=f"the weights of {tensor.name!r}",
            hint="copy the data files that belong to the model beside it",
        )
    needed = _stored_bytes(tensor, file) + (ExternalDataInfo(tensor).offset or 0)
    if steps[-1].stat().st_size < needed:
        raise ModelError(
            f"the external data of {file} is truncated",
            received=f"{location!r} of {steps[-1].stat().st_size} bytes",
            expected=f"at least {needed} bytes, for {tensor.name!r}",
            hint="copy the data file again, complete",
        )


def _stored_bytes(tensor: TensorProto, file: Path) -> int:
    """Bytes that a tensor's elements take in a file; small types are packed."""
    try:
        itemsize: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError as exc:
        raise ModelError(
            f"{file} has weights of an unknown type",
            received=f"tensor {tensor.name!r} of type {tensor.data_type}",
            expected="numeric tensors",
        ) from exc
    bits = _BITS.get(TensorProto.DataType.Name(tensor.data_type), 8 * itemsize)
    count: int = math.prod(tensor.dims)
    return -(-count * bits // 8)


def _check_body(model: onnx.ModelProto, file: Path) -> None:
    if not model.graph.output:
        raise ModelError(
            f"the graph of {file} has no outputs",
            received=f"{len(model.graph.node)} nodes, 0 outputs",
            expected="at least one output",
            hint="export the model again; the file may be cut off",
        )
    bare = [v.name for v in model.graph.input if _lacks_shape(v)]
    if bare:
        raise ModelError(
            f"{file} has an input that does not say how many dims it has",
            received=f"{bare[0]!r} without a shape",
            expected="a shape, whose dims may be open, for every input",
            hint="export it again, or declare the shape with onnx.helper.make_tensor_value_info",
        )
    # The checker wants a shape that neither ONNX nor onnxruntime asks of an output. For it alone
    # one is set; which one does not matter, for it compares it with nothing.
    open_outputs = [v for v in model.graph.output if _lacks_shape(v)]
    for value in open_outputs:
        value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as exc:
        _check_operators(model, file)  # the more precise message, where one applies
        reason = next((line for line in str(exc).splitlines() if line.strip()), "invalid")
        raise ModelError(
            f"{file} is not a valid ONNX model",
            received=reason,
            hint="export it again with a current exporter",
        ) from exc
    for value in open_outputs:
        value.type.tensor_type.ClearField("shape")


def _lacks_shape(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")


def _check_types(model: onnx.ModelProto, file: Path) -> None:
    weights = {t.name for t in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.output]:
        if value.name in weights:
            continue
        kind = value.type.WhichOneof("value")
        code = value.type.tensor_type.elem_type
        if kind != "tensor_type" or code in _REFUSED_TYPES:
            raise ModelError(
                f"{file} has an input or output we cannot feed",
                received=f"{value.name!r} of type {_REFUSED_TYPES.get(code, kind)}",
                expected="numeric tensors",
            )


def _check_operators(model: onnx.ModelProto, file: Path) -> None:
    versions = {item.domain: item.version for item in model.opset_import}
    local = {(f.domain, f.name) for f in model.functions}
    for node in nodes_in(model.graph):
        if (node.domain, node.op_type) in local or node.domain in _TOLERATED:
            continue
        standard = node.domain in _STANDARD
        version = versions.get(node.domain, versions.get("", 1))
        domain = "" if standard else node.domain
        if onnx.defs.has(node.op_type, version, domain):
            continue
        known = "version " + str(version) if standard else "domain " + repr(node.domain)
        raise ModelError(
            f"{file} uses an operator we cannot run",
            received=f"{node.op_type!r} ({known}) in node {node.name or ', '.join(node.output)!r}",
            expected="operators of the ONNX standard",
            hint=_way_out(node.op_type, standard=standard),
        )


def _way_out(op: str, *, standard: bool) -> str:
    if not standard:
        return (
            "operators of custom domains are not supported: export the model with standard "
            "operators only"
        )
    opsets = {s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op}
    if opsets:
        return f"ONNX has it from opset {min(opsets)} on: export it with that, or with a current exporter"
    return (
        "no opset has an operator of that name, so it is a plug-in of some engine: export the model "
        "without it; a detector without its NMS, which edgevision does itself"
    )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in nodes_in(graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for body in bodies(node):
            yield from body.initializer
