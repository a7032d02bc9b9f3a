from __future__ import annotations

import os
import platform

import pytest

from edgevision import device


def test_cores_are_those_this_process_may_use():
    assert 1 <= device.cpu_count() <= os.cpu_count()


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (3, 3), (20, 8)])
def test_a_container_s_quota_bounds_the_cores(monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(device, "_quota", lambda: quota)
    assert device.cpu_count() == cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", None),
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("10000 100000", 1),
        ("x", None),
    ],
)
def test_the_quota_of_a_cgroup_is_rounded_up(monkeypatch, text, cores):
    monkeypatch.setattr("pathlib.Path.read_text", lambda self: text)
    assert device._quota() == cores


def test_facts_come_from_cpuinfo(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor : 0\nmodel name\t: Test 9000\nflags\t: avx2 avx512_vnni\n\nflags : no\n"
    )
    monkeypatch.setattr(device, "_CPUINFO", path)
    for fact in (device.cpu_features, device.cpu_name):
        fact.cache_clear()
    assert device.cpu_features() == {"avx2", "avx512_vnni"}
    assert device.cpu_name() == "Test 9000"
    assert device.has_vnni()
    monkeypatch.setattr(device, "_CPUINFO", tmp_path / "none")
    for fact in (device.cpu_features, device.cpu_name):
        fact.cache_clear()
    assert device.cpu_features() == frozenset()
    assert device.cpu_name() == platform.machine()
    assert not device.has_vnni()
    for fact in (device.cpu_features, device.cpu_name):
        fact.cache_clear()


@pytest.mark.parametrize(
    ("flags", "fine"),
    [
        ("avx2 avx512_vnni", True),  # Xeons since 2019, as Linux spells it
        ("avx2 avx_vnni", True),  # Intel's client processors since 2021
        ("avx2 avx512f", False),
        ("", False),
    ],
)
def test_vnni_in_both_of_its_encodings(monkeypatch, flags, fine):
    monkeypatch.setattr(device, "cpu_features", lambda: frozenset(flags.split()))
    assert device.has_vnni() is fine


def test_memory_is_some():
    assert device.memory_mb() > 64
