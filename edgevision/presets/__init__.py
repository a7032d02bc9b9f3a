"""Input and output specs of well-known model families, as data: one JSON file each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.errors import UsageError

__all__ = ["load", "names"]

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The presets there are, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """A preset as a new dict: ``description``, ``source``, ``task``, ``input`` and ``output``.

    ``input`` and ``output`` are what `InputSpec.from_dict` and `OutputSpec.from_dict` take. A model
    with a fixed input size of its own overrides ``input["size"]``.

    Raises:
        UsageError: No such preset; the message lists those there are.
    """
    # Looked up in the list, so that a name can never be a path.
    if name not in names():
        raise UsageError(f"unknown preset {name!r}", expected=f"one of: {', '.join(names())}")
    preset: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return preset
