"""Optimization profiles: least, best and most dims of every input that has open ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from edgevision.converters.engine.order import Range
from edgevision.errors import UsageError
from edgevision.spec import InputSpec, Shape, TensorSpec

__all__ = ["parse_shape", "parse_shapes", "profile_text", "ranges_for"]


def parse_shapes(texts: Sequence[str]) -> dict[str, Range]:
    """Several of ``--shape``, each for an input of its own.

    Raises:
        UsageError: One is no range, or two are for one input.
    """
    ranges: dict[str, Range] = {}
    for text in texts:
        name, shapes = parse_shape(text)
        if name in ranges:
            raise UsageError(
                f"--shape names {name!r} twice",
                hint="one engine takes one range of each input: build another with --engine-dir",
            )
        ranges[name] = shapes
    return ranges


def parse_shape(text: str) -> tuple[str, Range]:
    """``images=1x3x64x64..4x3x64x64..8x3x64x64``; one shape stands for all three, two for least and most.

    Raises:
        UsageError: It is no such range, or the three do not rise.
    """
    name, _, ends = text.rpartition("=")
    shapes = [_dims(part) for part in ends.split("..")]
    if not name or len(shapes) > 3 or None in shapes:
        raise UsageError(
            f"--shape {text!r} is no range of shapes",
            expected="NAME=LEAST..BEST..MOST, such as images=1x3x640x640..4x3x640x640..8x3x640x640",
        )
    dims = [shape for shape in shapes if shape is not None]
    least, best, most = {1: dims * 3, 2: [dims[0], dims[-1], dims[-1]], 3: dims}[len(dims)]
    rising = len(least) == len(best) == len(most) and all(
        a <= b <= c for a, b, c in zip(least, best, most, strict=True)
    )
    if not rising:
        raise UsageError(
            f"the shapes of --shape {text!r} do not rise",
            expected="as many dims in each, and none smaller than before",
        )
    return name, (least, best, most)


def ranges_for(
    inputs: Sequence[TensorSpec], spec: InputSpec, given: Mapping[str, Range], batch: int
) -> dict[str, Range]:
    """The range of every input with open dims.

    1. What was given counts, if it fits the input's fixed dims.
    2. An open first dim is the batch: 1, 1, ``batch``.
    3. Open height and width of the picture follow from the input spec: its size, else from one step of
       ``multiple_of`` to ``max_size``, best at the most.

    Args:
        inputs: Of the ONNX file.
        spec: How a picture becomes the input.
        given: By ``--shape``.
        batch: Most rows.

    Raises:
        UsageError: A given range fits no input, a dim stays open, or no input is left to take the batch.
    """
    names = [tensor.name for tensor in inputs]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UsageError(
            f"--shape names {unknown[0]!r}, and the model has no such input",
            expected="one of: " + ", ".join(names),
        )
    ranges = {}
    for tensor in inputs:
        if tensor.name in given:
            _check_fits(tensor, given[tensor.name])
            ranges[tensor.name] = given[tensor.name]
        elif not all(isinstance(dim, int) for dim in tensor.shape):
            ranges[tensor.name] = _range(tensor, spec, batch)
    if batch > 1 and not any(_open_batch(t) for t in inputs if t.name not in given):
        raise UsageError(
            f"--batch {batch} fits no input of this model",
            received=", ".join(f"{t.name} {'x'.join(map(str, t.shape))}" for t in inputs),
            expected="an input whose first dim is open, and that --shape does not name",
            hint="leave --batch out; or export the model with its batch open, and convert it again",
        )
    return ranges


def profile_text(inputs: Sequence[TensorSpec], ranges: Mapping[str, Range]) -> str:
    """The profile as an engine's key has it: every input by name, fixed ones with one shape."""
    parts = []
    for tensor in sorted(inputs, key=lambda tensor: tensor.name):
        shapes = ranges.get(tensor.name, (tensor.shape,) * 3)
        texts = ["x".join(map(str, shape)) for shape in shapes]
        parts.append(f"{tensor.name}={texts[0] if len(set(texts)) == 1 else '..'.join(texts)}")
    return ",".join(parts)


def _dims(text: str) -> tuple[int, ...] | None:
    fine = re.fullmatch(r"[1-9]\d{0,5}(x[1-9]\d{0,5})*", text)
    return tuple(int(dim) for dim in text.split("x")) if fine else None


def _check_fits(tensor: TensorSpec, shapes: Range) -> None:
    for shape in shapes:
        fits = len(shape) == len(tensor.shape) and all(
            not isinstance(fixed, int) or fixed == dim
            for fixed, dim in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise UsageError(
                f"--shape does not fit the input {tensor.name!r}",
                received="x".join(map(str, shape)),
                expected="x".join(map(str, tensor.shape)) + ", numbers as they stand",
            )


def _open_batch(tensor: TensorSpec) -> bool:
    return bool(tensor.shape) and not isinstance(tensor.shape[0], int)


def _range(tensor: TensorSpec, spec: InputSpec, batch: int) -> Range:
    least, most = list(tensor.shape), list(tensor.shape)
    if _open_batch(tensor):
        least[0], most[0] = 1, batch
    if len(tensor.shape) == 4 and spec.tensor in (None, tensor.name):
        place = 2 if spec.layout == "nchw" else 1
        smallest = spec.size or (spec.multiple_of,) * 2
        largest = spec.size or spec.max_size
        for axis in (0, 1):
            if largest is not None and not isinstance(tensor.shape[place + axis], int):
                least[place + axis], most[place + axis] = smallest[axis], largest[axis]
    low, high = _whole(tensor, least), _whole(tensor, most)
    best = (low[0], *high[1:])
    return low, best, high


def _whole(tensor: TensorSpec, shape: Sequence[int | str]) -> tuple[int, ...]:
    if not all(isinstance(dim, int) for dim in shape):
        dims: Shape = tensor.shape
        raise UsageError(
            f"the input {tensor.name!r} has open dims, and nothing says how large they get",
            received="x".join(map(str, dims)),
            hint=f"--shape {tensor.name}=LEAST..BEST..MOST, each with {len(dims)} dims joined by x",
        )
    return tuple(int(dim) for dim in shape)
