"""Keras to ONNX: ``.keras`` and HDF5 files, by way of Keras' PyTorch backend.

There a Keras model is a network of PyTorch, and takes the same way as any other (`onnx_from_torch`). Keras' own
``model.export`` does likewise; its other backends need TensorFlow and tf2onnx, or JAX and jax2onnx.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from edgevision.converters.graph.onnx_file import save
from edgevision.converters.readers import MODEL, Facts, Request
from edgevision.converters.readers.keras_config import (
    check_config,
    config_of_archive,
    parse_config,
)
from edgevision.converters.readers.onnx_from_torch import onnx_of_program, outputs_of, traced
from edgevision.converters.readers.probe import concrete, feeds, layout, save_probe
from edgevision.errors import ModelError
from edgevision.spec import TensorSpec
from edgevision.text import printable

__all__ = ["read"]

_PACKAGES = ("keras", "torch", "onnxscript")
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_SUFFIXES = {"keras": ".keras", "keras-h5": ".h5"}


def read(request: Request, folder: Path) -> Facts:
    """Writes a Keras model as ONNX; see `edgevision.converters.readers.Reader`."""
    config = (
        config_of_archive(request.path)
        if request.kind == "keras"
        else _config_of_hdf5(request.path)
    )
    check_config(request.path, config)
    model = _loaded(request, folder)
    inputs = _inputs(request, model)
    spec = replace(request.spec, layout=layout(request.spec, inputs) or request.spec.layout)
    given = feeds(request, spec, concrete(request, spec, inputs))
    network = _flat(model)
    found = [outputs_of(network, feed) for feed in given]
    program = traced(request, network, given[0])
    exported = onnx_of_program(request, program, [tensor.name for tensor in inputs])
    _sums_for_differences(exported.graph)
    save(exported, folder / MODEL)
    save_probe(folder, given, found)
    return {
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "layout": spec.layout,
    }


def _config_of_hdf5(path: Path) -> dict[str, Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise ModelError(
            f"{path} is truncated or damaged",
            received=printable(str(error), 300),
            expected="a whole HDF5 file",
            hint="save or download it again",
        ) from error
    if text is None:
        raise ModelError(
            f"{path} holds weights, and no network",
            received="an HDF5 file without the attribute model_config",
            expected="a whole model",
            hint="where the network is defined: load the weights, then model.save('model.keras')",
        )
    return parse_config(path, text)


def _loaded(request: Request, folder: Path) -> Any:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    link = folder / f"model{_SUFFIXES[request.kind]}"  # Keras goes by the name, we by the content
    link.symlink_to(request.path)
    try:
        model = keras.saving.load_model(str(link), compile=False, safe_mode=True)
    except (TypeError, ValueError, KeyError, OSError, AttributeError) as error:
        raise _not_loaded(request, error) from error
    finally:
        link.unlink()
    model.eval()
    return model


def _inputs(request: Request, model: Any) -> list[TensorSpec]:
    """The model's inputs, by the names they have in it."""
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise ModelError(
            f"{request.path} does not say what it takes",
            received="a model that was never called",
            expected="a Functional or Sequential model with an Input",
            hint="add keras.Input(shape) as its first layer and save it again",
        )
    return [
        TensorSpec(
            tensor.name,
            str(tensor.dtype),
            tuple(f"d{axis}" if d is None else int(d) for axis, d in enumerate(tensor.shape)),
        )
        for tensor in tensors
    ]


def _flat(model: Any) -> Any:
    """The model as a network that takes its inputs one after another, whatever they are packed in."""
    if len(model.inputs) == 1:
        return model
    import torch
    from keras import tree

    structure = model._inputs_struct

    class Flat(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return self.model(tree.pack_sequence_as(structure, list(tensors)))

    return Flat().eval()


def _sums_for_differences(graph: onnx.GraphProto) -> None:
    """Writes ``x − c`` as ``x + (−c)``, which is the same number for every ``x``.

    Keras' batch norm subtracts its mean, and onnxruntime merges sums and products into the convolution before
    them, but no difference: a layer would be left in float behind every INT8 convolution.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        constant = constants.get(node.input[1]) if node.op_type == "Sub" else None
        if constant is None or constant.data_type not in _FLOATS:
            continue
        negative = numpy_helper.from_array(
            -numpy_helper.to_array(constant), f"{constant.name}_negative"
        )
        if negative.name not in constants:
            constants[negative.name] = negative
            graph.initializer.append(negative)
        node.op_type, node.input[1] = "Add", negative.name


def _not_loaded(request: Request, error: Exception) -> ModelError:
    said = " ".join(str(error).split())
    unknown = re.search(r"Unknown (?:layer|object)[^']*'([^']+)'|locate class '([^']+)'", said)
    if unknown is not None:
        return ModelError(
            f"{request.path} needs a class or function that Keras does not know",
            received=printable(unknown[1] or unknown[2]),
            expected="layers of Keras 3",
            hint="export it where the class is defined: model.export('model.onnx', format='onnx'), and convert that",
        )
    return ModelError(
        f"Keras cannot load {request.path}",
        received=printable(f"{type(error).__name__}: {said}", 300),
        expected="a whole model that Keras 3 reads",
        hint="save it again with a current Keras: model.save('model.keras')",
    )
