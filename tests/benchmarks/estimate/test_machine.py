"""Machines: names, what follows from published rates, and what bounds a layer."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgevision import targets
from edgevision.benchmarks.estimate.layers import Layer, Layers
from edgevision.benchmarks.estimate.machine import (
    Limits,
    Rate,
    gpu_target,
    machine_of_target,
    target_name,
)
from edgevision.benchmarks.estimate.roofline import floor_on, missing_precision
from edgevision.errors import UsageError

WITH_FIGURES = [name for name in targets.names() if targets.load(name).modes]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("orin-nano-8gb", "orin-nano-8gb"),
        ("jetson-orin-nano", "orin-nano-8gb"),
        ("Jetson Orin Nano", "orin-nano-8gb"),
        ("jetson-orin-nano-super", "orin-nano-8gb"),
        ("jetson-orin-nano-4gb", "orin-nano-4gb"),
        ("jetson-orin-nx", "orin-nx-16gb"),
        ("jetson-agx-orin", "agx-orin-64gb"),
        ("jetson-nano", "nano"),
        ("jetson_xavier_nx", "xavier-nx"),
        ("thor", "thor-t5000"),
    ],
)
def test_names_that_people_use(given, meant):
    assert target_name(given) == meant


def test_a_name_that_comes_near_is_suggested():
    with pytest.raises(UsageError, match="unknown target 'jetson-orin-nono'") as caught:
        target_name("jetson-orin-nono")
    assert "orin-nano-8gb" in caught.value.hint
    assert "this-machine" in caught.value.expected


@pytest.mark.parametrize(
    ("device", "target"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA L40S", None),
        ("NVIDIA RTX A4000", None),
    ],
)
def test_cards_by_their_own_names(device, target):
    assert gpu_target(device) == target


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_narrower_is_no_slower(name):
    for mode in machine_of_target(name).modes:
        known = [mode.rates[p].flops_per_s for p in ("fp32", "fp16", "int8") if p in mode.rates]
        known = [rate for rate in known if rate is not None]
        assert all(a <= b for a, b in pairwise(known))
        assert mode.bytes_per_s(10**6) == mode.bytes_per_s(10**9)


def test_published_rates_are_the_dense_ones():
    rates = machine_of_target("agx-orin-64gb").best.rates
    assert rates["int8"] == Rate(85e12)  # 170 with sparsity
    assert rates["fp16"] == Rate(42.5e12)
    assert rates["fp32"].flops_per_s == 21.25e12
    assert "TF32" in rates["fp32"].note


def test_a_rate_that_follows_says_so():
    rates = machine_of_target("orin-nx-16gb").best.rates
    assert rates["fp16"] == Rate(19e12, "half of int8's rate")


def test_a_sum_of_gpu_and_dla_bounds_the_gpu():
    rates = machine_of_target("xavier-nx").best.rates
    assert rates["int8"].flops_per_s == 21e12
    assert "one sum" in rates["int8"].note
    assert rates["fp16"].flops_per_s == 21e12  # no rule for this generation: what int8 reaches


def test_a_gpu_without_int8_has_no_rate_for_it():
    assert set(machine_of_target("nano").best.rates) == {"fp16", "fp32"}


def test_a_rate_that_nobody_published_leaves_the_bytes():
    rates = machine_of_target("rtx-3060").best.rates
    assert rates["int8"].flops_per_s is None
    assert "bytes alone" in rates["int8"].note


def test_dlas_are_added_when_they_are_asked_for():
    both = machine_of_target("agx-orin-64gb", dla=True)
    assert both.best.rates["int8"].flops_per_s == pytest.approx(137.5e12)
    assert "DLA" in both.title


def test_a_class_of_processors_has_no_figures():
    with pytest.raises(UsageError, match="x86-vnni is a class of processors") as caught:
        machine_of_target("x86-vnni")
    assert "--target this-machine" in caught.value.hint


def test_modes_by_name():
    machine = machine_of_target("orin-nano-8gb")
    assert machine.mode("maxn_super") is machine.best
    assert machine.mode("15W").rates["int8"].flops_per_s == 20e12
    with pytest.raises(UsageError, match="no figures for a mode '25W'") as caught:
        machine.mode("25W")
    assert "15W, MAXN_SUPER" in caught.value.expected


CACHES = Limits("m", {"fp32": Rate(100.0)}, ((10, 8.0), (100, 4.0), (1000, 1.0)))


@pytest.mark.parametrize(
    ("size", "rate"), [(1, 8.0), (10, 8.0), (99, 8.0), (100, 4.0), (999, 4.0), (10**9, 1.0)]
)
def test_a_working_set_moves_at_most_as_fast_as_a_smaller_one_was_seen_to(size, rate):
    assert CACHES.bytes_per_s(size) == rate


def one_layer(flops, weights=0, read=0, written=0):
    layer = Layer("a", "Conv", (), (1,), 0, flops, weights, read, written)
    return Layers("fp32", (layer,), 0, weights, read, written, ((0, 0, read), (0, 0, written)))


def test_the_longer_of_computing_and_moving_counts():
    limits = Limits("m", {"fp32": Rate(100.0)}, ((0, 10.0),))
    computes = floor_on(one_layer({("fp32", ""): 500}, 10, 10, 10), limits)
    assert (computes.seconds, computes.bound, computes.memory_s) == (5.0, "compute", 3.0)
    moves = floor_on(one_layer({("fp32", ""): 100}, 10, 10, 10), limits)
    assert (moves.seconds, moves.bound) == (3.0, "memory")
    assert len(moves.memory_bound) == 1


def test_activations_are_as_near_as_they_fit_and_weights_as_the_whole_network_does():
    # 20 bytes of activations at 8; 200 of weights, in a working set of 220, at 4
    floor = floor_on(one_layer({}, 200, 10, 10), CACHES)
    assert floor.seconds == 20 / 8 + 200 / 4


def test_a_kind_of_work_has_its_own_rate_where_one_is_known():
    limits = Limits("m", {"fp32": Rate(100.0)}, (), {("fp32", "depthwise"): Rate(50.0)})
    work = {("fp32", ""): 100, ("fp32", "depthwise"): 100, ("fp32", "narrow"): 100}
    assert floor_on(one_layer(work), limits).seconds == 1 + 2 + 1


def test_a_precision_that_is_not_there():
    limits = Limits("m", {"fp16": Rate(100.0)}, ())
    assert missing_precision(one_layer({("fp32", ""): 1}), limits) == "fp32"
    assert missing_precision(one_layer({("bf16", ""): 1}), limits) is None  # the units of float16


def test_nothing_is_below_moving_what_must_be_moved_once():
    limits = Limits("m", {"fp32": Rate(1e9)}, ((0, 10.0),))
    floor = floor_on(one_layer({("fp32", ""): 1}, 10, 20, 30), limits)
    assert floor.compulsory_s == pytest.approx(6.0)


@pytest.mark.parametrize("name", [n for n in WITH_FIGURES if targets.load(n).kind == "gpu"])
def test_float16_of_cards_is_at_least_half_of_int8_for_an_engine_may_add_up_in_float16(name):
    rates = machine_of_target(name).best.rates
    fp16, int8 = rates["fp16"].flops_per_s, rates["int8"].flops_per_s
    assert int8 is None or fp16 == pytest.approx(int8 / 2, rel=0.01)


def test_float16_of_a_4090_is_told_to_be_no_published_rate():
    # AD10x white paper, appendix A: 330.3 TFLOPS with sums in float16, 165.2 in float32; TF32 82.6
    rates = machine_of_target("rtx-4090").best.rates
    assert rates["fp16"].flops_per_s == pytest.approx(330.3e12, rel=1e-3)
    assert rates["fp32"].flops_per_s == pytest.approx(82.6e12, rel=1e-3)
    assert "sums in float16" in rates["fp16"].note
    assert not machine_of_target("l4").best.rates["fp16"].note
