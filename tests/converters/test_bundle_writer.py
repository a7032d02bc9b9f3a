"""A bundle stands whole or not at all: staging, replacing, and what is refused before any work."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from edgevision.converters import bundle_writer
from edgevision.converters.bundle_writer import (
    check_output,
    replaced,
    staging,
    write_json,
    write_text,
)
from edgevision.errors import OutputError
from edgevision.signals import Interrupted


def folder_with(path: Path, name: str, text: str = "{}") -> Path:
    path.mkdir()
    (path / name).write_text(text)
    return path


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_new_path_is_fine_and_nothing_is_left_by_asking(tmp_path: Path) -> None:
    check_output(tmp_path / "new.evb", force=False)
    assert names(tmp_path) == []


def test_what_exists_is_refused_without_force(tmp_path: Path) -> None:
    bundle = folder_with(tmp_path / "a.evb", "manifest.json")
    with pytest.raises(OutputError, match="exists") as caught:
        check_output(bundle, force=False)
    assert caught.value.hint == "--force replaces it"
    check_output(bundle, force=True)


@pytest.mark.parametrize("place", [".", "..", "", "/"])
def test_a_path_without_a_name_is_no_place_for_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Not even from inside a bundle that is to be replaced."""
    monkeypatch.chdir(folder_with(tmp_path / "a.evb", "manifest.json"))
    with pytest.raises(OutputError, match="no name for a bundle"):
        check_output(Path(place), force=True)


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_force_replaces_nothing_but_bundles(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"
    if kind == "folder":
        folder_with(output, "thesis.tex")
    elif kind == "file":
        output.touch()
    else:
        output.symlink_to(folder_with(tmp_path / "a.evb", "manifest.json"))
    with pytest.raises(OutputError):
        check_output(output, force=True)


def test_a_folder_in_the_place_of_the_rejected_report_is_not_overwritten(tmp_path: Path) -> None:
    folder_with(tmp_path / "a.evb.rejected", "thesis.tex")
    with pytest.raises(OutputError, match="no report of a conversion"):
        check_output(tmp_path / "a.evb", force=True)
    (tmp_path / "a.evb.rejected" / "report.json").touch()
    check_output(tmp_path / "a.evb", force=False)


@pytest.mark.parametrize("output", ["no/such/a.evb", "file/a.evb", "x" * 300 + ".evb"])
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        check_output(tmp_path / output, force=False)
    assert caught.value.hint


def test_a_folder_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(bundle_writer.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "a.evb", force=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "a.evb", force=False)


def test_the_staging_folder_lies_beside_the_bundle_and_others_may_read_it(tmp_path: Path) -> None:
    with staging(tmp_path / "a.evb") as folder:
        assert folder.parent == tmp_path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), Interrupted(15)])
def test_the_staging_folder_goes_whatever_happens(tmp_path: Path, error: BaseException) -> None:
    def work() -> None:
        with staging(tmp_path / "a.evb") as folder:
            (folder / "half.onnx").touch()
            raise error

    with pytest.raises(type(error)):
        work()
    assert names(tmp_path) == []


def test_the_staging_folder_goes_although_a_second_signal_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, calls = shutil.rmtree, []

    def interrupted_once(path: Path, *, ignore_errors: bool) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(bundle_writer.shutil, "rmtree", interrupted_once)
    with pytest.raises(KeyboardInterrupt), staging(tmp_path / "a.evb"):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no room is left"),
        (errno.EDQUOT, "no room is left"),
        (errno.EROFS, "Read-only"),
    ],
)
def test_what_the_disk_refuses_is_said_in_our_words(
    tmp_path: Path, number: int, message: str
) -> None:
    with pytest.raises(OutputError, match=message), staging(tmp_path / "a.evb"):
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


def test_a_disk_that_is_full_from_the_start_is_said_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_writer.tempfile, "mkdtemp", full)
    with pytest.raises(OutputError, match="no room is left"), staging(tmp_path / "a.evb"):
        pass


def test_a_new_bundle_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    old = folder_with(tmp_path / "a.evb", "manifest.json", "old")
    (old / "stale.onnx").touch()
    replaced(folder_with(tmp_path / "new", "manifest.json", "new"), old)
    assert names(tmp_path) == ["a.evb"]
    assert names(old) == ["manifest.json"]
    assert (old / "manifest.json").read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), Interrupted(15)])
def test_the_old_bundle_stays_when_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    old = folder_with(tmp_path / "a.evb", "manifest.json", "old")
    new = folder_with(tmp_path / "new", "manifest.json", "new")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self == new:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(type(error)):
        replaced(new, old)
    assert names(tmp_path) == ["a.evb", "new"]
    assert (old / "manifest.json").read_text() == "old"


def test_remains_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    folder_with(tmp_path / ".a.evb.old", "x")
    old = folder_with(tmp_path / "a.evb", "manifest.json", "old")
    replaced(folder_with(tmp_path / "new", "manifest.json", "new"), old)
    assert names(tmp_path) == ["a.evb"]


def test_json_is_written_sorted_and_once_for_the_same_data(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": "ö"}, canonical=True)
    write_json(tmp_path / "b", {"b": 1, "a": "ö"})
    assert (tmp_path / "a").read_text(encoding="utf-8") == '{"a":"ö","b":1}'
    assert (tmp_path / "b").read_text(encoding="utf-8").splitlines()[1] == '  "a": "ö",'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "c", {"a": float("nan")})
    assert json.loads((tmp_path / "b").read_bytes()) == {"a": "ö", "b": 1}


def test_a_bundle_that_a_killed_run_had_moved_aside_is_not_lost(tmp_path: Path) -> None:
    folder_with(tmp_path / ".a.evb.old", "manifest.json")
    with pytest.raises(OSError, match="No such file"):
        replaced(tmp_path / "nothing was staged", tmp_path / "a.evb")
    assert names(tmp_path) == ["a.evb"]


def test_a_whole_file_is_read_like_any_other(tmp_path: Path) -> None:
    write_text(tmp_path / "summary.md", "new: ✅\n")
    write_text(tmp_path / "summary.md", "newer: ✅\n")
    assert names(tmp_path) == ["summary.md"]
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == "newer: ✅\n"
    assert stat.S_IMODE((tmp_path / "summary.md").stat().st_mode) == 0o644


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files, which is what a full disk looks like from inside."""
    resource = pytest.importorskip("resource")
    (tmp_path / "summary.json").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        with pytest.raises(OutputError, match=r"no room is left for .*summary\.json"):
            write_text(tmp_path / "summary.json", "new" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["summary.json"]
    assert (tmp_path / "summary.json").read_text() == "old"


def test_a_signal_while_a_file_is_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "summary.json").write_text("old")

    def interrupted(self: Path, target: Path) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "summary.json", "new")
    assert names(tmp_path) == ["summary.json"]
    assert (tmp_path / "summary.json").read_text() == "old"
