"""Finds out how a model is run: from a preset, a config file or its own metadata, then what the user overrides."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevision import presets, registry
from edgevision.errors import SpecError, UsageError
from edgevision.metadata import spec_from_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec
from edgevision.tensors import image_input
from edgevision.text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same module under its former name
    import tomli as tomllib

__all__ = ["Overrides", "before_reading", "fixed_shapes", "read_labels", "resolve"]

_LARGEST_TEXT = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user says about the model on the command line; None where nothing was said.

    Attributes:
        preset: Name of a preset.
        config: A TOML file with ``task``, ``labels``, ``[input]``, ``[output]``.
        task: Registry name.
        decoder: Registry name.
        labels: A file with one name a line.
        size: ``(height, width)`` of the input.
        batch: Rows of the input.
    """

    preset: str | None = None
    config: Path | None = None
    task: str | None = None
    decoder: str | None = None
    labels: Path | None = None
    size: tuple[int, int] | None = None
    batch: int | None = None


def before_reading(asked: Overrides, *, model_name: str) -> ModelSpec:
    """What is known of a model before it is ONNX: what the user said.

    Raises:
        UsageError: Nothing says how the model is run, or two things do.
        SpecError: What says it is wrong.
    """
    spec = _base(asked, {}, (), model_name)
    return replace(spec, input=replace(spec.input, size=asked.size)) if asked.size else spec


def resolve(
    asked: Overrides,
    metadata: Mapping[str, str],
    inputs: Sequence[TensorSpec],
    *,
    model_name: str,
    layout: str | None = None,
) -> ModelSpec:
    """The spec of a model.

    Args:
        asked: What the user said.
        metadata: The ONNX file's own.
        inputs: The model's inputs, as declared.
        model_name: For messages.
        layout: Of the picture input, in place of the preset's: the reader saw where its channels are.

    Raises:
        UsageError: Nothing says how the model is run, or two things do.
        SpecError: What says it is wrong, or does not fit the inputs.
    """
    spec = _base(asked, metadata, inputs, model_name)
    if layout is not None:
        spec = replace(spec, input=replace(spec.input, layout=layout))
    if not spec.labels:
        spec = replace(spec, labels=_own_labels(metadata, inputs))
    if asked.task is not None:
        spec = replace(spec, task=asked.task)
    if asked.decoder is not None:
        spec = replace(spec, output=OutputSpec(asked.decoder))
    if asked.labels is not None:
        spec = replace(spec, labels=read_labels(asked.labels))
    by_name = {t.name: t for t in inputs}
    picture = image_input(spec.input, by_name)
    sized = _sized(spec.input, asked.size, picture)
    return replace(spec, input=replace(sized, tensor=picture.name))


def fixed_shapes(
    spec: ModelSpec, inputs: Sequence[TensorSpec], batch: int | None
) -> dict[str, list[int | str]]:
    """The shapes to clean the graph with: the picture input's by the spec, open dims of others set to 1."""
    picture = image_input(spec.input, {t.name: t for t in inputs})
    shapes: dict[str, list[int | str]] = {
        t.name: [dim if isinstance(dim, int) else 1 for dim in t.shape] for t in inputs
    }
    size: tuple[int | str, int | str] = spec.input.size or ("height", "width")
    channels = spec.input.channels
    sides: list[int | str] = [channels, *size] if spec.input.layout == "nchw" else [*size, channels]
    shapes[picture.name] = [batch or 1, *sides]
    return shapes


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line; empty lines at the end do not count.

    Raises:
        SpecError: The file is missing, no text, or has an empty name in the middle.
    """
    text = _read_text(path, "a text file with one class name a line")
    names = [printable(line.strip()) for line in text.rstrip().splitlines()]
    if not names or not all(names):
        raise SpecError(
            f"{path} is no list of labels",
            received=f"an empty name in line {names.index('') + 1}" if names else "no names",
            expected="one class name a line, in the order of the model's classes",
        )
    return tuple(names)


def _base(
    asked: Overrides, metadata: Mapping[str, str], inputs: Sequence[TensorSpec], model_name: str
) -> ModelSpec:
    if asked.preset is not None and asked.config is not None:
        raise UsageError(
            "--preset and --config both say how the model is run", expected="one of them"
        )
    if asked.preset is not None:
        return ModelSpec.from_dict(presets.load(asked.preset))
    if asked.config is not None:
        return ModelSpec.from_dict(_config(asked.config))
    found = spec_from_metadata(metadata, inputs)
    if found is None:
        raise UsageError(
            f"{model_name} does not say how it is run",
            received="inputs " + "; ".join(map(str, inputs)) if inputs else "",
            expected="--preset, --config, or a model exported by Ultralytics or edgevision",
            hint=f"--preset with one of: {', '.join(presets.names())}; what none of them fits takes --config "
            f"(docs/convert.md), if its task is {', '.join(registry.names('tasks'))}",
        )
    return found[2]


def _own_labels(metadata: Mapping[str, str], inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The class names that the file carries, where a preset or a config says only how it is run."""
    try:
        found = spec_from_metadata(metadata, inputs)
    except SpecError:  # a preset is also the way out of metadata that cannot be used
        return ()
    return found[2].labels if found is not None else ()


def _config(path: Path) -> dict[str, Any]:
    text = _read_text(path, "a TOML file with task, labels, [input] and [output]")
    try:
        config: dict[str, Any] = tomllib.loads(text)
        return config
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is no TOML: {error}", hint="docs/convert.md shows one") from error


def _read_text(path: Path, expected: str) -> str:
    try:
        with path.open("rb") as file:  # perhaps a pipe, which has no size
            data = file.read(_LARGEST_TEXT + 1)
        if len(data) > _LARGEST_TEXT:
            received = f"more than {_LARGEST_TEXT:,} bytes"
            raise SpecError(f"{path} is too large", received=received, expected=expected)
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is no text in UTF-8", expected=expected) from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}", expected=expected) from error


def _sized(spec: InputSpec, asked: tuple[int, int] | None, picture: TensorSpec) -> InputSpec:
    """The size that was asked for, else the model's own where it is fixed, else the spec's."""
    if asked is not None:
        return replace(spec, size=asked)
    height, width = picture.shape[2:4] if spec.layout == "nchw" else picture.shape[1:3]
    if not (isinstance(height, int) and isinstance(width, int)):
        return spec
    if spec.size is None and spec.max_size is not None:  # what it was exported at says nothing
        raise UsageError(
            f"the file declares {height}×{width}, but this model takes any multiple of {spec.multiple_of}",
            expected="the size that it is to run at",
            hint=f"--size HxW, such as --size 480x640; --size {height}x{width} if that is meant",
        )
    return replace(spec, size=(height, width))
