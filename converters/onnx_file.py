"""Read an ONNX file with errors a person can act on, and write one whole or not at all."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

from edgevision.errors import ModelError, OutputError

__all__ = ["load", "save"]

_STANDARD = ("", "ai.onnx")
# onnxruntime's own operators: it runs them, nobody else does, so they may stay in an fp32 model.
_TOLERATED = ("com.microsoft",)
_REFUSED_TYPES = {
    TensorProto.STRING: "string",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
}


def load(path: str | Path) -> onnx.ModelProto:
    """Read and check an ONNX model, external data included.

    Args:
        path: The ``.onnx`` file.

    Returns:
        The model with all weights in memory; nothing in it refers to another file.

    Raises:
        ModelError: The file is missing, empty, truncated or not ONNX; its external data is
            missing or lies outside its folder; it uses a type or an operator we cannot run.
    """
    file = Path(path)
    model = _parse(file, _read(file))
    _read_external(model, file)
    _check_body(model, file)
    _check_types(model, file)
    _check_operators(model, file)
    return model


def save(model: onnx.ModelProto, path: str | Path) -> None:
    """Write ``model`` with the same bytes every time; a reader sees the old file or the new one.

    Raises:
        OutputError: The folder cannot be written.
    """
    file = Path(path)
    data = model.SerializeToString(deterministic=True)
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(
            dir=file.parent, prefix=f".{file.name}.", suffix=".part", delete=False
        ) as handle:
            temporary = handle.name
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        _widen(Path(temporary))
        Path(temporary).replace(file)
    except OSError as exc:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {file}",
            received=exc.strerror or str(exc),
            expected="a folder that exists and can be written",
        ) from exc


def _widen(file: Path) -> None:
    """Give a temp file (mode 600) the permissions that an ordinary new file would have."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)


def _read(file: Path) -> bytes:
    if not file.exists():
        raise ModelError(
            f"no model file at {file}",
            expected="a path to an .onnx file",
            hint="check the spelling and the folder you are in",
        )
    if file.is_dir():
        raise ModelError(f"{file} is a folder", expected="a path to an .onnx file")
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise ModelError(f"cannot read {file}", received=exc.strerror or str(exc)) from exc
    if not data:
        raise ModelError(
            f"{file} is empty", expected="an ONNX model", hint="export or download it again"
        )
    return data


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
    found = False
    for tensor in _tensors(model.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            found = True
            _check_external(tensor, folder, file)
    if not found:
        return
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
    needed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    needed += ExternalDataInfo(tensor).offset or 0
    if steps[-1].stat().st_size < needed:
        raise ModelError(
            f"the external data of {file} is truncated",
            received=f"{location!r} of {steps[-1].stat().st_size} bytes",
            expected=f"at least {needed} bytes, for {tensor.name!r}",
            hint="copy the data file again, complete",
        )


def _check_body(model: onnx.ModelProto, file: Path) -> None:
    if not model.graph.output:
        raise ModelError(
            f"the graph of {file} has no outputs",
            received=f"{len(model.graph.node)} nodes, 0 outputs",
            expected="at least one output",
            hint="export the model again; the file may be cut off",
        )
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
    for node in _nodes(model.graph):
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
            received=f"{node.op_type!r} ({known}) in node {node.name or node.output[0]!r}",
            expected="operators of the ONNX standard",
            hint=(
                "the operator does not exist in that opset: export again"
                if standard
                else "operators of custom domains are not supported: export the model with "
                "standard operators only"
            ),
        )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in _nodes(graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from inner.initializer
