"""A file that is written whole or not at all, whatever ends it: a full disk, a signal, a crash, a power cut."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from edgevision.errors import OutputError

__all__ = ["write_output", "write_whole"]

#: Where a file may be written but not replaced: mounted by itself into a container, or in a folder of somebody else.
_NOT_REPLACED = (errno.EACCES, errno.EBUSY, errno.EPERM, errno.EROFS)


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


def write_output(path: Path, text: str) -> None:
    """Writes what a user wants in a place of his own choice: whole, wherever the place lets it be replaced.

    A link is followed and stays; what is no plain file (a pipe, a device) is written to as it stands.

    Raises:
        OutputError: There is no room or no permission.
    """
    try:
        if (
            path.exists() and not path.is_file()
        ):  # it may have no other name, such as /dev/stdout for a pipe
            path.write_text(text, encoding="utf-8")
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror}",
            hint="make room, or choose another place",
        ) from error


def _replace(path: Path, text: str) -> None:
    try:
        write_whole(path, text.encode(), mode=0o644)
    except OSError as error:
        if error.errno not in _NOT_REPLACED:
            raise
        path.write_text(text, encoding="utf-8")
