"""A file that is written whole or not at all, whatever ends it: a full disk, a signal, a crash, a power cut."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Whoever looks sees the old file or the new one, never a part.

    Args:
        path: Its folder exists.
        data: All of it.
        mode: Who may read it; the owner alone unless told otherwise.

    Raises:
        OSError: There is no room or no permission; the old file is still there.
    """
    with tempfile.NamedTemporaryFile(
        prefix=f".{path.name}.", dir=path.parent, delete=False
    ) as part:
        own = Path(part.name)
        try:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())  # else a power cut may leave the new name with nothing in it
            part.close()
            own.chmod(mode)
            own.replace(path)
        except BaseException:
            own.unlink(missing_ok=True)
            raise
