"""Which engines this user built on this machine: only these are loaded without being told to trust them.

One small file for each, named by the plan's SHA-256 and holding it, in the user's state folder. Copying an engine,
with its sidecar, onto another machine or to another user does not copy the trust.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from edgevision.user_cache import user_folder
from edgevision.whole_file import write_whole

__all__ = ["is_built_here", "remember"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def remember(sha256: str) -> bool:
    """Notes that an engine was built here; False where the state folder cannot be written or is full.

    Args:
        sha256: Of the plan, hexadecimal.
    """
    note = _note(sha256)
    if note is None:
        return False
    try:
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(note, sha256.encode())
    except OSError:
        return False
    return is_built_here(sha256)


def is_built_here(sha256: str) -> bool:
    """Whether it was noted.

    Args:
        sha256: Of the plan, hexadecimal.
    """
    note = _note(sha256) if _SHA256.fullmatch(sha256) else None
    if note is None:
        return False
    try:
        # In a folder that others can write, somebody else's note proves nothing; nor does one of this user's that
        # was renamed, or another file of this user's that was linked there: hence what it holds.
        with os.fdopen(os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            own = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
            return own and file.read(len(sha256) + 1) == sha256.encode()
    except OSError:
        return False


def _note(sha256: str) -> Path | None:
    state = user_folder("XDG_STATE_HOME", ".local/state")
    return None if state is None else state / "engines" / sha256
