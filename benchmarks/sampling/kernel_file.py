"""Small files of /proc and /sys that are read again and again: opened once, and what to say where they cannot be."""

from __future__ import annotations

import os
from pathlib import Path

from edgevision.benchmarks.sampling.sensors import AbsentError
from edgevision.system_files import in_container

__all__ = ["KernelFile", "opened", "why_absent"]

_MOST_BYTES = 1 << 16


class KernelFile:
    """One such file. The kernel writes it anew for each read that begins at its start.

    Raises:
        OSError: It cannot be opened, or read (here and in what follows).
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def text(self) -> str:
        return os.pread(self._fd, _MOST_BYTES, 0).decode(errors="replace")

    def number(self) -> int:
        """An integer; ValueError if there is none."""
        return int(self.text())


def opened(path: Path, root: Path) -> KernelFile:
    """The file, read once to see that it answers.

    Raises:
        AbsentError: It is not there, or may not be read.
    """
    try:
        file = KernelFile(path)
        file.text()
    except OSError as error:
        raise AbsentError(why_absent(path, root, error)) from error
    return file


def why_absent(path: Path, root: Path, error: OSError | None = None) -> str:
    """Why a path does not tell anything: no permission, not there, or what else the kernel says."""
    place = "/" + path.relative_to(root).as_posix()
    if isinstance(error, PermissionError):
        return f"no permission to read {place}"
    if error is None or isinstance(error, FileNotFoundError):
        hidden = "; this is a container, which may hide it" if in_container(root) else ""
        return f"{place} is not there{hidden}"
    return f"{place} does not answer: {error.strerror}"
