"""Which engines this user built on this machine: only these are loaded without being told to trust them.

One empty file for each, named by the plan's SHA-256, in the user's state folder. Copying an engine, with its
sidecar, onto another machine or to another user does not copy the trust.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from edgevision.user_cache import user_folder

__all__ = ["is_built_here", "remember"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def remember(sha256: str) -> bool:
    """Notes that an engine was built here; False where the state folder cannot be written.

    Args:
        sha256: Of the plan, hexadecimal.
    """
    note = _note(sha256)
    if note is None:
        return False
    try:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.touch(mode=0o600)
    except OSError:
        return False
    return True


def is_built_here(sha256: str) -> bool:
    """Whether it was noted.

    Args:
        sha256: Of the plan, hexadecimal.
    """
    note = _note(sha256) if _SHA256.fullmatch(sha256) else None
    try:
        # Somebody else's note, in a folder that others can write, proves nothing.
        return (
            note is not None
            and stat.S_ISREG(note.lstat().st_mode)
            and note.lstat().st_uid == os.getuid()
        )
    except OSError:
        return False


def _note(sha256: str) -> Path | None:
    state = user_folder("XDG_STATE_HOME", ".local/state")
    return None if state is None else state / "engines" / sha256
