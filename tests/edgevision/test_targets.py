from __future__ import annotations

import json
from itertools import pairwise

import pytest

from edgevision import targets
from edgevision.errors import UsageError

SCHEMES = {"", "trt", "x86", "x86-avx2", "arm"}  # design: "Precision lives in the graph"
#: Fields whose figures come from somewhere.
SOURCED = ("compute_capability", "memory_gb", "power_w", "dla_engines", "advertised_tops", "needs",
           "has", "modes")  # fmt: skip
SERIES = ["orin-nano-4gb", "orin-nano-8gb", "orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb",
          "agx-orin-64gb", "thor-t4000", "thor-t5000"]  # fmt: skip

every = pytest.mark.parametrize("name", targets.names())


def rates(mode):
    return [(unit, p, r) for unit in ("gpu", "dla") for p, r in getattr(mode, unit).items()]


@every
def test_every_field_has_its_type(name):
    one = targets.load(name)
    assert one.name == name
    assert one.title
    assert one.kind in ("jetson", "gpu", "cpu")
    assert one.int8 in SCHEMES
    assert (one.compute_capability is None) == (one.kind == "cpu")
    assert bool(one.needs) != bool(one.has)
    assert one.estimate_only == bool(one.has)
    assert list(one.power_w) == sorted(one.power_w)


@every
def test_every_figure_names_its_source(name):
    one = targets.load(name)
    given = {key for key in SOURCED if getattr(one, key)}
    assert given == set(one.sources)
    assert all(len(text) > 10 for text in one.sources.values())


@every
def test_dense_is_half_of_sparse(name):
    for mode in targets.load(name).modes:
        for unit, precision, rate in rates(mode):
            assert rate.dense, (unit, precision)
            if rate.sparse is not None:  # data sheets round to whole numbers
                assert rate.sparse == pytest.approx(2 * rate.dense, abs=1), (unit, precision)


@every
def test_narrower_types_and_later_modes_are_no_slower(name):
    one = targets.load(name)
    for mode in one.modes:
        for unit in (mode.gpu, mode.dla):
            known = [unit[p].dense for p in ("fp16", "int8", "fp8", "fp4") if p in unit]
            assert known == sorted(known)
    for slow, fast in pairwise(one.modes):
        assert slow.bandwidth_gbs <= fast.bandwidth_gbs
        assert slow.gpu["int8"].dense < fast.gpu["int8"].dense


@every
def test_what_a_module_is_sold_by_is_the_sum_of_its_parts(name):
    one = targets.load(name)
    if one.advertised_tops is None or not one.best.gpu:
        return
    parts = [unit["int8"] for unit in (one.best.gpu, one.best.dla) if "int8" in unit]
    assert sum(r.sparse or r.dense for r in parts) == pytest.approx(one.advertised_tops, abs=1)


def test_a_larger_module_is_no_slower():
    loaded = [targets.load(name) for name in SERIES]
    for small, large in pairwise(loaded):
        assert small.best.gpu["int8"].dense <= large.best.gpu["int8"].dense
        assert small.best.bandwidth_gbs <= large.best.bandwidth_gbs


@pytest.mark.parametrize("name", ["orin-nano-4gb", "agx-orin-64gb", "thor-t5000", "t4", "rtx-4090"])
def test_what_engines_are_built_for_needs_a_strongly_typed_builder(name):
    major, minor = map(int, targets.load(name).needs["tensorrt"].split("."))
    assert (major, minor) >= (10, 3)


def test_devices_too_old_are_for_estimates():
    old = [name for name in targets.names() if targets.load(name).estimate_only]
    assert old == ["nano", "xavier-nx", "agx-xavier"]
    assert targets.load("nano").int8 == "", "Maxwell has no int8"


def test_a_mode_is_there_even_where_nothing_is_known():
    best = targets.load("x86-vnni").best
    assert (best.name, best.bandwidth_gbs, dict(best.gpu)) == ("default", None, {})


def test_a_name_that_is_not_there():
    with pytest.raises(UsageError, match="unknown target 'orin'") as caught:
        targets.load("orin")
    assert "agx-orin-64gb" in str(caught.value)


def test_the_verb_shows_every_target_in_100_columns(ev):
    ended = ev("targets")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0].rstrip("*") for line in lines[1 : len(targets.names()) + 1]] == (
        targets.names()
    )


def test_the_verb_shows_one_target_with_its_sources(ev):
    out = ev("targets", "orin-nx-16gb").out
    for said in ("Jetson Orin NX 16 GB", "MAXN_SUPER", "38 TOPS dense, 77 sparse",
                 "DLA  int8  40 TOPS dense", "DS-10712-001 v1.5", "TensorRT 10.3"):  # fmt: skip
        assert said in out
    assert "for estimates only" in ev("targets", "xavier-nx").out


def test_the_verb_as_json(ev):
    everything = json.loads(ev("targets", "--json").out)
    assert list(everything) == targets.names()
    one = json.loads(ev("targets", "agx-orin-64gb", "--json").out)
    assert one == everything["agx-orin-64gb"]
    assert one["modes"][0]["gpu_tops"]["int8"] == {"dense": 85, "sparse": 170}
    assert one["sources"]["power_w"].startswith("NVIDIA Jetson AGX Orin")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_name_that_is_not_there_ends_with_2(ev, options):
    ended = ev("targets", "../secret", *options)
    assert (ended.status, ended.out) == (2, "")
    assert "unknown target" in ended.err
    assert "orin-nano-8gb" in ended.err
