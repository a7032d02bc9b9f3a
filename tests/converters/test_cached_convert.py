"""The same conversion again: byte-identical from any folder, with the cache of calibrations and without it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.bundle import hash_file, open_bundle

Run = Callable[..., subprocess.CompletedProcess[str]]
TAKEN = "the calibration is taken from the cache"


def contents(bundle: Path) -> dict[str, str]:
    """Hash of every file that is part of the bundle's identity."""
    for_people = {"report.md", "timings.json"}
    files = [f for f in bundle.rglob("*") if f.is_file() and f.name not in for_people]
    return {str(f.relative_to(bundle)): hash_file(f) for f in files}


@pytest.fixture
def converted_in(tmp_path: Path, models: Path, data: Path, edgevision: Run) -> Callable[..., str]:
    """Converts in a folder of that name by relative paths, into ``squares.evb``; gives what it said."""

    def run(name: str, *options: str) -> str:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        model, clip = (
            os.path.relpath(path, folder) for path in (models / "detector.onnx", data / "clip.avi")
        )
        done = edgevision(
            "convert", model, "--precision", "int8", "--target", "x86,trt", "--calibration", clip,
            "--samples", 64, "-o", "squares.evb", *options,
            cwd=folder, XDG_CACHE_HOME=str(tmp_path / "cache"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return str(done.stderr)

    return run


def test_the_cache_changes_no_byte(tmp_path: Path, converted_in: Callable[..., str]) -> None:
    kept = tmp_path / "cache" / "edgevision" / "calibration"
    without = converted_in("a", "--no-cache")
    assert not kept.exists()
    first = converted_in("b/deeper")
    assert len(list(kept.iterdir())) == 2  # one for each target
    second = converted_in("c")
    assert [said.count(TAKEN) for said in (without, first, second)] == [0, 0, 2]
    bundles = [tmp_path / name / "squares.evb" for name in ("a", "b/deeper", "c")]
    assert contents(bundles[0]) == contents(bundles[1]) == contents(bundles[2])
    assert "int8-x86.onnx" in contents(bundles[0])
    assert len({open_bundle(bundle).identity for bundle in bundles}) == 1


def test_a_damaged_cache_is_measured_anew(tmp_path: Path, converted_in: Callable[..., str]) -> None:
    converted_in("a")
    for file in (tmp_path / "cache" / "edgevision" / "calibration").iterdir():
        file.write_bytes(file.read_bytes()[:-7])
    assert converted_in("b").count("is not used: it is damaged") == 2
    assert converted_in("c").count(TAKEN) == 2
    assert contents(tmp_path / "b" / "squares.evb") == contents(tmp_path / "c" / "squares.evb")


def test_without_a_place_for_the_cache_the_conversion_goes_on(
    tmp_path: Path, converted_in: Callable[..., str]
) -> None:
    (tmp_path / "cache").touch()
    assert "calibrations are not cached" in converted_in("a")
    shutil.rmtree(tmp_path / "a")
