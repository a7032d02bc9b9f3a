"""The sizes at which a model is looked at: what it declares, and what the user says where that is left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgevision.errors import UsageError
from edgevision.spec import InputSpec, TensorSpec
from edgevision.text import printable

__all__ = ["input_shapes", "parse_shape", "parse_size"]

_CHANNELS = (1, 3, 4)
_LARGEST = 65536


def parse_size(text: str) -> tuple[int, int]:
    """``640`` or ``480x640`` → height and width.

    Raises:
        UsageError: It is neither.
    """
    dims = _dims(text)
    if dims is None or len(dims) > 2:
        raise UsageError(f"--size {printable(text)} is no size", expected="HxW, such as 480x640")
    return dims[0], dims[-1]


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``images=1x3x640x640`` → the input's name and whole shape.

    Raises:
        UsageError: It is written otherwise.
    """
    name, equals, sizes = text.rpartition("=")
    dims = _dims(sizes)
    if not equals or not name or dims is None:
        raise UsageError(
            f"--shape {printable(text)} cannot be read",
            expected="NAME=DIMS, such as images=1x3x640x640",
        )
    return name, dims


def input_shapes(
    inputs: Sequence[TensorSpec],
    *,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    named: Mapping[str, tuple[int, ...]] | None = None,
    spec: InputSpec | None = None,
) -> dict[str, tuple[int, ...]]:
    """A whole shape for each input.

    Args:
        inputs: As the model declares them.
        size: Height and width of inputs with four dimensions, also of those that declare both: files do
            that and take others.
        batch: First dimension of every input; where it is open and nothing is said, it is 1.
        named: Whole shapes by input; they go before all else.
        spec: How pictures become the input, where that is known: it may say size and layout.

    Raises:
        UsageError: A dimension is still open, or ``named`` fits no input; says what to pass.
    """
    named = dict(named or {})
    known = {tensor.name for tensor in inputs}
    for name in named:
        if name not in known:
            raise UsageError(
                f"the model has no input {printable(name)!r}",
                expected="one of: " + ", ".join(printable(tensor.name) for tensor in inputs),
            )
    shapes = {t.name: named.get(t.name) or _shape(t, size, batch, spec) for t in inputs}
    for tensor in inputs:
        if len(shapes[tensor.name]) != len(tensor.shape) and tensor.shape:
            raise UsageError(
                f"input {printable(tensor.name)!r} has {len(tensor.shape)} dimensions",
                received="×".join(map(str, shapes[tensor.name])),
                expected="×".join(printable(str(dim), 20) for dim in tensor.shape),
            )
    return shapes


def _shape(
    tensor: TensorSpec, size: tuple[int, int] | None, batch: int | None, spec: InputSpec | None
) -> tuple[int, ...]:
    dims = list(tensor.shape)
    if len(dims) > 1 and (batch is not None or isinstance(dims[0], str)):
        dims[0] = batch or 1
    row = 1 if len(dims) == 4 and _channels_last(tensor, spec) else 2
    if len(dims) == 4:
        wanted = size or (spec.size if spec is not None else None)
        declared = dims[row : row + 2]
        if wanted is not None and (size is not None or any(isinstance(d, str) for d in declared)):
            dims[row : row + 2] = _sized(tensor, declared, wanted)
    numbers = tuple(dim for dim in dims if isinstance(dim, int))
    if len(numbers) < len(dims):
        raise _open(tensor, dims, row)
    return numbers


def _sized(
    tensor: TensorSpec, declared: Sequence[int | str], wanted: tuple[int, int]
) -> tuple[int, int]:
    """The size that is wanted, unless one side of it is fixed, and the other open: then it is meant."""
    pairs = zip(declared, wanted, strict=True)
    if any(isinstance(d, str) for d in declared) and any(
        isinstance(d, int) and d != w for d, w in pairs
    ):
        raise UsageError(
            f"input {printable(tensor.name, 60)!r} does not take that size",
            received="x".join(map(str, wanted)),
            expected="x".join(str(d) if isinstance(d, int) else "any" for d in declared),
        )
    return wanted


def _channels_last(tensor: TensorSpec, spec: InputSpec | None) -> bool:
    if spec is not None and spec.tensor in (None, tensor.name):
        return spec.layout == "nhwc"
    return tensor.shape[3] in _CHANNELS and tensor.shape[1] not in _CHANNELS


def _open(tensor: TensorSpec, dims: Sequence[int | str], row: int) -> UsageError:
    name = printable(tensor.name, 60)
    others = [*dims[:row], *dims[row + 2 :]]
    if len(dims) == 4 and all(isinstance(dim, int) for dim in others):
        sides = (str(dim) if isinstance(dim, int) else "640" for dim in dims[row : row + 2])
        hint = f"--size HxW, such as --size {'x'.join(sides)}"
    else:
        whole = "x".join(str(dim) if isinstance(dim, int) else "N" for dim in dims)
        hint = f"--shape {name}={whole} with a number for each N"
    return UsageError(
        f"the model leaves sizes of its input {name!r} open",
        received="×".join(printable(str(dim), 20) for dim in tensor.shape),
        expected="numbers: the work depends on them",
        hint=hint,
    )


def _dims(text: str) -> tuple[int, ...] | None:
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        return None
    dims = tuple(int(part) for part in parts)
    return dims if all(0 < dim <= _LARGEST for dim in dims) and len(dims) <= 8 else None
