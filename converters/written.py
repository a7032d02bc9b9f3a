"""Reads a written variant back: that its file says of itself what was meant, by the reader that the runtime uses."""

from __future__ import annotations

from edgevision.backends import Variant
from edgevision.bundle import hash_file
from edgevision.errors import ModelError
from edgevision.metadata import spec_from_metadata
from edgevision.onnx_header import read_header
from edgevision.tensors import image_input

__all__ = ["check_written"]


def check_written(variant: Variant) -> None:
    """Compares a file with what is to be said of it.

    Args:
        variant: What was meant; its file is read.

    Raises:
        ModelError: The file has other bytes, another id, precision or spec, or an input that its spec does
            not describe.
    """
    if (
        hash_file(variant.file) != variant.sha256
        or variant.file.stat().st_size != variant.size_bytes
    ):
        raise _broken(variant, "other bytes than were hashed", variant.sha256[:16])
    header = read_header(variant.file)
    found = spec_from_metadata(header.metadata, header.inputs)
    if found is None:
        raise _broken(variant, "no spec in its metadata", "its own spec")
    if found[:2] != (variant.id, variant.precision):
        raise _broken(variant, " ".join(found[:2]), f"{variant.id} {variant.precision}")
    if found[2] != variant.spec:
        raise _broken(variant, str(found[2]), str(variant.spec))
    spec = variant.spec.input
    picture = image_input(spec, {tensor.name: tensor for tensor in header.inputs})
    sides = picture.shape[2:4] if spec.layout == "nchw" else picture.shape[1:3]
    if spec.size is not None and tuple(sides) != tuple(spec.size):
        raise _broken(
            variant, f"an input of {'×'.join(map(str, sides))}", "×".join(map(str, spec.size))
        )
    if picture.dtype != spec.dtype:
        raise _broken(variant, f"an input of {picture.dtype}", str(spec.dtype))


def _broken(variant: Variant, received: str, expected: str) -> ModelError:
    return ModelError(
        f"{variant.file.name} does not say of itself what it is",
        received=received,
        expected=expected,
        hint="this is a fault in edgevision: please report it with the model",
    )
