"""Models of other frameworks: what a reader is asked, what it leaves behind, and what it became.

A reader is one file with a function ``read``. It runs in a child process (`child`), is the only place that
imports its framework, and looks at a file before the framework may: what carries code is refused by reading it
as data. It writes ``model.onnx`` and ``probe.npz``, the framework's own outputs, into the folder it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import onnx

from edgevision.frame import Image
from edgevision.onnx_header import OnnxHeader
from edgevision.spec import InputSpec

__all__ = ["KINDS", "MODEL", "PROBE", "Facts", "Kind", "Read", "Reader", "Request"]

#: Names of the files that a reader writes.
MODEL = "model.onnx"
PROBE = "probe.npz"

#: What a reader says: ``packages`` {name → version}, ``layout`` of the picture input, or None where it has none.
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        title: For people.
        framework: Likewise.
        package: What has to be installed to read it.
        oldest: The oldest version of it that the tests were run with.
        extra: The extra of edgevision that brings it.
        module: Where its reader is.
    """

    title: str
    framework: str
    package: str
    oldest: tuple[int, int]
    extra: str
    module: str


_TORCH = ("PyTorch", "torch", (2, 13), "torch", "edgevision.converters.readers.onnx_from_torch")
_KERAS = ("Keras", "keras", (3, 12), "keras", "edgevision.converters.readers.onnx_from_keras")

KINDS = {
    "torch-export": Kind("a program of torch.export", *_TORCH),
    "torchscript": Kind("TorchScript", *_TORCH),
    "state-dict": Kind("a PyTorch state dict", *_TORCH),
    "keras": Kind("a Keras model", *_KERAS),
    "keras-h5": Kind("a Keras model in HDF5", *_KERAS),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a reader is asked.

    Attributes:
        path: The file, absolute.
        kind: A key of `KINDS`.
        spec: How pictures become the input, as far as it is known before the model is.
        batch: Rows of the input where the file leaves them open; None is 1.
        opset: Least opset to write.
        factory: ``module:function`` that makes the network of a state dict.
        pictures: To compare on, uint8 ``(H, W, 3)`` BGR.
    """

    path: Path
    kind: str
    spec: InputSpec
    batch: int | None
    opset: int
    factory: str | None
    pictures: tuple[Image, ...] = field(repr=False)


class Reader(Protocol):
    """The function ``read`` of a reader's module."""

    def __call__(self, request: Request, folder: Path) -> Facts:
        """Writes `MODEL` and `PROBE` into ``folder``.

        Raises:
            EdgevisionError: The file is refused, cannot be read or has no ONNX equivalent.
        """
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """A model that was read, whatever it was read from.

    Attributes:
        model: The ONNX model, all weights in memory.
        header: What it says about itself.
        source: For the provenance: ``file``, ``sha256``, ``data`` and, where it was no ONNX file, ``format``,
            ``packages`` and ``agreement`` with the framework.
        layout: Of the picture input, where the reader knows it.
        changes: What was done to make it ONNX, one sentence each.
    """

    model: onnx.ModelProto
    header: OnnxHeader
    source: dict[str, Any]
    layout: str | None = None
    changes: list[str] = field(default_factory=list)
