"""What is read about the machine: from made-up file systems of a PC, a Jetson and nothing at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.benchmarks.environment import read_environment, read_state


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    cpu = "sys/devices/system/cpu"
    cores = {
        f"{cpu}/cpu{n}/cpufreq/{name}": text
        for n in (0, 1, 10)
        for name, text in {
            "scaling_governor": "powersave\n",
            "scaling_min_freq": "400000\n",
            "scaling_max_freq": "4700000\n",
            "scaling_cur_freq": f"{1000000 + n}\n",
        }.items()
    }
    return write(
        tmp_path,
        cores
        | {
            f"{cpu}/intel_pstate/no_turbo": "0\n",
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "4\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
            "proc/loadavg": "0.50 1.25 2.00 1/85 7960\n",
            "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable:    4194304 kB\n",
            "proc/1/cgroup": "0::/init.scope\n",
            "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone0/temp": "51500\n",
            "sys/class/thermal/thermal_zone1/type": "acpitz\n",
            "sys/class/thermal/thermal_zone1/temp": "not ready\n",
            "sys/class/thermal/thermal_zone2/type": "x86_pkg_temp\n",
            "sys/class/thermal/thermal_zone2/temp": "-1000\n",
        },
    )


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    return write(
        tmp_path,
        {
            "etc/nv_tegra_release": "# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, "
            "EABI: aarch64, DATE: Fri Sep 13 04:36:44 UTC 2024\n",
            "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n"
            "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n",
            "var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: install ok installed\n"
            "Version: 6.1+b123\n\nPackage: other\nVersion: 9\n",
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        },
    )


def test_clocks_governor_and_boost_are_read_core_by_core(laptop: Path) -> None:
    cpu = read_environment(laptop)["cpu"]
    assert cpu["governor"] == ["powersave"] * 3
    assert (cpu["min_mhz"], cpu["max_mhz"]) == ([400] * 3, [4700] * 3)
    assert cpu["boost"] is True


@pytest.mark.parametrize(
    ("files", "boost"),
    [({"cpufreq/boost": "0"}, False), ({"intel_pstate/no_turbo": "1"}, False), ({}, None)],
)
def test_boost_is_said_in_the_words_of_either_driver(
    files: dict[str, str], boost: bool | None, tmp_path: Path
) -> None:
    write(tmp_path, {f"sys/devices/system/cpu/{name}": text for name, text in files.items()})
    assert read_environment(tmp_path)["cpu"]["boost"] is boost


def test_state_holds_load_clocks_temperatures_and_throttling(laptop: Path) -> None:
    assert read_state(laptop) == {
        "load_average": [0.5, 1.25, 2.0],
        "clock_mhz": [1000, 1000, 1000],
        "temperature_c": {"x86_pkg_temp": 51.5, "x86_pkg_temp thermal_zone2": -1.0},
        "throttled": 7,
        "memory_available_mb": 4295,  # of 10^6 bytes: 4 GiB
    }


def test_system_is_named(laptop: Path) -> None:
    system = read_environment(laptop)["os"]
    assert system["name"] == "Debian GNU/Linux 12 (bookworm)"
    assert system["container"] is False


@pytest.mark.parametrize(
    "files",
    [
        {".dockerenv": ""},
        {"run/.containerenv": ""},
        {"proc/1/cgroup": "0::/kubepods/besteffort/pod1\n"},
        {"proc/1/cgroup": "1:name=systemd:/docker/0123\n"},
    ],
)
def test_container_is_recognized(files: dict[str, str], tmp_path: Path) -> None:
    assert read_environment(write(tmp_path, files))["os"]["container"] is True


def test_jetson_tells_l4t_jetpack_and_power_mode(jetson: Path) -> None:
    facts = read_environment(jetson)
    assert facts["jetson"] == {"l4t": "36.4.0", "jetpack": "6.1+b123", "power_mode": "2 MAXN_SUPER"}
    assert facts["board"] == "NVIDIA Jetson Orin Nano Developer Kit"


@pytest.mark.parametrize(
    ("removed", "key", "left"),
    [
        ("etc/nvpmodel.conf", "power_mode", "2"),
        ("var/lib/nvpmodel/status", "power_mode", None),
        ("var/lib/dpkg/status", "jetpack", None),
    ],
)
def test_jetson_without_one_of_its_files_still_tells_the_rest(
    removed: str, key: str, left: str | None, jetson: Path
) -> None:
    (jetson / removed).unlink()
    facts = read_environment(jetson)["jetson"]
    assert facts[key] == left
    assert facts["l4t"] == "36.4.0"


def test_release_file_of_another_form_gives_no_version(tmp_path: Path) -> None:
    write(tmp_path, {"etc/nv_tegra_release": "something else\n"})
    assert read_environment(tmp_path)["jetson"]["l4t"] is None


def test_machine_that_tells_nothing_gives_nulls_and_no_error(tmp_path: Path) -> None:
    facts = read_environment(tmp_path)
    assert facts["os"]["name"] is facts["os"]["container"] is facts["jetson"] is None
    assert facts["board"] is facts["nvidia_driver"] is facts["cpu"]["governor"] is None
    assert set(read_state(tmp_path).values()) == {None}


def test_unreadable_and_binary_files_are_no_error(tmp_path: Path) -> None:
    write(tmp_path, {"proc/loadavg": "who knows\n", "sys/module/nvidia/version": "\0\n"})
    (tmp_path / "etc/os-release").mkdir(parents=True)
    (tmp_path / "etc/nv_tegra_release").write_bytes(b"\xff\xfe\x00")
    facts = read_environment(tmp_path)
    assert facts["os"]["name"] is facts["nvidia_driver"] is None
    assert read_state(tmp_path)["load_average"] is None


def test_reading_changes_nothing(laptop: Path) -> None:
    def snapshot() -> dict[Path, Any]:
        return {p: p.read_bytes() for p in laptop.rglob("*") if p.is_file()}

    before = snapshot()
    read_environment(laptop)
    read_state(laptop)
    assert snapshot() == before


def test_this_machine_is_described_and_fits_into_json() -> None:
    facts = read_environment()
    assert facts["libraries"]["numpy"] == np.__version__
    assert facts["libraries"]["edgevision"]
    assert 1 <= facts["cpu"]["cores_usable"] <= facts["cpu"]["cores"]
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert facts["memory_mb"] == pytest.approx(installed / 1e6, abs=2)
    together = facts | read_state()
    assert json.loads(json.dumps(together)) == together


def test_library_without_a_distribution_is_asked_only_if_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Module:
        __version__ = "10.3.0"

    assert read_environment()["libraries"]["tensorrt"] is None
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", Module())
    assert read_environment()["libraries"]["tensorrt"] == "10.3.0"
