"""Another batch or input size, for a model that leaves them open; what a fixed model cannot do is said."""

from __future__ import annotations

from dataclasses import replace

from edgevision.errors import UsageError
from edgevision.onnx_header import read_header
from edgevision.spec import InputSpec, TensorSpec
from edgevision.tensors import image_input
from edgevision.variant import Variant

__all__ = ["check_batch", "resized"]


def check_batch(variant: Variant, batch: int | None) -> None:
    """Makes sure that a variant takes so many rows.

    Raises:
        UsageError: Its input has another number of rows, fixed.
    """
    if batch is None:
        return
    tensor = _picture(variant)
    rows = tensor.shape[0]
    if batch < 1 or (isinstance(rows, int) and rows != batch):
        least = "1 or more" if isinstance(rows, str) else rows
        raise UsageError(
            f"{variant.id} takes a batch of {least}, not of {batch}",
            received=f"its input is {tensor}",
            hint="convert the model with an open batch, or with --batch N",
        )


def resized(variant: Variant, size: tuple[int, int] | None) -> Variant:
    """The variant with an input of that size; the file stays the same.

    Args:
        variant: What takes pictures.
        size: Height and width of the input tensor; None leaves it as it is.

    Raises:
        UsageError: Its input has another size, fixed, or does not take such a one.
    """
    if size is None or size == variant.spec.input.size:
        return variant
    spec, tensor = variant.spec.input, _picture(variant)
    fixed = _sides(spec, tensor)
    if any(isinstance(have, int) and have != want for have, want in zip(fixed, size, strict=True)):
        raise UsageError(
            f"{variant.id} takes pictures of {_text(fixed)}, not of {_text(size)}",
            received=f"its input is {tensor}",
            hint="convert the model with an open size, or once for each size",
        )
    _check_multiple(variant, size)
    return replace(variant, spec=replace(variant.spec, input=replace(spec, size=size)))


def _check_multiple(variant: Variant, size: tuple[int, int]) -> None:
    spec = variant.spec.input
    most = spec.max_size
    if any(side < 1 or side % spec.multiple_of for side in size):
        raise UsageError(
            f"{variant.id} takes sides that are multiples of {spec.multiple_of}, not {_text(size)}",
        )
    if most is not None and (size[0] > most[0] or size[1] > most[1]):
        raise UsageError(
            f"{variant.id} takes pictures of at most {_text(most)}, not of {_text(size)}",
        )


def _picture(variant: Variant) -> TensorSpec:
    header = read_header(variant.file)
    return image_input(variant.spec.input, {tensor.name: tensor for tensor in header.inputs})


def _sides(spec: InputSpec, tensor: TensorSpec) -> tuple[int | str, int | str]:
    first = 2 if spec.layout == "nchw" else 1
    return tensor.shape[first], tensor.shape[first + 1]


def _text(size: tuple[int | str, int | str]) -> str:
    return f"{size[0]}x{size[1]}"
