"""Files of labelled data, read with suspicion: bounded in size, UTF-8, and never outside their folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from edgevision.errors import DataError
from edgevision.sources import IMAGE_SUFFIXES
from edgevision.text import printable

__all__ = ["SPLITS", "files_below", "inside", "read_text", "refuse_unsafe"]

#: Names of a data set's parts; of those there are, the first is the one to validate on.
SPLITS = ("val", "valid", "validation", "test", "train")


def read_text(path: Path, largest: int) -> str:
    """A text file, without a byte order mark.

    Args:
        path: A plain file.
        largest: Bytes that it may have.

    Raises:
        DataError: It is larger, or no UTF-8.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise DataError(
            f"{path} is too large",
            received=f"more than {largest:,} bytes",
            expected=f"at most {largest:,}",
            hint="give a part of the data, such as its validation split",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: this is no text",
            received=f"the byte 0x{data[error.start]:02x}, which is no UTF-8",
            expected="a text file in UTF-8",
        ) from error


def inside(root: Path, name: str, where: str) -> Path:
    """The file that a name in foreign data means.

    Args:
        root: The folder that it must stay in; links in it may lead to other places in it.
        name: Relative, with ``/`` between folders. The file need not exist.
        where: What named it, for the message.

    Raises:
        DataError: The name, or a link on the way, leads out of the folder.
    """
    refuse_unsafe(name, where)
    path = root / PurePosixPath(name)
    try:
        target, folder = path.resolve(), root.resolve()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # a link that leads to itself, a lone surrogate
        raise DataError(f"{where}: {printable(name)!r} cannot be followed: {error}") from error
    if not target.is_relative_to(folder):
        raise DataError(
            f"{where}: {printable(name)!r} is a link out of the data's folder",
            received=f"it leads to {printable(str(target))}",
            expected=f"a file inside {folder}",
            hint="copy the pictures into the folder, or give the folder that holds all of them",
        )
    return path


def refuse_unsafe(name: str, where: str) -> None:
    """Refuses a name that could lead out of a folder, by its look alone.

    Raises:
        DataError: It is empty or absolute, or has ``..``, a backslash, a drive or a control character.
    """
    # A drive, "C:a.jpg", would leave the folder on Windows; a control character is in no honest name.
    unsafe = any(ord(c) < 32 or c in "\\\x7f" for c in name) or name[1:2] == ":"
    parts = PurePosixPath(name)
    if unsafe or not parts.parts or parts.is_absolute() or ".." in parts.parts:
        raise DataError(
            f"{where}: {printable(name)!r} is no file name inside the data",
            expected="a relative path with '/' between folders, without '..'",
            hint="rewrite the file names, or put the pictures beside the labels",
        )


def files_below(folder: Path, root: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """All files of a kind (pictures) in a folder and its subfolders, sorted by name, without hidden ones.

    Raises:
        DataError: One is a link out of ``root``.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
        # A broken link is named later, as a file that is missing.
        if path.suffix.lower() in suffixes and not hidden and (path.is_symlink() or path.is_file()):
            found.append(inside(root, path.relative_to(root).as_posix(), str(folder)))
    return found
