"""Writes a bundle beside its final place and moves it there whole: nothing half-written is ever left."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgevision.bundle import canonical_json
from edgevision.errors import OutputError

__all__ = ["check_output", "replaced", "staging", "write_json"]


def check_output(output: Path, *, force: bool) -> None:
    """Finds out before the work whether its result can be put there.

    Raises:
        OutputError: Something is there and ``force`` is off, or the folder cannot be written.
    """
    if output.exists() and not force:
        raise OutputError(f"{output} exists", expected="a new path", hint="--force replaces it")
    if output.exists() and not (output / "manifest.json").is_file():
        raise OutputError(
            f"{output} is no bundle, so --force does not replace it", hint="choose another path"
        )
    if not output.parent.is_dir():
        raise OutputError(
            f"{output} cannot be written: there is no folder {output.parent}",
            hint="make the folder first",
        )
    try:
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise OutputError(
            f"{output.parent} cannot be written: {error.strerror}", hint="choose another place"
        ) from error


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A new folder beside ``output`` to write into; it is gone afterwards, whatever happens.

    Raises:
        OutputError: Something could not be written: no room, no permission.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    folder.chmod(0o755)  # mkdtemp makes it private; a bundle is read like any other file
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"no room is left for {output}", hint="make room, or choose another place"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutputError(
                f"{output} could not be written: {error.strerror}", hint="choose another place"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replaced(folder: Path, output: Path) -> None:
    """Moves a finished folder to its place; what was there goes away only once the new one stands."""
    old = output.with_name(f".{output.name}.old")
    with suppress(FileNotFoundError):
        shutil.rmtree(old)
    if output.exists():
        output.rename(old)
    try:
        folder.rename(output)
    except OSError:
        if old.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, Any], *, canonical: bool = False) -> None:
    """Writes JSON: canonical for what is hashed, indented for people."""
    if canonical:
        path.write_bytes(canonical_json(data))
    else:
        path.write_text(
            json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )
