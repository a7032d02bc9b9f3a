"""Where an engine keeps compiled models: in the user's cache, by version, model and settings, never used damaged.

An engine may believe what it finds there: of a file with a page of zeros in its weights OpenVINO makes wrong
results without a word (2026.4.1). So each file has its hash beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevision.bundle import hash_file
from edgevision.user_cache import user_cache
from edgevision.variant import Variant

__all__ = ["cache_folder", "seal"]

_SEAL = ".sha256"


def cache_folder(
    library: str, version: str, variant: Variant, settings: Mapping[str, Any]
) -> Path | None:
    """The folder for what is compiled of a variant, with nothing damaged in it; None if there can be none.

    Args:
        library: The engine.
        version: Its version.
        variant: What is compiled.
        settings: What it is compiled for; their values must be fit for a file's name.
    """
    try:
        model = (variant.sha256 or hash_file(variant.file))[:32]
        folder = user_cache(library, version, model, "-".join(map(str, settings.values())))
        if folder is not None:
            _drop_damaged(folder)
    except OSError:
        return None
    return folder


def seal(folder: Path) -> None:
    """Writes the hash of each file beside it; called when the engine has written one."""
    with suppress(OSError):  # a file without its hash counts as damaged
        for file in _files(folder):
            _seal_of(file).write_text(hash_file(file))


def _drop_damaged(folder: Path) -> None:
    for file in _files(folder):
        seal_file = _seal_of(file)
        if not seal_file.exists() or seal_file.read_bytes() != hash_file(file).encode():
            file.unlink(missing_ok=True)  # another process may have been faster


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix != _SEAL]


def _seal_of(file: Path) -> Path:
    return file.with_name(file.name + _SEAL)
