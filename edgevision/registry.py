"""Finds plug-ins by name: a file in ``edgevision/<kind>/`` or an entry point in ``edgevision.<kind>``.

The file's name is the plug-in's public name (``openvino_.py`` is ``openvino``: a file is not named after
the library it wraps), and its attribute ``plugin`` is what the registry hands out. Listing imports
nothing; choosing imports one file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevision.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["KINDS", "load", "names"]

KINDS = ("backends", "decoders", "sinks", "sources", "stages", "tasks")


def names(kind: str) -> list[str]:
    """All public names of a kind, the built-in ones first, without importing any of them."""
    built_in = sorted(_files(kind))
    return built_in + sorted(set(_entry_points(kind)) - set(built_in))


def load(kind: str, name: str) -> Any:
    """The plug-in called ``name``.

    Raises:
        UsageError: No such plug-in; the message lists those there are.
    """
    module = _files(kind).get(name)
    if module is not None:
        return importlib.import_module(module).plugin
    entry = _entry_points(kind).get(name)
    if entry is not None:
        return entry.load()
    raise UsageError(
        f"unknown {kind.removesuffix('s')} {name!r}",
        expected=f"one of: {', '.join(names(kind)) or 'none is installed'}",
        hint=f"a package of your own can add one by an entry point in the group 'edgevision.{kind}'",
    )


def _files(kind: str) -> dict[str, str]:
    if kind not in KINDS:
        raise ValueError(f"no such kind of plug-in: {kind!r}")
    folder = Path(__file__).parent / kind
    return {
        path.stem.rstrip("_"): f"edgevision.{kind}.{path.stem}"
        for path in folder.glob("*.py")
        if not path.stem.startswith("_")
    }


def _entry_points(kind: str) -> dict[str, EntryPoint]:
    # With email and sockets it takes 15 ms, which built-in plug-ins do without.
    from importlib import metadata

    return {entry.name: entry for entry in metadata.entry_points(group=f"edgevision.{kind}")}
