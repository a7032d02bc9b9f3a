"""Where an engine keeps compiled models: in the user's cache, by version, model and settings, never used damaged.

An engine may believe what it finds there: of a file with a page of zeros in its weights OpenVINO makes wrong
results without a word (2026.4.1). So each file has its hash beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevision.bundle import hash_file
from edgevision.variant import Variant

__all__ = ["cache_folder", "seal"]

_SEAL = ".sha256"


def cache_folder(
    library: str, version: str, variant: Variant, settings: Mapping[str, Any]
) -> Path | None:
    """The folder for what is compiled of a variant, with nothing damaged in it; None if there can be none.

    https://specifications.freedesktop.org/basedir-spec/latest/: a relative path in the variable is ignored.

    Args:
        library: The engine.
        version: Its version.
        variant: What is compiled.
        settings: What it is compiled for; their values must be fit for a file's name.
    """
    try:
        told = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = told if told.is_absolute() else Path.home() / ".cache"
        model = (variant.sha256 or hash_file(variant.file))[:32]
        name = "-".join(map(str, settings.values()))
        folder = base / "edgevision" / library / version / model / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _drop_damaged(folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None


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
