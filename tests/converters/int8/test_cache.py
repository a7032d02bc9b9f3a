"""The cache of calibrations: what is measured once is not measured again, and nothing wrong is ever used."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.converters.int8 import cache as module
from edgevision.converters.int8.cache import CalibrationCache, open_cache
from edgevision.converters.int8.calibrate import Calibration, calibrate, with_histograms
from edgevision.converters.int8.calibration_file import UnfitError, from_bytes, to_bytes
from edgevision.converters.int8.candidates import Candidate, best_candidate
from edgevision.spec import InputSpec

PICTURES = {"digest": "ab" * 32, "count": 12, "input": InputSpec(size=(16, 16)).to_dict()}
FACTS = {"measured": {"graph": "1"}, "with": {"tools": {"onnxruntime": "1"}, "cpu_features": []}}
Said = list[str]


def same(ours: Any, theirs: Any) -> bool:
    """Equal in every field, type and bit, in the same order."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if is_dataclass(ours):
        return all(same(getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(ours))
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(same(v, theirs[k]) for k, v in ours.items())
    return bool(ours == theirs)


@pytest.fixture(scope="module")
def model(kit: ModuleType) -> onnx.ModelProto:
    made: onnx.ModelProto = kit.body()
    return made


@pytest.fixture(scope="module")
def measured(kit: ModuleType, model: onnx.ModelProto) -> Calibration:
    found = calibrate(model, kit.FRAMES, scheme="x86", exclude=("node_y",))
    harm = {"minmax": {"x": 0.25, "r1": 1e-3}, "mean": {"x": 0.25, "r1": float("inf")}}
    found = replace(found, warnings=("a „warning“ of ours",), harm=harm)
    return with_histograms(model, found, kit.FRAMES)


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def make_cache(tmp_path: Path, said: Said) -> Callable[..., CalibrationCache]:
    return lambda **changed: CalibrationCache(tmp_path, PICTURES | changed, said.append)


def entry(
    cache: CalibrationCache, model: onnx.ModelProto, measured: Calibration, **changed: Any
) -> module.Entry:
    method = {"scheme": measured.scheme, "rounding": True, "exclude": measured.exclude} | changed
    return cache.entry(model, **method)


def test_what_is_read_is_what_was_written(measured: Calibration) -> None:
    assert measured.histograms
    name, layer = next(iter(measured.rounded.items()))
    rounded = {**measured.rounded, name: replace(layer, bias=None)}  # as a MatMul is
    written = replace(measured, rounded=rounded)
    assert same(from_bytes(to_bytes(written, FACTS), FACTS), written)


def test_a_calibration_without_rounding_and_histograms_is_kept_too(measured: Calibration) -> None:
    less = replace(measured, rounded={}, histograms={}, harm={}, warnings=(), exclude=())
    assert same(from_bytes(to_bytes(less, FACTS), FACTS), less)


def test_equal_measurements_give_equal_files(measured: Calibration) -> None:
    assert to_bytes(measured, FACTS) == to_bytes(replace(measured), FACTS)


def test_no_frame_runs_a_second_time(
    kit: ModuleType, model: onnx.ModelProto, make_cache: Callable[..., CalibrationCache], said: Said
) -> None:
    def search(feeds: Any) -> bytes:
        recipes = (Candidate("p99.99", True), Candidate("mean", False))
        best, _ = best_candidate(
            model,
            feeds,
            lambda quantized: float(quantized.report["rounding"]),
            scheme="x86",
            target=1.0,
            margin=0.0,
            candidates=recipes,
            cache=make_cache(),
        )
        return best.model.SerializeToString(deterministic=True)

    def no_feeds() -> Iterator[Any]:
        raise AssertionError("a frame was run")
        yield

    first = search(kit.FRAMES)
    assert said == []
    assert search(no_feeds) == first
    assert said == ["the calibration is taken from the cache"]


def test_labels_do_not_make_it_another_model(
    model: onnx.ModelProto, measured: Calibration, make_cache: Callable[..., CalibrationCache]
) -> None:
    entry(make_cache(), model, measured).store(measured)
    named = onnx.ModelProto()
    named.CopyFrom(model)
    named.metadata_props.add(key="labels", value="cat, dog")
    assert entry(make_cache(), named, measured).load() is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "cd" * 32},
        {"count": 11},
        {"input": InputSpec(size=(16, 16), scale=0.5).to_dict()},
    ],
    ids=["pictures", "count", "input"],
)
def test_other_pictures_are_another_calibration(
    changed: dict[str, Any],
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
) -> None:
    entry(make_cache(), model, measured).store(measured)
    assert entry(make_cache(**changed), model, measured).load() is None


@pytest.mark.parametrize("changed", [{"scheme": "trt"}, {"rounding": False}, {"exclude": ()}])
def test_another_method_is_another_calibration(
    changed: dict[str, Any],
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
) -> None:
    entry(make_cache(), model, measured).store(measured)
    assert entry(make_cache(), model, measured, **changed).load() is None


def test_one_other_weight_is_another_model(
    model: onnx.ModelProto, measured: Calibration, make_cache: Callable[..., CalibrationCache]
) -> None:
    entry(make_cache(), model, measured).store(measured)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    values = onnx.numpy_helper.to_array(other.graph.initializer[0]).copy()
    values.flat[0] += 1e-6
    other.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(values, other.graph.initializer[0].name)
    )
    assert entry(make_cache(), other, measured).load() is None


@pytest.mark.parametrize(
    ("what", "now", "expected"),
    [
        ("tool_versions", {"onnxruntime": "99.0"}, "99.0 now"),
        ("kernel_features", ["none of these"], "another kind of processor"),
        ("_code_digest", "other", "edgevision's own code has changed"),
    ],
)
def test_what_was_measured_with_other_tools_is_out_of_date(
    what: str,
    now: Any,
    expected: str,
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry(make_cache(), model, measured).store(measured)
    monkeypatch.setattr(module, what, lambda: now)
    assert entry(make_cache(), model, measured).load() is None
    assert len(said) == 1
    assert said[0].startswith("a calibration in the cache is out of date: ")
    assert expected in said[0]


def test_one_of_another_model_under_our_name_is_not_used(
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    said: Said,
) -> None:
    theirs, ours = (entry(make_cache(count=n), model, measured) for n in (11, 12))
    theirs.store(measured)
    theirs.file.rename(ours.file)
    assert ours.load() is None
    assert said == [
        "a calibration in the cache is not used: it was measured on something else than its name says"
    ]
    ours.store(measured)
    assert same(ours.load(), measured)


@pytest.mark.parametrize("size", [0, 1, 40, 500, -1])
def test_a_file_that_was_cut_short_is_not_used(
    size: int,
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    said: Said,
) -> None:
    place = entry(make_cache(), model, measured)
    place.store(measured)
    place.file.write_bytes(place.file.read_bytes()[:size])
    assert place.load() is None
    assert "it is damaged" in said[0]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_byte_goes_unseen(measured: Calibration, data: st.DataObject) -> None:
    whole = bytearray(to_bytes(replace(measured, histograms={}), FACTS))
    header = whole.index(b"\n")
    at = data.draw(st.integers(0, header) | st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnfitError):
        from_bytes(bytes(whole), FACTS)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200) | st.sampled_from([b"[" * 100_000, b"{}\n", b"null\n", b"\xff\n"]))
def test_what_is_no_calibration_is_not_used(data: bytes) -> None:
    with pytest.raises(UnfitError):
        from_bytes(data, FACTS)


def forged(payload: bytes) -> bytes:
    """A file whose hash is right."""
    header = {"schema": 2, "facts": FACTS, "sha256": hashlib.sha256(payload).hexdigest()}
    return json.dumps(header).encode() + b"\n" + payload


class Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_no_pickle_is_ever_run(tmp_path: Path) -> None:
    archive = tmp_path / "harmful.npz"
    np.savez(archive, text=np.array([Harmful(tmp_path / "run")], object))
    for payload in (archive.read_bytes(), pickle.dumps(Harmful(tmp_path / "run"))):
        with pytest.raises(UnfitError, match="does not hold a calibration"):
            from_bytes(forged(payload), FACTS)
    assert not (tmp_path / "run").exists()


def test_an_archive_of_other_arrays_is_no_calibration(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(UnfitError, match="does not hold a calibration"):
        from_bytes(forged((tmp_path / "other.npz").read_bytes()), FACTS)


def test_something_else_in_its_place_is_said(
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    said: Said,
    tmp_path: Path,
) -> None:
    place = entry(make_cache(), model, measured)
    place.file.mkdir()
    assert place.load() is None
    place.store(measured)
    assert [line.partition(":")[0] for line in said] == [
        "the calibration in the cache cannot be read",
        "the calibration cannot be kept in the cache",
    ]
    assert list(tmp_path.iterdir()) == [place.file]


def test_without_room_nothing_half_written_is_left(
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    said: Said,
    tmp_path: Path,
) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        entry(make_cache(), model, measured).store(measured)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said == ["the calibration cannot be kept in the cache: File too large"]
    assert list(tmp_path.iterdir()) == []


def test_where_the_cache_cannot_be_there_is_none_and_a_line_says_so(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert open_cache(PICTURES, said.append) is None
    assert len(said) == 1
    assert "not cached" in said[0]


def test_what_was_not_used_for_longest_goes_first(
    model: onnx.ModelProto,
    measured: Calibration,
    make_cache: Callable[..., CalibrationCache],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = [entry(make_cache(count=n), model, measured) for n in range(4)]
    for age, place in enumerate(places[:3]):
        place.store(measured)
        os.utime(place.file, (age, age))
    assert places[0].load() is not None  # it is the oldest, and was just used
    size = places[0].file.stat().st_size
    monkeypatch.setattr(module, "_ROOM_BYTES", int(2.5 * size))
    places[3].store(measured)
    assert [place.file.exists() for place in places] == [True, False, False, True]
