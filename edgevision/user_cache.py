"""The user's cache folder: what may be lost at any time, and is made anew then."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_cache"]


def user_cache(*parts: str) -> Path | None:
    """A folder of ours in it, made if it is not there; None if it cannot be read and written.

    https://specifications.freedesktop.org/basedir-spec/latest/: a relative path in the variable is ignored.

    Args:
        parts: Names of folders inside ``~/.cache/edgevision``.
    """
    try:
        told = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = told if told.is_absolute() else Path.home() / ".cache"
        folder = base.joinpath("edgevision", *parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None
