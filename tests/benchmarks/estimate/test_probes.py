"""This machine's rates: how they are measured, kept, and turned into limits. No time is asserted."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgevision.benchmarks.estimate import probes
from edgevision.benchmarks.estimate.cost import onnx_file, read_network
from edgevision.benchmarks.estimate.layers import layers_of
from edgevision.benchmarks.estimate.stacks import STACKS, Stack


def probe(engine, precision, kind, gflops):
    return {"engine": engine, "version": "1", "precision": precision, "kind": kind,
            "stack": "s", "gflops": gflops}  # fmt: skip


def rates(**changes):
    return {
        "schema": 1,
        "key": probes._key(2),
        "measured_at": "2025-01-01T00:00:00Z",
        "compute": [
            probe("ort", "fp32", "", 90.0),
            probe("openvino", "fp32", "", 100.0),
            probe("ort", "int8", "", 300.0),
            probe("ort", "fp32", "depthwise", 40.0),
        ],
        "bandwidth": [
            {"bytes": 1000, "copy_gbs": 50.0, "read_gbs": 60.0},
            {"bytes": 2000, "copy_gbs": 70.0, "read_gbs": 20.0},
            {"bytes": 3000, "copy_gbs": 10.0, "read_gbs": 12.0},
        ],
    } | changes


def test_the_best_of_all_engines_counts():
    limits = probes.machine_of_rates(rates()).best
    assert {p: r.flops_per_s for p, r in limits.rates.items()} == {"fp32": 100e9, "int8": 300e9}
    assert limits.rates["fp32"].note == "openvino, s"
    assert limits.kinds["fp32", "depthwise"].flops_per_s == 40e9
    assert limits.name == "2 threads"


def test_a_larger_working_set_is_never_the_faster_one():
    limits = probes.machine_of_rates(rates()).best
    assert limits.bandwidth == ((1000, 70e9), (2000, 70e9), (3000, 12e9))


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgevision" / "rates"


def keep(cache, data):
    probes._kept(2).write_text(data if isinstance(data, str) else json.dumps(data))


def test_what_was_measured_before_is_known(cache):
    assert probes.known_rates(2) is None
    keep(cache, rates())
    assert probes.known_rates(2) == rates()
    assert probes.known_rates(1) is None, "other threads are another measurement"


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "{",
        "[]",
        "null",
        rates(compute=[{"engine": "ort"}]),
        rates(bandwidth=[{"bytes": "many"}]),
        rates(compute=[probe("ort", "fp32", "", float("nan"))]),
        rates(compute=[probe("ort", "fp32", "", 0.0)]),
        rates(compute=[probe("ort", "fp32", "", -1.0)]),
        rates(key={**probes._key(2), "processor": "another"}),
        rates(schema=99),
    ],
)
def test_what_is_damaged_or_of_another_machine_is_measured_again(cache, damaged):
    keep(cache, damaged)
    assert probes.known_rates(2) is None


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_a_stack_computes_what_it_says(tmp_path, stack, quantized):
    path = tmp_path / "stack.onnx"
    path.write_bytes(onnx_file(stack.text(quantized=quantized)))
    network = read_network(path, {"image": (1, 3, stack.side, stack.side)})
    found = layers_of(network)
    assert 2 * found.macs == stack.flops
    assert found.precisions == (("int8",) if quantized else ("fp32",))
    done = {"": 0, "depthwise": 0, "narrow": 0}
    for (_, kind), flops in (item for layer in found.layers for item in layer.flops.items()):
        done[kind] += flops
    assert done[stack.kind] > 0.8 * found.flops


@pytest.mark.parametrize("kind", ["", "depthwise", "narrow"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_runs_a_stack(kind, precision):
    session = probes._opened("ort", precision, 1, Stack(kind, 8, 6, 3, 2))
    slot = session.slot()
    slot.submit()
    (output,) = slot.wait().values()
    assert output.shape == (1, 8, 6, 6)
    assert np.isfinite(output).all()
    session.close()


def test_an_engine_that_is_not_there_is_left_out(monkeypatch):
    from edgevision.errors import DependencyError

    def absent(*_):
        raise DependencyError("no such library")

    monkeypatch.setattr(probes.registry, "load", absent)
    assert list(probes._compute(1, 0.0, lambda _: None)) == []


def test_work_of_threads_that_the_kernel_has_not_counted_yet_counts():
    """Processor time lags behind by a tick for other threads: int8 once came out ten times too fast."""

    class Elsewhere:
        executed = SimpleNamespace(threads=1)
        attach = staticmethod(nullcontext)

        def slot(self):
            return SimpleNamespace(submit=lambda: None, wait=lambda: time.sleep(0.005))

    assert probes._fastest(Elsewhere(), 0.0) >= 0.005


@pytest.mark.slow
def test_this_machine_is_measured_and_remembered(cache):
    told = []
    found = probes.measure_rates(1, seconds=0.01, tell=told.append)
    assert probes.known_rates(1) == found
    limits = probes.machine_of_rates(found).best
    assert {"fp32", "int8"} <= set(limits.rates)
    assert all((rate.flops_per_s or 0) > 1e8 for rate in limits.rates.values())
    assert all(rate > 1e8 for _, rate in limits.bandwidth)
    assert told[0] == "ort fp32"
    assert [Path(f).suffix for f in cache.iterdir()] == [".json"]
