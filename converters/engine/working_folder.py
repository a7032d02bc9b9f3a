"""The folder that a build works in: beside the engines, locked while in use, swept away after a build was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edgevision.errors import OutputError

__all__ = ["one_at_a_time", "working_folder"]

_NAME, _LOCK = ".building-", "lock"
#: Between making a working folder and locking it no other build may take it for an abandoned one, s.
_FRESH = 60


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """A folder inside ``folder``, so that what is finished only needs to be renamed; gone at the end.

    Raises:
        OutputError: Engines cannot be written there. That is found before anything long begins.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            working = Path(tempfile.mkdtemp(prefix=_NAME, dir=folder))
        except OSError as error:
            raise OutputError(
                f"engines cannot be written to {folder}: {error.strerror}",
                expected="a folder that this user may write",
                hint="--engine-dir puts engines somewhere else; 'run' then takes the same option",
            ) from error
        try:
            with _locked(working):
                yield working
        finally:
            shutil.rmtree(working, ignore_errors=True)
    finally:
        _remove_empty(missing)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keeps two builds from putting the same engine in place at once: one's plan beside the other's sidecar."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _remove_empty(made: Sequence[Path]) -> None:
    """Folders that were made for an engine which then was not built, from the innermost."""
    with suppress(OSError):  # it holds an engine now
        for one in made:
            one.rmdir()


@contextmanager
def _locked(working: Path) -> Iterator[None]:
    """Tells other builds that this one runs; the kernel takes the lock away however this process ends.

    Not a process's number: in two containers that share a folder those say nothing of each other.
    """
    try:
        file = os.open(working / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutputError(
            f"engines cannot be written to {working.parent}: {error.strerror}",
            hint="make room there; --engine-dir puts engines somewhere else",
        ) from error
    try:
        with suppress(OSError):  # a file system without locks: its folders are never swept
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


def _sweep(folder: Path) -> None:
    """Removes what a build left that was killed and could not."""
    for left in folder.glob(f"{_NAME}*"):
        if left.is_dir() and not left.is_symlink() and _abandoned(left):
            shutil.rmtree(left, ignore_errors=True)


def _abandoned(working: Path) -> bool:
    try:
        if time.time() - working.stat().st_mtime < _FRESH:
            return False
        file = os.open(working / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # it was killed before it had one
        return True
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is held, or locks do not work here
        return False
    finally:
        os.close(file)
    return True
