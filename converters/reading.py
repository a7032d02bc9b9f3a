"""Reads the model of an order: ONNX at once, other formats in a child process and compared with their framework."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.bundle import hash_file
from edgevision.converters.conversion import Order
from edgevision.converters.graph import onnx_file
from edgevision.converters.graph.execute import difference, run_all
from edgevision.converters.graph.index import nodes_in
from edgevision.converters.pictures import spread
from edgevision.converters.readers import KINDS, MODEL, Facts, Kind, Read, Request
from edgevision.converters.readers.child import read_in_child
from edgevision.converters.readers.formats import ONNX, recognise
from edgevision.converters.readers.probe import Feed, load_probe
from edgevision.converters.readers.torch_files import check_state_dict
from edgevision.converters.settings import before_reading
from edgevision.errors import DependencyError, ModelError, UsageError
from edgevision.frame import Image
from edgevision.onnx_header import read_header
from edgevision.progress import Progress
from edgevision.text import printable

__all__ = ["Agreement", "read_model"]

#: Pictures that ONNX and framework are compared on, and the ones where there are none of the user's own:
#: photographs of garments on a belt.
_PICTURES = 4
_OWN_PICTURES = "synthetic://conveyor?seed=7&size=640x480&frames=4&fps=0.5"
#: As in `clean`: of the largest value in the same channel. Measured on real networks: 1e-6 to 1e-4.
_TOLERANCE = 1e-3

Outputs = Sequence[Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near the ONNX model comes to its framework, over all pictures and outputs.

    Attributes:
        pictures: So many were compared.
        largest_difference: Absolute.
        relative: The largest of `edgevision.converters.graph.execute.difference`.
        cosine: The least of any output on any picture.
    """

    pictures: int
    largest_difference: float
    relative: float
    cosine: float

    def to_dict(self) -> dict[str, Any]:
        """Two digits of what is small: the rest changes with the number of threads."""
        return {
            "pictures": self.pictures,
            "largest_difference": float(f"{self.largest_difference:.1e}"),
            "relative_difference": float(f"{self.relative:.1e}"),
            "cosine": round(self.cosine, 6),
        }


def read_model(order: Order, progress: Progress) -> Read:
    """The model of an order as ONNX.

    Raises:
        UsageError: The order has options for another kind of file, or lacks one.
        ModelError: It cannot be read, is refused, or its ONNX does not do what its framework does.
        DependencyError: Its framework is not installed; the extra is named.
    """
    kind = recognise(order.model)
    if order.factory is not None and kind != "state-dict":
        raise UsageError(
            f"--factory makes the network of a state dict, and {order.model.name} is none",
            received=KINDS[kind].title if kind in KINDS else "an ONNX model, or no model",
            expected="--factory with a state dict only",
        )
    if kind == ONNX:
        model = onnx_file.load(order.model)
        data = {
            name: hash_file(order.model.parent / name) for name in onnx_file.data_files(order.model)
        }
        return Read(model, read_header(order.model), _source(order) | {"data": data})
    return _read_foreign(order, kind, progress)


def _read_foreign(order: Order, kind: str, progress: Progress) -> Read:
    known = KINDS[kind]
    if order.factory is None and kind == "state-dict":
        check_state_dict(order.model)  # no factory would help a file that is refused anyway
        raise UsageError(
            f"{order.model.name} holds weights, and no network",
            expected="--factory module:function, a function without arguments that gives the torch.nn.Module",
            hint="or save the whole model: torch.export.save(torch.export.export(model, (example,)), 'model.pt2')",
        )
    spec = before_reading(order.overrides, model_name=order.model.name).input
    _check_installed(known)
    request = Request(
        order.model.resolve(), kind, spec, order.overrides.batch, order.opset, order.factory, _pictures(order)
    )  # fmt: skip
    progress.say(f"reading {order.model.name}, {known.title}, with {known.framework}")
    with tempfile.TemporaryDirectory(prefix="edgevision-") as name:
        folder = Path(name)
        facts = read_in_child(request, folder, order.limits)
        model = onnx_file.load(folder / MODEL)
        _make_plain(model)
        onnx_file.save(model, folder / MODEL)
        agreement = _compare(order.model, model, known, *load_probe(folder))
        header = read_header(folder / MODEL)
    source = _source(order) | {
        "data": {},
        "format": kind,
        "packages": facts["packages"],
        "factory": order.factory,
        "agreement": agreement.to_dict(),
    }
    return Read(model, header, source, facts["layout"], [_sentence(known, facts, agreement)])


def _source(order: Order) -> dict[str, Any]:
    return {"file": order.model.name, "sha256": hash_file(order.model)}


def _check_installed(kind: Kind) -> None:
    """That the framework is there, and new enough; it is not imported."""
    oldest = "{}.{}".format(*kind.oldest)
    try:
        version = metadata.version(kind.package)
    except metadata.PackageNotFoundError as error:
        raise DependencyError(
            f"reading {kind.title} needs {kind.package}, which is not installed",
            expected=f"{kind.package} {oldest} or later",
            hint=f"pip install 'edgevision[{kind.extra}]'; PyTorch's wheel for CPUs is enough "
            "(--extra-index-url https://download.pytorch.org/whl/cpu)",
        ) from error
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < kind.oldest:
        raise DependencyError(
            f"reading {kind.title} needs a newer {kind.package}",
            received=version,
            expected=f"{oldest} or later",
            hint=f"pip install --upgrade 'edgevision[{kind.extra}]'",
        )


def _pictures(order: Order) -> tuple[Image, ...]:
    """The user's own, where there are any."""
    own = str(order.calibration) if order.calibration is not None else order.golden
    return tuple(spread(_OWN_PICTURES if own in ("synthetic", "none") else own, _PICTURES))


def _make_plain(model: onnx.ModelProto) -> None:
    """Takes out what exporters note down of paths, source lines and themselves: the same model, the same bytes."""
    graph = model.graph
    for item in (model, graph, *nodes_in(graph), *graph.input, *graph.output, *graph.value_info):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")


def _compare(
    path: Path,
    model: onnx.ModelProto,
    kind: Kind,
    given: Sequence[Feed],
    framework: Sequence[Sequence[NDArray[Any]]],
) -> Agreement:
    """The ONNX model in onnxruntime against what its framework gave for the same tensors."""
    if not all(np.isfinite(array).all() for found in framework for array in found):
        raise ModelError(
            f"{path} gives NaN or infinity in {kind.framework} itself",
            expected="finite numbers for every picture",
            hint="check the weights, and scale, mean and std of the preset or --config",
        )
    names = [value.name for value in model.graph.output]
    if any(len(found) != len(names) for found in framework):
        raise ModelError(
            f"the ONNX model of {path} has other outputs",
            received=f"{len(names)}: {printable(', '.join(names))}",
            expected=f"{len(framework[0])}, as in {kind.framework}",
            hint="export it to ONNX where it was made, and convert that",
        )
    taken = {value.name for value in model.graph.input}
    feeds = [{name: array for name, array in feed.items() if name in taken} for feed in given]
    wanted = [dict(zip(names, found, strict=True)) for found in framework]
    actual = run_all(model, feeds)
    relative = max(difference(a, b) for a, b in zip(wanted, actual, strict=True))
    if relative > _TOLERANCE:
        raise ModelError(
            f"the ONNX model of {path} does not do what {kind.framework} does",
            received=f"outputs that differ by {relative:.2g} of what is largest in their channel",
            expected=f"at most {_TOLERANCE} on {len(feeds)} pictures",
            hint="a model saved in training mode does that (dropout, batch norm): call its eval() and save it "
            "again; else export it to ONNX where it was made",
        )
    return _agreement(wanted, actual, relative)


def _agreement(wanted: Outputs, actual: Outputs, relative: float) -> Agreement:
    pairs = [
        (w.astype(np.float64).ravel(), a[name].astype(np.float64).ravel())
        for expected, a in zip(wanted, actual, strict=True)
        for name, w in expected.items()
    ]
    largest = max((float(np.abs(w - a).max(initial=0)) for w, a in pairs), default=0.0)
    return Agreement(len(wanted), largest, relative, min(_cosine(w, a) for w, a in pairs))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 1.0  # both are zero, or they would differ by more


def _sentence(kind: Kind, facts: Facts, agreement: Agreement) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    found = agreement.to_dict()
    return (
        f"exported {kind.title} with {packages}; on {agreement.pictures} pictures the outputs differ from "
        f"{kind.framework}'s by at most {found['largest_difference']:g} (cosine {found['cosine']:.6f})"
    )
