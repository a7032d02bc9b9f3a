"""Writes a bundle beside its final place and moves it there whole: nothing half-written is ever left."""

from __future__ import annotations

import errno
import glob
import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgevision.bundle import MANIFEST, canonical_json
from edgevision.errors import OutputError
from edgevision.whole_file import write_whole

__all__ = [
    "HINT_ROOM",
    "check_output",
    "forget_rejected",
    "json_text",
    "leftovers",
    "rejected_place",
    "replaced",
    "staging",
    "sweep",
    "write_json",
    "write_text",
]

#: No space, no quota, and a file larger than this process may write.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EROFS, errno.EPERM)
HINT_ROOM = (
    "make room on the disk of the output and on that of temporary files, or choose others (--output, and TMPDIR in "
    "the environment)"
)


def check_output(output: Path, *, force: bool) -> None:
    """Finds out before the work whether its result can be put there.

    Raises:
        OutputError: Something is there and ``force`` is off, or the folder cannot be written.
    """
    if output.name in ("", ".."):
        raise OutputError(
            f"{output} is no name for a bundle", expected="a new path, such as model.evb"
        )
    try:
        _check_place(output, force)
        if output.parent.is_dir():
            tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise _unwritable(output, error) from error
    if not output.parent.is_dir():
        raise OutputError(
            f"{output} cannot be written: there is no folder {output.parent}",
            hint="make the folder first",
        )


def rejected_place(output: Path) -> Path:
    """Where the report goes when there is to be no bundle."""
    return output.with_name(output.name + ".rejected")


def forget_rejected(output: Path) -> None:
    """Removes the report of an earlier, rejected conversion, which is out of date once one passed."""
    if rejected_place(output).is_dir():
        _remove(rejected_place(output))


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A new folder beside ``output`` to write into; it is gone afterwards, whatever happens.

    Raises:
        OutputError: Something could not be written: no room, no permission.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise _unwritable(output, error) from error
    try:
        folder.chmod(0o755)  # mkdtemp makes it private; a bundle is read like any other file
        yield folder
    except OSError as error:
        if error.errno in _NO_ROOM + _NO_PERMISSION:
            raise _unwritable(output, error) from error
        raise
    finally:
        _remove(folder)


def replaced(folder: Path, output: Path) -> None:
    """Moves a finished folder to its place; what was there goes away only once the new one stands."""
    old = output.with_name(f".{output.name}.old")
    if old.exists() and not output.exists():  # a run was killed between the two renames below
        old.rename(output)
    with suppress(FileNotFoundError):
        shutil.rmtree(old)
    try:
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException:  # a signal too must not lose what was there
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    _remove(old)


def leftovers(output: Path) -> set[Path]:
    """Folders beside ``output`` that a conversion works in, or that one which was killed left there."""
    return {p for p in output.parent.glob(f".{glob.escape(output.name)}.*") if p.is_dir()}


def sweep(output: Path, before: Collection[Path]) -> None:
    """Clears up after a conversion that was killed and could not.

    Args:
        output: Where its bundle was to be. One that was about to be replaced is put back.
        before: The `leftovers` when it was started: they are another's.
    """
    old = output.with_name(f".{output.name}.old")
    if old.is_dir() and not output.exists():
        old.rename(output)
    for folder in leftovers(output) - set(before):
        _remove(folder)


def write_json(path: Path, data: Mapping[str, Any], *, canonical: bool = False) -> None:
    """Writes JSON: canonical for what is hashed, indented for people."""
    if canonical:
        path.write_bytes(canonical_json(data))
    else:
        path.write_text(json_text(data), encoding="utf-8")


def json_text(data: Mapping[str, Any]) -> str:
    """JSON for people: indented, in the order of the keys."""
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes a file for people, whole or not at all.

    Raises:
        OutputError: There is no room or no permission.
    """
    try:
        write_whole(path, text.encode(), mode=0o644)
    except OSError as error:
        raise _unwritable(path, error) from error


def _check_place(output: Path, force: bool) -> None:
    """What is there may be replaced: a bundle when asked to, an earlier report of a rejected one."""
    if output.is_symlink():
        raise OutputError(
            f"{output} is a link", expected="a new path, or a bundle's own folder with --force"
        )
    if output.exists() and not force:
        raise OutputError(f"{output} exists", expected="a new path", hint="--force replaces it")
    if output.exists() and not (output / MANIFEST).is_file():
        raise OutputError(
            f"{output} is no bundle, so --force does not replace it", hint="choose another path"
        )
    rejected = rejected_place(output)
    if rejected.is_symlink() or (rejected.exists() and not (rejected / "report.json").is_file()):
        raise OutputError(
            f"{rejected} exists, and is no report of a conversion",
            expected="room for the report, should the bundle be rejected",
            hint="move it away, or choose another path",
        )


def _unwritable(output: Path, error: OSError) -> OutputError:
    if error.errno in _NO_ROOM:
        return OutputError(f"no room is left for {output}", hint=HINT_ROOM)
    return OutputError(f"{output} cannot be written: {error.strerror}", hint="choose another place")


def _remove(folder: Path) -> None:
    """Removes a folder; a signal that comes meanwhile takes effect once it is gone."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
