"""PyTorch to ONNX: programs of torch.export, TorchScript, and state dicts with a factory for their network.

PyTorch is imported in functions only, after the file was checked. All three end in `torch.onnx.export`: a program
and a network by way of torch.export, TorchScript, which that does not take, by the older exporter.
"""

from __future__ import annotations

import inspect
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.onnx_file import save
from edgevision.converters.readers import MODEL, Facts, Request
from edgevision.converters.readers.network import network
from edgevision.converters.readers.probe import Feed, concrete, feeds, layout, save_probe
from edgevision.converters.readers.torch_files import (
    check_program,
    check_state_dict,
    check_torchscript,
)
from edgevision.errors import ModelError
from edgevision.spec import InputSpec, TensorSpec
from edgevision.text import printable

__all__ = ["onnx_of_program", "outputs_of", "read", "traced"]

#: Opsets that torch.onnx implements itself: below, it converts, and says that this may fail.
_LEAST_OPSET, _LAST_OF_TORCHSCRIPT = 18, 20

Array = NDArray[Any]


def read(request: Request, folder: Path) -> Facts:
    """Writes a PyTorch model as ONNX; see `edgevision.converters.readers.Reader`."""
    # Every torch.load, those inside PyTorch too, then refuses what is no tensor.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    return {
        "torch-export": _read_program,
        "torchscript": _read_torchscript,
        "state-dict": _read_state_dict,
    }[request.kind](request, folder)


def _read_program(request: Request, folder: Path) -> Facts:
    check_program(request.path)
    from torch.utils import _pytree as pytree

    program = _loaded(request)
    spec, inputs = _fitted(request, _program_inputs(request, program))
    given = feeds(request, spec, inputs)
    module = program.module(check_guards=False)

    def run(*tensors: Any) -> Any:
        args, kwargs = pytree.tree_unflatten(list(tensors), program.call_spec.in_spec)
        return module(*args, **kwargs)

    found = [outputs_of(run, feed) for feed in given]
    return _deliver(request, folder, spec, onnx_of_program(request, program), given, found)


def _read_state_dict(request: Request, folder: Path) -> Facts:
    check_state_dict(request.path)
    module = network(request)
    names = _parameters(request, module)
    spec, inputs = _fitted(request, [TensorSpec(names[0], request.spec.dtype, _shape(request))])
    given = feeds(request, spec, inputs)
    found = [outputs_of(module, feed) for feed in given]
    model = onnx_of_program(request, traced(request, module, given[0]))
    return _deliver(request, folder, spec, model, given, found)


def _read_torchscript(request: Request, folder: Path) -> Facts:
    check_torchscript(request.path)
    import torch

    try:
        module = torch.jit.load(str(request.path), map_location="cpu").eval()
    except RuntimeError as error:
        raise _torchscript_error(request, error) from error
    arguments = [a for a in module.forward.schema.arguments[1:] if not a.has_default_value()]
    if len(arguments) != 1 or str(arguments[0].type) != "Tensor":
        raise _several(request, [f"{a.name}: {a.type}" for a in arguments])
    name = re.sub(r"\W.*", "", arguments[0].name) or "input"
    spec, inputs = _fitted(request, [TensorSpec(name, request.spec.dtype, _shape(request))])
    given = feeds(request, spec, inputs)
    found = [outputs_of(module, feed) for feed in given]
    model = _onnx_of_torchscript(request, module, given[0], len(found[0]))
    return _deliver(request, folder, spec, model, given, found)


def traced(request: Request, module: Any, feed: Feed) -> Any:
    """A network as a program of torch.export.

    Args:
        request: For messages.
        module: A ``torch.nn.Module`` in eval mode.
        feed: Its inputs, in their order.

    Raises:
        ModelError: What it does depends on the values in its input.
    """
    import torch
    from torch._dynamo.exc import UserError
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        return torch.export.export(module, _tensors(feed))
    except (GuardOnDataDependentSymNode, UserError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        where = re.search(r'File "[^"]*?([^/"]+)", line (\d+)', str(error))
        raise ModelError(
            f"{request.path} decides by the values in its input what it computes",
            received=printable(lines[0], 300) + (f" ({where[1]}:{where[2]})" if where else ""),
            expected="the same operations for every picture",
            hint="write the choice with torch.where or torch.cond, or export that part apart from the rest",
        ) from error


def onnx_of_program(
    request: Request, program: Any, names: Sequence[str] | None = None
) -> onnx.ModelProto:
    """A program of torch.export as ONNX.

    Args:
        request: Its ``opset`` is the least that is written.
        program: A ``torch.export.ExportedProgram``.
        names: Of the inputs, in their order; None for the program's own.

    Raises:
        ModelError: An operator has no ONNX equivalent; it is named.
    """
    import torch
    from torch.onnx import OnnxExporterError

    opset = max(request.opset, _LEAST_OPSET)
    try:
        exported = torch.onnx.export(
            program, (), dynamo=True, opset_version=opset, input_names=names, verbose=False
        )
    except OnnxExporterError as error:
        raise _unsupported(request, error, opset) from error
    model: onnx.ModelProto = exported.model_proto
    return model


def outputs_of(module: Callable[..., Any], feed: Feed) -> list[Array]:
    """What a network gives, tensors only, in their order."""
    import torch
    from torch.utils import _pytree as pytree

    with torch.inference_mode():
        found = pytree.tree_leaves(module(*_tensors(feed)))
    return [np.asarray(v.detach().cpu()) for v in found if isinstance(v, torch.Tensor)]


def _tensors(feed: Feed) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(array) for array in feed.values())


def _loaded(request: Request) -> Any:
    import torch

    try:
        with request.path.open("rb") as file:
            program = torch.export.load(file)
    except (RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise ModelError(
            f"{request.path} cannot be loaded by PyTorch {torch.__version__}",
            received=printable(" ".join(str(error).split()), 300),
            expected="a whole program that this or a somewhat older PyTorch saved",
            hint="save it again with this version, or convert it where that one is installed",
        ) from error
    program._guards_code = []  # Python that would be run before the network
    return program


def _fitted(request: Request, inputs: Sequence[TensorSpec]) -> tuple[InputSpec, list[TensorSpec]]:
    """The spec in the model's own layout, and the inputs with numbers for open dims."""
    spec = request.spec
    spec = replace(spec, layout=layout(spec, inputs) or spec.layout)
    return spec, concrete(request, spec, inputs)


def _shape(request: Request) -> tuple[str | int, ...]:
    spec = request.spec
    channels = spec.channels
    return ("n", channels, "h", "w") if spec.layout == "nchw" else ("n", "h", "w", channels)


def _program_inputs(request: Request, program: Any) -> list[TensorSpec]:
    import torch

    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    inputs = []
    for name in program.graph_signature.user_inputs:
        value = values.get(name)
        if not isinstance(value, torch.Tensor):
            raise _several(request, [f"{name}: {type(value).__name__}"])
        shape = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
        inputs.append(TensorSpec(name, str(value.dtype).removeprefix("torch."), shape))
    return inputs


def _parameters(request: Request, module: Any) -> list[str]:
    """Names of what ``forward`` needs: one, the picture."""
    needed = [
        p
        for p in inspect.signature(module.forward).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) != 1:
        raise _several(request, [p.name for p in needed])
    return [needed[0].name]


def _onnx_of_torchscript(
    request: Request, module: Any, feed: Feed, outputs: int
) -> onnx.ModelProto:
    import torch
    from torch.onnx import OnnxExporterError

    buffer, opset = io.BytesIO(), min(request.opset, _LAST_OF_TORCHSCRIPT)
    try:
        torch.onnx.export(
            module, _tensors(feed), buffer, dynamo=False, opset_version=opset, verbose=False,
            input_names=list(feed), output_names=[f"output{n}" for n in range(outputs)],
        )  # fmt: skip
    except (OnnxExporterError, RuntimeError) as error:
        raise _unsupported(request, error, opset) from error
    return onnx.load_model_from_string(buffer.getvalue())


def _deliver(
    request: Request,
    folder: Path,
    spec: InputSpec,
    model: onnx.ModelProto,
    given: Sequence[Feed],
    found: Sequence[Sequence[Array]],
) -> Facts:
    """Writes what a reader leaves behind."""
    save(model, folder / MODEL)
    save_probe(folder, given, found)
    packages = ["torch", *(["onnxscript"] if request.kind != "torchscript" else [])]
    return {
        "packages": {name: metadata.version(name) for name in packages},
        "layout": spec.layout,
    }


def _unsupported(request: Request, error: Exception, opset: int) -> ModelError:
    """Names the operator, as one of the exporters says it."""
    op = re.search(r"OpOverload\(op='([\w.]+)'|operator '([\w:]+)'", str(error))
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ModelError(
        f"{request.path} has no equivalent in ONNX opset {opset}",
        received=f"the operator {op[1] or op[2]}"
        if op
        else printable(lines[0] if lines else str(error), 300),
        expected="operators that torch.onnx translates",
        hint="write that part with other operators, ask for a newer one with --opset, or export to ONNX yourself: "
        "torch.onnx.export(…, custom_translation_table={…})",
    )


def _torchscript_error(request: Request, error: RuntimeError) -> ModelError:
    op = re.search(r"Unknown builtin op: ([\w:]+)", str(error))
    if op is not None:
        return ModelError(
            f"{request.path} uses an operator that only its own extension knows",
            received=printable(op[1]),
            expected="PyTorch's own operators",
            hint="export to ONNX where the extension is installed: torch.onnx.export(…)",
        )
    return ModelError(
        f"{request.path} is truncated or damaged, or of another PyTorch",
        received=printable(" ".join(str(error).split()), 300),
        expected="TorchScript that torch.jit.load takes",
        hint="TorchScript is deprecated since PyTorch 2.9: torch.export.save(torch.export.export(model, (example,)), "
        "'model.pt2') instead",
    )


def _several(request: Request, inputs: Sequence[str]) -> ModelError:
    return ModelError(
        f"{request.path} has other inputs than one tensor for pictures",
        received=printable(", ".join(inputs), 300) or "none",
        expected="one tensor",
        hint="torch.export.save writes the shapes of several inputs into a .pt2, which is read: "
        "those that are no picture are fed with zeros",
    )
