"""The user's folders; of them the cache: what may be lost at any time, and is made anew then."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_cache", "user_folder"]


def user_folder(variable: str, usual: str) -> Path | None:
    """Our folder among the user's, which may not be there yet; None if the user has no home.

    https://specifications.freedesktop.org/basedir-spec/latest/: a relative path in the variable is ignored.

    Args:
        variable: Names the base folder in the environment, such as ``XDG_CACHE_HOME``.
        usual: The base folder below the home where the variable is not set.
    """
    told = Path(os.environ.get(variable, ""))
    try:
        return (told if told.is_absolute() else Path.home() / usual) / "edgevision"
    except RuntimeError:
        return None


def user_cache(*parts: str) -> Path | None:
    """A folder of ours in it, made if it is not there; None if it cannot be read and written.

    Args:
        parts: Names of folders inside ``~/.cache/edgevision``.
    """
    base = user_folder("XDG_CACHE_HOME", ".cache")
    if base is None:
        return None
    folder = base.joinpath(*parts)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None
