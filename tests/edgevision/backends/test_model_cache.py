from __future__ import annotations

from pathlib import Path

import pytest

from edgevision.backends._model_cache import cache_folder, seal


@pytest.fixture
def folder_for(variant_of, models):
    """The cache folder of the detector in an engine of no name; keywords are the settings."""
    return lambda **settings: cache_folder("engine", "1.0", variant_of(models.detector), settings)


@pytest.mark.parametrize("told", ["", "relative/path"])
def test_without_a_usable_variable_the_cache_is_in_the_home(
    monkeypatch, tmp_path, folder_for, told
):
    monkeypatch.setenv("XDG_CACHE_HOME", told)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = folder_for()
    assert (tmp_path / "home" / ".cache" / "edgevision" / "engine" / "1.0") in found.parents
    assert found.stat().st_mode & 0o777 == 0o700


def test_each_setting_has_a_folder_of_its_own(folder_for, cache):
    found = [folder_for(compute=compute, threads=2) for compute in ("f32", "bf16", "f32")]
    assert [folder.name for folder in found] == ["f32-2", "bf16-2", "f32-2"]
    assert found[0] == found[2]
    assert cache in found[0].parents


def test_what_was_sealed_stays_and_all_else_goes(folder_for):
    folder = folder_for()
    for name in ("good", "changed", "shorter", "unsealed"):
        (folder / name).write_bytes(b"compiled")
    seal(folder)
    (folder / "changed").write_bytes(b"Compiled")
    (folder / "shorter").write_bytes(b"")
    (folder / "unsealed.sha256").unlink()
    assert folder_for() == folder
    assert [f.name for f in folder.iterdir() if f.suffix != ".sha256"] == ["good"]


@pytest.mark.parametrize("text", [b"", b"\x00" * 64, b"\xff\xfe"])
def test_a_damaged_seal_is_as_a_damaged_file(folder_for, text):
    folder = folder_for()
    (folder / "model").write_bytes(b"compiled")
    seal(folder)
    (folder / "model.sha256").write_bytes(text)
    folder_for()
    assert not (folder / "model").exists()


def test_what_is_sealed_again_is_used_again(folder_for):
    folder = folder_for()
    for text in (b"compiled", b"compiled anew"):
        (folder / "model").write_bytes(text)
        seal(folder)
    folder_for()
    assert (folder / "model").read_bytes() == b"compiled anew"


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null"])
def test_where_nothing_can_be_written_there_is_no_cache(monkeypatch, folder_for, place):
    if not Path(place).parent.is_dir():
        pytest.skip("this system has no such place")
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert folder_for() is None


def test_what_cannot_be_removed_makes_the_cache_unusable(folder_for):
    (folder_for() / "a folder").mkdir()
    assert folder_for() is None
