"""The sampler on a real NVIDIA GPU: what NVML tells is plausible and hangs together. Run with `pytest -m gpu tests/gpu`."""

from __future__ import annotations

import time

import pytest

from edgevision.benchmarks.sampling.energy import energy_of
from edgevision.benchmarks.sampling.sampler import Sampler

pytestmark = pytest.mark.gpu
nvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py and a GPU")


def test_readings_of_a_real_gpu_are_plausible():
    with Sampler() as sampler:
        origin = time.monotonic_ns()
        time.sleep(2)
        end_s = (time.monotonic_ns() - origin) / 1e9
    timeline = sampler.timeline(origin, end_s)
    facts = sampler.facts.get("nvml")
    if facts is None:
        pytest.skip(timeline["missing"]["gpu_percent"])
    assert facts["name"]
    assert facts["driver"]

    def known(name):
        """Nothing of what this GPU does not tell: on Jetson NVML knows little."""
        values = timeline["series"].get(name, {"values": []})["values"]
        return [value for value in values if value is not None]

    assert known("gpu_percent") or known("gpu_memory_mb")

    assert all(0 <= value <= 100 for value in known("gpu_percent"))
    assert all(0 < value < 120 for value in known("temperature_c.gpu"))
    assert all(0 < value < 5000 for value in known("gpu_clock_mhz"))
    assert all(value > 0 for value in known("gpu_memory_mb"))
    watts = known("power_w.gpu")
    if not watts:
        return
    # Its counter and its power are two readings of one thing; an idle card's may differ by some.
    energy = energy_of({**timeline, "power": [{"source": "", "rails": ["gpu"]}]}, 0, end_s, 1)
    assert min(watts) * 0.5 < energy["mean_watts"] < max(watts) * 2
