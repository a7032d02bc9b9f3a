"""What was measured on calibration frames as one file, which says what it belongs to and is never used damaged.

The first line is JSON: ``schema``, ``facts`` (what was measured, on what, with what) and ``sha256`` of the rest. The
rest is a NumPy archive of plain arrays; nothing in it is looked at before its hash was.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.bundle import canonical_json
from edgevision.converters.int8.calibrate import Calibration
from edgevision.converters.int8.histograms import Histogram
from edgevision.converters.int8.ranges import TensorRange
from edgevision.converters.int8.write import IntegerLayer

__all__ = ["UnfitError", "from_bytes", "read_facts", "to_bytes"]

_SCHEMA = 2
_HISTOGRAMS = "histograms"
_HARM = "harm"

Array = NDArray[Any]
Arrays = Mapping[str, Array]


class UnfitError(ValueError):
    """A file cannot be used; its text says why, as a clause."""


def to_bytes(measured: Calibration, facts: Mapping[str, Any]) -> bytes:
    """The file; equal measurements give equal bytes.

    Args:
        measured: What was measured.
        facts: What it belongs to; JSON with plain types.
    """
    archive = io.BytesIO()
    np.savez(archive, **dict(_arrays(measured)))  # type: ignore[arg-type]  # of its allow_pickle
    payload = archive.getvalue()
    digest = hashlib.sha256(payload).hexdigest()
    header = canonical_json({"schema": _SCHEMA, "facts": facts, "sha256": digest})
    return header + b"\n" + payload


def from_bytes(data: bytes, facts: Mapping[str, Any]) -> Calibration:
    """The inverse of `to_bytes`.

    Args:
        data: The file.
        facts: What it has to belong to.

    Raises:
        UnfitError: It belongs to something else, or is damaged.
    """
    header = _header(data)
    if header["facts"] != facts:
        raise UnfitError("it was measured on something else than its name says")
    payload = data.partition(b"\n")[2]
    if hashlib.sha256(payload).hexdigest() != header.get("sha256"):
        raise UnfitError("it is damaged: its hash is another")
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            return _calibration(arrays)
    except Exception as error:  # made by hand: an archive can be wrong in many ways
        raise UnfitError(f"it does not hold a calibration ({type(error).__name__})") from error


def read_facts(data: bytes) -> dict[str, Any]:
    """What a file says that it belongs to.

    Raises:
        UnfitError: It does not say so.
    """
    facts: dict[str, Any] = _header(data)["facts"]
    return facts


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.partition(b"\n")[0])
    except (ValueError, RecursionError) as error:
        raise UnfitError("it is damaged: it does not begin as a calibration does") from error
    if not isinstance(header, dict) or not isinstance(header.get("facts"), dict):
        raise UnfitError("it is damaged: it does not say what it belongs to")
    if header.get("schema") != _SCHEMA:
        raise UnfitError("it is of another version of this file format")
    return header


def _arrays(measured: Calibration) -> Iterator[tuple[str, Array]]:
    seen = list(measured.ranges.values())
    text = {
        "scheme": measured.scheme,
        "exclude": list(measured.exclude),
        "warnings": list(measured.warnings),
        "ranges": list(measured.ranges),
        "rounded": list(measured.rounded),
        _HISTOGRAMS: list(measured.histograms),
        _HARM: list(measured.harm),
    }
    yield "text", np.frombuffer(json.dumps(text).encode(), np.uint8)
    yield "extremes", np.array([(r.low, r.high, r.mean_low, r.mean_high) for r in seen])
    yield "frames", np.array([(r.frames, r.non_finite) for r in seen], np.int64)
    if measured.histograms:
        yield _HISTOGRAMS, np.stack([h.counts for h in measured.histograms.values()])
    for method, noises in measured.harm.items():
        tensors = json.dumps(list(noises)).encode()
        yield f"{_HARM}/{method}/tensors", np.frombuffer(tensors, np.uint8)
        yield f"{_HARM}/{method}", np.array(list(noises.values()), np.float64)
    for number, layer in enumerate(measured.rounded.values()):
        yield f"weights/{number}", layer.weights
        yield f"scales/{number}", layer.scales
        if layer.bias is not None:
            yield f"bias/{number}", layer.bias


def _calibration(arrays: Arrays) -> Calibration:
    text = json.loads(arrays["text"].tobytes())
    rows = zip(text["ranges"], arrays["extremes"].tolist(), arrays["frames"].tolist(), strict=True)
    ranges = {name: TensorRange(*extremes, *counts) for name, extremes, counts in rows}
    counts = arrays[_HISTOGRAMS] if text[_HISTOGRAMS] else ()
    return Calibration(
        scheme=text["scheme"],
        exclude=tuple(text["exclude"]),
        ranges=ranges,
        rounded={name: _layer(arrays, number) for number, name in enumerate(text["rounded"])},
        warnings=tuple(text["warnings"]),
        histograms={
            name: Histogram(ranges[name].low, ranges[name].high, row)
            for name, row in zip(text[_HISTOGRAMS], counts, strict=True)
        },
        harm={method: _noises(arrays, f"{_HARM}/{method}") for method in text[_HARM]},
    )


def _noises(arrays: Arrays, name: str) -> dict[str, float]:
    tensors = json.loads(arrays[f"{name}/tensors"].tobytes())
    return dict(zip(tensors, arrays[name].tolist(), strict=True))


def _layer(arrays: Arrays, number: int) -> IntegerLayer:
    bias = f"bias/{number}"
    return IntegerLayer(
        arrays[f"weights/{number}"],
        arrays[f"scales/{number}"],
        arrays.get(bias),
    )
