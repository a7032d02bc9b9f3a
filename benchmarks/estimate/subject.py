"""The ONNX file that an estimate is of: a plain one, or a variant of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevision.bundle import open_bundle
from edgevision.errors import SpecError, UsageError
from edgevision.onnx_header import read_header
from edgevision.spec import InputSpec

__all__ = ["Subject", "open_subject"]


@dataclass(frozen=True, slots=True)
class Subject:
    """The ONNX file that is looked at.

    Attributes:
        name: Of the bundle or file.
        variant: Id of the variant; empty for a file that does not say how to run it.
        file: The ONNX file.
        spec: How pictures become its input; None if it does not say.
    """

    name: str
    variant: str
    file: Path
    spec: InputSpec | None


def open_subject(path: Path, variant: str | None = None) -> Subject:
    """The file to look at: of a bundle the variant asked for, else its fp32.

    Raises:
        UsageError: There is no such variant.
        EdgevisionError: The bundle is damaged, or the file is no ONNX.
    """
    if path.is_dir():
        return _of_bundle(path, variant)
    read_header(path)  # says what is wrong with a file that is no ONNX
    if variant is not None:
        raise UsageError(f"{path} is one file, and has no variants", hint="leave --variant out")
    try:
        own = next(iter(open_bundle(path).variants.values()))
    except SpecError:  # any ONNX file can be looked at, also one that does not say how to run it
        return Subject(path.stem, "", path, None)
    return Subject(path.stem, own.id, path, own.spec.input)


def _of_bundle(path: Path, variant: str | None) -> Subject:
    bundle = open_bundle(path)
    variants = bundle.variants
    wanted = variant or ("fp32" if "fp32" in variants else next(iter(variants)))
    if wanted not in variants:
        raise UsageError(
            f"there is no variant {wanted!r} in {path}",
            expected="one of: " + ", ".join(variants),
        )
    found = variants[wanted]
    return Subject(bundle.name, found.id, found.file, found.spec.input)
