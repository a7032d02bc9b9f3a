"""A file that is written whole or not at all, whatever ends it: a full disk, a signal, a crash, a power cut."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Whoever looks sees the old file or the new one, never a part.

    Args:
        path: Its folder exists.
        data: All of it.
        mode: Who may read it, as far as the umask allows; the owner alone unless told otherwise.

    Raises:
        OSError: There is no room or no permission; the old file is still there.
    """
    own = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    part = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(part)  # else a power cut may leave the new name with nothing in it
        own.replace(path)
    except BaseException:
        own.unlink(missing_ok=True)
        raise
