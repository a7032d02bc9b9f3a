"""Kernel times that are kept between builds. No TensorRT measures any without a GPU: its caches are sets of words here.

The builder's calls are those of the real classes (`tests/test_tensorrt_api.py`).
"""

from __future__ import annotations

import multiprocessing
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from edgevision.converters.engine.timing_cache import cache_file, load_cache, save_cache
from edgevision.engine_key import DeviceFacts, device_text

NANO = DeviceFacts(
    "tensorrt", "10.3.0", "8.7", "linux", "aarch64", "36.4.3", device_text("Orin", 8)
)
ROUNDS = 25


class Cache:
    """As ITimingCache: what is refused when it is read becomes an empty one, and a word is a kernel's time."""

    def __init__(self, words: Iterable[bytes] = ()) -> None:
        self.words = set(words)

    def serialize(self) -> memoryview:
        return memoryview(b" ".join([b"times", *sorted(self.words)]))

    def combine(self, input_cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch, "times of another GPU are not comparable"
        self.words |= input_cache.words
        return True


class Config:
    """As IBuilderConfig."""

    def __init__(self) -> None:
        self.cache = Cache()

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Cache:
        first, *words = bytes(serialized_timing_cache).split() or [b""]
        return Cache(words if first == b"times" else ())

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache:
        return self.cache


def kept(path: Path) -> set[bytes]:
    return Config().create_timing_cache(path.read_bytes()).words


def build(path: Path, word: bytes) -> bool:
    """A build that measures one kernel; whether there were times before."""
    config = Config()
    found = load_cache(config, path)
    config.cache.words.add(word)
    save_cache(config, path)
    return found


def many_builds(path: Path, name: str, start: multiprocessing.synchronize.Event) -> None:
    start.wait()
    for number in range(ROUNDS):
        config = Config()  # it did not see what the other has kept since
        config.cache.words.add(f"{name}{number}".encode())
        save_cache(config, path)


def test_the_times_of_a_build_are_there_for_the_next(tmp_path: Path):
    path = tmp_path / "device.timings"
    assert not build(path, b"a")
    assert build(path, b"b")
    assert kept(path) == {b"a", b"b"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_two_builds_that_overlap_both_are_kept(tmp_path: Path):
    path = tmp_path / "device.timings"
    first, second = Config(), Config()
    for config, word in ((first, b"a"), (second, b"b")):
        assert not load_cache(config, path)
        config.cache.words.add(word)
    save_cache(first, path)
    save_cache(second, path)
    assert kept(path) == {b"a", b"b"}


def test_two_processes_lose_no_times_of_each_other(tmp_path: Path):
    path = tmp_path / "device.timings"
    context = multiprocessing.get_context("fork")
    start = context.Event()
    processes = [context.Process(target=many_builds, args=(path, n, start)) for n in ("a", "b")]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert kept(path) == {f"{n}{i}".encode() for n in ("a", "b") for i in range(ROUNDS)}
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".lock", ".timings"]


def test_bytes_that_tensorrt_refuses_are_no_times_and_are_replaced(tmp_path: Path):
    path = tmp_path / "device.timings"
    path.write_bytes(b"junk of another version")
    assert not load_cache(Config(), path), "TensorRT makes an empty cache of them"
    build(path, b"a")
    assert kept(path) == {b"a"}


def test_a_cache_of_a_gpu_that_differs_is_left_out(tmp_path: Path):
    class Refusing(Config):
        def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
            return not cache.words and super().set_timing_cache(cache, ignore_mismatch)

    path = tmp_path / "device.timings"
    build(path, b"a")
    assert not load_cache(Refusing(), path)


def test_a_folder_that_cannot_be_written_costs_the_times_and_nothing_else(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert not build(tmp_path / "file" / "device.timings", b"a")


@pytest.mark.parametrize(
    "other",
    [
        replace(NANO, device=device_text("Orin", 16)),
        replace(NANO, version="10.13.3"),
        replace(NANO, l4t="38.2"),
        replace(NANO, cc="8.9"),
    ],
)
def test_each_kind_of_device_has_a_file_of_its_own(other: DeviceFacts, tmp_path: Path):
    assert cache_file(tmp_path, NANO) == cache_file(tmp_path, replace(NANO))
    assert cache_file(tmp_path, NANO) != cache_file(tmp_path, other)
    assert cache_file(tmp_path, replace(NANO, device="../../x")).parent == tmp_path
