"""A benchmark's record beside its floor."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgevision.benchmarks.estimate import floor as floors
from edgevision.benchmarks.estimate import probes
from edgevision.benchmarks.estimate.machine import Limits, Machine, Rate, machine_of_target
from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.report.text import report_text
from edgevision.benchmarks.run import measure
from edgevision.benchmarks.terms import Plan
from edgevision.bundle import open_bundle
from edgevision.errors import UsageError

#: 1 operation and 4 bytes a second, so that a floor in seconds is a count.
UNIT = Machine("unit", "Unit", (Limits("only", {"fp32": Rate(1.0)}, ((0, 4.0),)),), None, "made up")
#: The classifier flattens 1×3×8×8: nothing is computed, nothing moved.
TEXT = """g (float[1,3,8,8] image) => (float[1,3,8,8] y) {
a = Relu(image)
y = MaxPool<kernel_shape = [1, 1]>(a) }"""
ELEMENTS = 3 * 8 * 8


@pytest.fixture
def rates(monkeypatch, tmp_path):
    """This machine as it was measured: 100 GFLOP/s in fp32, 10 GB/s."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def keep(threads):
        probe = {"engine": "ort", "version": "1", "precision": "fp32", "kind": "", "stack": "s"}
        data = {
            "schema": 1,
            "key": probes._key(threads),
            "measured_at": "2025-01-01T00:00:00Z",
            "compute": [probe | {"gflops": 100.0}],
            "bandwidth": [{"bytes": 1, "copy_gbs": 10.0, "read_gbs": 10.0}],
        }
        probes._kept(threads).write_text(json.dumps(data))

    return keep


@pytest.fixture
def variant(model_file, saved):
    """The classifier's, with a file that moves something."""
    return replace(next(iter(open_bundle(model_file).variants.values())), file=saved(TEXT))


def test_the_floor_of_a_file(saved):
    floor = floors.floor_of(saved(TEXT), "fp32", UNIT)
    # The activation reads and writes all, so does the pool: four bytes a second.
    assert floor.seconds == 2 * 2 * ELEMENTS
    assert floor.bound == "memory"


def test_a_machine_that_does_not_compute_so(saved):
    with pytest.raises(UsageError, match="how fast nano computes in int8"):
        text = """g (int8[1,4] x) => (int32[1,4] y) <int8[4,4] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}>
        { y = MatMulInteger(x, w) }"""
        floors.floor_of(saved(text), "int8", machine_of_target("nano"))


def test_a_mode_without_figures_counts_as_the_fastest(saved):
    machine = machine_of_target("orin-nano-8gb")
    assert floors.floor_of(saved(TEXT), "fp32", machine, mode="25W").mode == "MAXN_SUPER"
    assert floors.floor_of(saved(TEXT), "fp32", machine, mode="15W").mode == "15W"


def test_measured_over_floor(record, variant, rates):
    rates(record.threads["engine"])
    found = floors.floor_of_run(record, variant)
    assert found["reason"] is None
    # 4 passes over 192 float32 at 10 GB/s
    assert found["floor_ms"] == pytest.approx(4 * ELEMENTS * 4 / 10e9 * 1e3, abs=1e-6)
    p50 = record.stages_ms["compute"]["p50"]
    assert found["measured_ms"] == pytest.approx(p50)
    assert found["measured_over_floor"] == pytest.approx(p50 / found["floor_ms"], abs=5)
    assert (found["precision"], found["machine"], found["bound"]) == ("fp32", "this-machine", "memory")  # fmt: skip
    assert (found["flops"], found["bytes"]) == (2 * ELEMENTS, 4 * ELEMENTS * 4)
    assert (found["flops_per_s"], found["bytes_per_s"]) == (100e9, 10e9)


@pytest.mark.parametrize(
    ("changes", "rows", "ms", "how"),
    [
        ({}, 1, 5.0, "p50 of the stage compute"),
        # end to end a query of eight pictures is eight inferences
        ({"samples_per_query": 8}, 1, 5.0 / 8, "p50 of the stage compute"),
        # the engine alone does four rows at once
        ({"samples_per_query": 8, "boundary": {"kind": "inference-only"}}, 4, 2.5, "p50 of the stage compute"),
        ({"in_flight": 2}, 1, 1.0, "duration of the run ÷ inferences"),
        ({"in_flight": 2, "samples_per_query": 4}, 4, 1.0, "duration of the run ÷ inferences"),
        ({"stages_ns": {"compute": np.full(5, 5_000_000)}}, 1, None, "p50 of the stage compute"),
    ],
)  # fmt: skip
def test_the_time_of_one_inference(record, changes, rows, ms, how):
    count = 20
    base = replace(
        record,
        samples_ns=np.full(count, 9_000_000),
        stages_ns={"compute": np.full(count, 5_000_000)},
        ran_ns=count * 1_000_000,
        in_flight=1,
    )
    assert floors._measured_ms(replace(base, **changes), rows) == (ms, how)


def test_a_machine_that_was_not_measured_says_how(record, variant, rates):
    found = floors.floor_of_run(record, variant)
    assert (found["floor_ms"], found["measured_over_floor"]) == (None, None)
    threads = record.threads["engine"]
    assert f"estimate MODEL --target this-machine --threads {threads}" in found["reason"]


def test_an_engine_that_computes_nothing_has_no_floor(record, variant):
    found = floors.floor_of_run(replace(record, backend="fake"), variant)
    assert found["reason"] == "the backend 'fake' computes nothing"


def test_without_onnx_there_is_no_floor_but_a_record(record, variant, rates, monkeypatch):
    import sys

    rates(record.threads["engine"])
    monkeypatch.delitem(sys.modules, "edgevision.benchmarks.estimate.cost", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = floors.floor_of_run(record, variant)
    assert found["floor_ms"] is None
    assert "pip install 'edgevision[convert]'" in found["reason"]


def jetson(tmp_path, mode):
    """The file system of an Orin Nano, as far as it is looked at."""
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_text("nvidia,p3768-0000+p3767-0005-super\0nvidia,tegra234\0")
    status = tmp_path / "var/lib/nvpmodel"
    status.mkdir(parents=True)
    (status / "status").write_text("pmode:0000")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(f"< POWER_MODEL ID=0 NAME={mode} >\n")
    return tmp_path


@pytest.mark.parametrize(("mode", "meant"), [("15W", "15W"), ("25W", "MAXN_SUPER")])
def test_a_jetson_is_known_by_its_board_and_mode(record, variant, tmp_path, mode, meant):
    ran = replace(record, backend="trt", engine={**record.engine, "device": "Orin"}, compute="fp16")
    found = floors.floor_of_run(ran, variant, root=jetson(tmp_path, mode))
    assert (found["machine"], found["mode"]) == ("orin-nano-8gb", meant)
    assert found["bytes_per_s"] == (68e9 if mode == "15W" else 102e9)


def test_a_card_is_known_by_its_name(record, variant, tmp_path):
    engine = {**record.engine, "device": "NVIDIA GeForce RTX 4090"}
    found = floors.floor_of_run(
        replace(record, backend="trt", engine=engine), variant, root=tmp_path
    )
    assert found["machine"] == "rtx-4090"
    engine = {**record.engine, "device": "NVIDIA Quadro Nobody"}
    found = floors.floor_of_run(
        replace(record, backend="trt", engine=engine), variant, root=tmp_path
    )
    assert found["reason"] == "nothing is known of how fast NVIDIA Quadro Nobody is"


def test_bench_puts_it_into_the_record_and_the_table(open_fake, model_file, pictures, sign, rates):
    from edgevision.model import open_model

    with open_model(model_file, threads=1) as model:
        rates(1)
        plan = Plan(duration_s=0, min_queries=20, warmup=0)
        record = measure(model, lambda: MemorySource(pictures), plan, sign)
    assert record.floor is not None
    assert record.floor["machine"] == "this-machine"
    assert record.to_json()["floor"] == record.floor
    # The classifier only flattens: of such a model nothing is bound, and nothing is divided by zero.
    assert record.floor["floor_ms"] == 0
    assert record.floor["measured_over_floor"] is None
    shown = replace(record, floor={**record.floor, "floor_ms": 2.0, "measured_over_floor": 1.5})
    assert "2.000 ms by" in report_text(shown)
    assert "measured 1.50× that" in report_text(shown)
