"""The NVML sensor: on a fake module that is held to the real nvidia-ml-py, and with that on an emulated library."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgevision.benchmarks.sampling.energy import energy_of
from edgevision.benchmarks.sampling.flags import flags_of
from edgevision.benchmarks.sampling.sampler import Sampler
from edgevision.benchmarks.sampling.sensors.nvml import FUNCTIONS


@pytest.fixture
def nvml(monkeypatch):
    """The fake, fresh, as ``pynvml``."""
    file = Path(__file__).with_name("fake_nvml.py")
    spec = importlib.util.spec_from_file_location("pynvml", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return module


def test_gpu_in_units_of_the_record(board, nvml):
    sensor = board("container").sensor("nvml")
    nvml.Gpu.millijoules += 2_500
    values = sensor.read()
    assert {name: value for name, value in values.items() if "throttled" not in name} == {
        "gpu_percent": 97.0,
        "gpu_memory_mb": 1234.0,
        "gpu_clock_mhz": 1710.0,
        "temperature_c.gpu": 61.0,
        "power_w.gpu": 50.5,
        "energy_j.gpu": 2.5,
    }
    assert sensor.power.rails == ("gpu",)
    assert sensor.power.source == "NVML: Fake GPU"
    assert sensor.facts == {"name": "Fake GPU", "driver": "580.00", "power_limit_w": 75.0}


@pytest.mark.parametrize(
    ("bits", "holding"),
    [
        (0x0, set()),
        (0x1 | 0x2 | 0x10 | 0x100, set()),  # idle, clocks set by the user, sync boost, display
        (0x4, {"gpu-power-cap"}),
        (0x8 | 0x40, {"gpu-hardware", "gpu-heat-hardware"}),
        (0x20 | 0x80, {"gpu-heat", "gpu-power-brake"}),
    ],
)
def test_reasons_that_hold_the_clock_back(board, nvml, bits, holding):
    nvml.Gpu.reasons = bits
    values = board("container").sensor("nvml").read()
    assert {
        name.partition(".")[2] for name in values if "throttled" in name and values[name]
    } == holding


def test_what_a_gpu_does_not_tell_is_missing_with_the_reason_and_the_rest_is_there(board, nvml):
    nvml.Gpu.refused = frozenset(
        {"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates"}
    )
    sensor = board("container").sensor("nvml")
    assert sensor.absent == {
        "gpu_percent": "this GPU does not tell it: Not Supported",
        "energy_j.gpu": "this GPU does not tell it: Not Supported",
    }
    assert sensor.read()["power_w.gpu"] == 50.5
    assert sensor.power is not None  # energy is then integrated from power


def test_gpu_without_power_measures_no_power(board, nvml):
    nvml.Gpu.refused = frozenset({"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage"})
    assert board("container").sensor("nvml").power is None


def test_older_function_is_asked_where_the_newer_does_not_answer(board, nvml):
    nvml.Gpu.refused = frozenset({"nvmlDeviceGetCurrentClocksEventReasons"})
    nvml.Gpu.reasons = 0x40
    assert board("container").sensor("nvml").read()["throttled.gpu-heat-hardware"] == 1.0


def test_gpu_that_is_lost_in_mid_run_is_unknown_from_then_on(board, nvml):
    sensor = board("container").sensor("nvml")
    nvml.Gpu.refused = frozenset(
        {
            "nvmlDeviceGetPowerUsage",
            "nvmlDeviceGetTotalEnergyConsumption",
            "nvmlDeviceGetUtilizationRates",
        }
    )
    assert not {"power_w.gpu", "energy_j.gpu", "gpu_percent"} & sensor.read().keys()


@pytest.mark.parametrize(
    ("visible", "asked"),
    [("", 0), ("2", 2), ("1,0", 1), ("GPU-1234,GPU-9", "GPU-1234"), ("all", 0)],
)
def test_gpu_is_the_first_that_cuda_sees(board, nvml, monkeypatch, visible, asked):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    board("container").sensor("nvml")
    assert nvml.Gpu.asked == [asked]


def test_names_that_are_bytes_are_read(board, nvml):
    nvml.Gpu.name = b"Old GPU"
    assert board("container").sensor("nvml").facts["name"] == "Old GPU"


def test_library_that_does_not_start_is_the_reason(board, nvml):
    nvml.Gpu.refused = frozenset({"nvmlInit"})
    missing = board("container").missing("nvml")
    assert set(missing.values()) == {"NVML: Not Supported"}
    assert {"gpu_percent", "power_w.gpu", "gpu_memory_mb"} <= set(missing)


def test_missing_nvidia_ml_py_is_named_where_there_is_a_gpu(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    made = board("container")
    made.write("dev/nvidiactl", "")
    assert "pip install 'edgevision[nvidia]'" in made.missing("nvml")["gpu_percent"]


def test_fake_and_sampler_use_what_the_real_nvidia_ml_py_has(nvml, monkeypatch):
    monkeypatch.delitem(sys.modules, "pynvml")
    real = pytest.importorskip("pynvml")
    assert {name for name in FUNCTIONS if not hasattr(real, name)} == set()
    for name, fake in vars(nvml).items():
        if name.startswith("nvml") and callable(fake):
            theirs = inspect.signature(getattr(real, name))
            assert list(theirs.parameters) == list(inspect.signature(fake).parameters), name
        elif name.startswith(("nvml", "NVML_")):
            assert getattr(real, name) == fake, name
    assert issubclass(real.NVMLError, Exception)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The folder of the emulated ``libnvidia-ml.so.1``."""
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("libnvidia_ml.c")
    command = [
        "cc",
        "-shared",
        "-fPIC",
        "-Wall",
        "-o",
        str(folder / "libnvidia-ml.so.1"),
        str(source),
    ]
    subprocess.run(command, check=True)
    return folder


def test_real_nvidia_ml_py_in_the_real_process_on_an_emulated_library(board, library, monkeypatch):
    pytest.importorskip("pynvml")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1234")
    with Sampler(interval_s=0.02, root=board("container").root) as sampler:
        origin = time.monotonic_ns()
        time.sleep(0.4)
        end_s = (time.monotonic_ns() - origin) / 1e9
    stopped_s = (time.monotonic_ns() - origin) / 1e9
    timeline = sampler.timeline(origin, end_s)

    def known(name):
        """Times and values; on a busy machine a sensor that took long is asked less often."""
        values = timeline["series"][name]["values"]
        pairs = zip(timeline["t_s"], values, strict=True)
        return zip(*[(t, v) for t, v in pairs if v is not None], strict=True)

    assert sampler.problem is None
    assert sampler.facts["nvml"]["name"] == "Emulated GPU"
    assert timeline["missing"]["gpu_percent"] == "this GPU does not tell it: Not Supported"
    for name, value in (("memory_mb", 1234.0), ("clock_mhz", 1710.0)):
        assert set([*known(f"gpu_{name}")][1]) == {value}
    assert set([*known("temperature_c.gpu")][1]) == {61.0}
    energy = energy_of(timeline, 0, end_s, 10)
    times, counted = known("energy_j.gpu")
    at_begin, at_end = np.interp([0, end_s], times, counted)
    assert energy["joules"] == pytest.approx(at_end - at_begin, abs=1e-3)
    # Its counter tells 50 W in steps of 50 mJ. It is read behind its sample's time and before the next one's.
    begin, end = (max(i for i, t in enumerate(times) if t <= at) for at in (0, end_s))
    least_s = times[end] - times[min(begin + 2, len(times) - 1)]
    assert 50 * least_s - 0.1 <= energy["joules"] <= 50 * (stopped_s - times[begin]) + 0.1
    assert energy["source"] == "NVML: Emulated GPU"
    assert [
        flag["text"] for flag in flags_of(timeline, 0, end_s) if flag["kind"] == "throttled"
    ] == ["slowed down in 100 % of the time: heat of the GPU"]
