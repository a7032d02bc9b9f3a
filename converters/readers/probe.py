"""Real pictures as the inputs of a model, and what a framework makes of them, kept in a file for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.converters.readers import PROBE, Request
from edgevision.errors import ModelError
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, TensorSpec
from edgevision.tensors import image_input

__all__ = ["Feed", "concrete", "feeds", "layout", "load_probe", "save_probe"]

Array = NDArray[Any]
Feed = dict[str, Array]


def layout(spec: InputSpec, inputs: Sequence[TensorSpec]) -> str | None:
    """``nchw`` or ``nhwc`` by where the picture input has its channels; None where its shape does not say."""
    shapes = [t.shape for t in inputs if len(t.shape) == 4 and spec.tensor in (None, t.name)]
    if len(shapes) != 1:
        return None
    places = [name for name, axis in (("nchw", 1), ("nhwc", 3)) if shapes[0][axis] == spec.channels]
    return places[0] if len(places) == 1 else None


def concrete(request: Request, spec: InputSpec, inputs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """The inputs with a number for every open dim: the batch, the spec's size and channels, else 1.

    Raises:
        SpecError: No input takes pictures as the spec says.
        ModelError: The size is open, and nobody says it.
    """
    picture = image_input(spec, {t.name: t for t in inputs})
    if spec.size is None and any(isinstance(d, str) for d in picture.shape[1:]):
        raise ModelError(
            f"the input of {request.path} has no size of its own",
            received=str(picture),
            expected="a size to read it at",
            hint="--size HxW",
        )
    row = spec.tensor_shape(*(spec.size or (0, 0)))
    wanted = {picture.name: (request.batch or 1, *row)}
    return [replace(t, shape=_filled(t, wanted.get(t.name, (1,) * len(t.shape)))) for t in inputs]


def feeds(request: Request, spec: InputSpec, inputs: Sequence[TensorSpec]) -> list[Feed]:
    """One feed a picture: the picture in every row of its input, zeros in the others, as `run` does it."""
    picture = image_input(spec, {t.name: t for t in inputs}).name
    made = []
    for image in request.pictures:
        feed = {t.name: np.zeros(tuple(map(int, t.shape)), t.dtype) for t in inputs}
        tensor = feed[picture]
        height, width = tensor.shape[2:] if spec.layout == "nchw" else tensor.shape[1:3]
        loader = Preprocessor(replace(spec, size=(height, width)), tensor)
        for row in range(len(tensor)):
            loader.load(image, row)
        made.append(feed)
    return made


def save_probe(folder: Path, given: Sequence[Feed], outputs: Sequence[Sequence[Array]]) -> None:
    """Keeps what a framework was given, by name, and what it gave, in order."""
    arrays: dict[str, Array] = {}
    for number, (feed, found) in enumerate(zip(given, outputs, strict=True)):
        arrays |= {f"{number}.in.{name}": array for name, array in feed.items()}
        arrays |= {f"{number}.out.{place}": array for place, array in enumerate(found)}
    np.savez(folder / PROBE, **arrays)  # type: ignore[arg-type]


def load_probe(folder: Path) -> tuple[list[Feed], list[list[Array]]]:
    """What `save_probe` kept."""
    given: list[Feed] = []
    outputs: list[list[Array]] = []
    with np.load(folder / PROBE, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, side, name = key.split(".", 2)
            if int(number) == len(given):
                given.append({})
                outputs.append([])
            if side == "in":
                given[-1][name] = arrays[key]
            else:
                outputs[-1].append(arrays[key])
    return given, outputs


def _filled(tensor: TensorSpec, wanted: Sequence[int]) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else w for d, w in zip(tensor.shape, wanted, strict=True))
