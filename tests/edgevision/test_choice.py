from __future__ import annotations

import json
import os

import pytest

from edgevision import choice as choice_module
from edgevision.bundle import open_bundle
from edgevision.choice import candidates, choose
from edgevision.errors import UsageError


def test_a_variant_that_is_asked_for(bundle):
    opened = open_bundle(bundle)
    assert choose(opened, variant="fp32").reason == "asked for"
    assert choose(opened, precision="fp32").variant.id == "fp32"
    with pytest.raises(UsageError, match="one of: fp32"):
        choose(opened, variant="int8")
    with pytest.raises(UsageError, match="one of: fp32"):
        choose(opened, precision="int8")


@pytest.fixture
def two(bundle, edit_manifest, monkeypatch):
    """A bundle with fp32 and int8-x86, on a machine that is x86 with VNNI."""

    def add(manifest):
        other = dict(manifest["variants"][0], id="int8-x86", precision="int8", file="int8-x86.onnx")
        manifest["variants"].append(other)
        manifest["default"] = {"x86": "int8-x86", "arm": "fp32"}

    (bundle / "int8-x86.onnx").write_bytes((bundle / "fp32.onnx").read_bytes())
    edit_manifest(bundle, add)
    monkeypatch.setattr(choice_module, "has_vnni", lambda: True)
    monkeypatch.setattr(choice_module, "_machine", lambda: "x86")
    return bundle


def test_the_default_is_the_manifest_s_for_this_machine(two, monkeypatch):
    assert choose(open_bundle(two)).variant.id == "int8-x86"
    assert choose(open_bundle(two), precision="fp32").variant.id == "fp32"
    for machine in ("arm", "riscv64"):
        monkeypatch.setattr(choice_module, "_machine", lambda m=machine: m)
        assert choose(open_bundle(two)).variant.id == "fp32"


def test_int8_without_vnni_falls_back_and_says_so(two, monkeypatch):
    monkeypatch.setattr(choice_module, "has_vnni", lambda: False)
    choice = choose(open_bundle(two))
    assert choice.variant.id == "fp32"
    assert "VNNI" in choice.reason
    asked = choose(open_bundle(two), precision="int8")
    assert (asked.variant.id, "although" in asked.reason) == ("int8-x86", True)


TARGETS = {"int8-x86": "x86", "int8-x86-avx2": "x86-avx2", "int8-arm": "arm", "int8-trt": "trt"}


@pytest.fixture
def schemes(bundle, edit_manifest, monkeypatch):
    """Opens a bundle with fp32 and these variants, each proven, on a machine with these features."""

    def opened(machine, features, *ids):
        def add(manifest):
            plain = manifest["variants"][0]
            line = {"backend": "ort", "compute": "int8", "verdict": "pass"}
            manifest["variants"] += [
                dict(plain, id=i, precision="int8", file=f"{i}.onnx", targets=[TARGETS[i]],
                     verified=[line])
                for i in ids
            ]  # fmt: skip
            manifest["default"] = {"x86": "fp32", "arm": "fp32"} | {TARGETS[i]: i for i in ids}

        for name in ids:
            (bundle / f"{name}.onnx").write_bytes((bundle / "fp32.onnx").read_bytes())
        edit_manifest(bundle, add)
        monkeypatch.setattr(choice_module, "_machine", lambda: machine)
        monkeypatch.setattr(choice_module, "has_vnni", lambda: "vnni" in features)
        monkeypatch.setattr(choice_module, "has_avx2", lambda: "avx2" in features)
        return open_bundle(bundle)

    return opened


@pytest.mark.parametrize(
    ("machine", "features", "ids", "chosen"),
    [
        ("x86", ["avx2", "vnni"], TARGETS, "int8-x86"),
        ("x86", ["avx2"], TARGETS, "int8-x86-avx2"),
        ("x86", [], TARGETS, "fp32"),
        ("x86", ["avx2", "vnni"], ["int8-x86-avx2"], "int8-x86-avx2"),
        ("x86", ["avx2"], ["int8-x86"], "fp32"),
        ("x86", ["avx2", "vnni"], ["int8-arm", "int8-trt"], "fp32"),
        ("arm", [], TARGETS, "int8-arm"),
        ("arm", [], ["int8-x86", "int8-x86-avx2", "int8-trt"], "fp32"),
        ("riscv64", [], TARGETS, "fp32"),
    ],
)
def test_each_processor_takes_the_scheme_made_for_it(schemes, machine, features, ids, chosen):
    opened = schemes(machine, features, *ids)
    assert choose(opened).variant.id == chosen
    assert candidates(opened)[0].variant.id == chosen


@pytest.mark.parametrize(
    ("features", "chosen"), [(["avx2", "vnni"], "int8-x86"), (["avx2"], "int8-x86-avx2")]
)
def test_noise_in_a_measurement_does_not_choose_seven_bits_for_eight(schemes, features, chosen):
    opened = schemes("x86", features, "int8-x86", "int8-x86-avx2")
    times = {"variants": {"int8-x86": {"speedup": 2.9}, "int8-x86-avx2": {"speedup": 3.2}}}
    (opened.path / "timings.json").write_text(json.dumps(times))
    assert candidates(opened)[0].variant.id == chosen


def test_a_variant_for_another_machine_runs_if_asked_for_and_is_called_that(schemes):
    asked = choose(schemes("x86", ["avx2"], "int8-arm"), precision="int8")
    assert asked.variant.id == "int8-arm"
    assert asked.reason == "the only one that fits, although it is written for arm"
    assert choose(schemes("x86", [], "int8-x86-avx2")).reason == (
        "not int8-x86-avx2: this processor has no AVX2, which it is written for"
    )


def test_a_slow_time_on_another_machine_does_not_count_against_a_variant(schemes):
    opened = schemes("arm", [], "int8-arm")
    times = {
        "variants": {"int8-arm": {"speedup": 0.7}},
        "environment": {"os": {"arch": "x86_64"}},
    }
    (opened.path / "timings.json").write_text(json.dumps(times))
    assert choose(opened).variant.id == "int8-arm"
    times["environment"]["os"]["arch"] = "aarch64"
    (opened.path / "timings.json").write_text(json.dumps(times))
    assert choose(opened).variant.id == "fp32"


@pytest.mark.parametrize(
    ("timings", "chosen"),
    [
        ('{"variants": {"int8-x86": {"speedup": 0.8}}}', "fp32"),
        ('{"variants": {"int8-x86": {"speedup": 2.1}}}', "int8-x86"),
        ("not json", "int8-x86"),
        ("[]", "int8-x86"),
        ('{"variants": {"int8-x86": {"speedup": null}}}', "int8-x86"),
    ],
)
def test_a_variant_that_was_slower_is_no_default(two, timings, chosen):
    (two / "timings.json").write_text(timings)
    assert choose(open_bundle(two)).variant.id == chosen


@pytest.mark.parametrize("kind", ["link", "pipe", "deep"])
def test_timings_that_are_no_plain_file_decide_nothing(two, tmp_path, kind):
    path, outside = two / "timings.json", tmp_path / "outside.json"
    path.unlink(missing_ok=True)
    outside.write_text('{"variants": {"int8-x86": {"speedup": 0.5}}}')
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("[" * 100_000)
    assert choose(open_bundle(two)).variant.id == "int8-x86"


@pytest.fixture
def measured(two, edit_manifest):
    """Lists triples as proven, with their speeds: ``{"fp32/openvino/bf16": 1.9}``; None is not measured."""

    def write(speeds, *, arch="x86_64", verdict="pass"):
        def add(manifest):
            for variant in manifest["variants"]:
                variant["verified"] = [
                    {"backend": backend, "compute": compute, "verdict": verdict}
                    for of, backend, compute in (name.split("/") for name in speeds)
                    if of == variant["id"]
                ]

        edit_manifest(two, add)
        triples = {name: {"speedup": speed} for name, speed in speeds.items()}
        plain = {"fp32": {"speedup": 1.0}, "int8-x86": {"speedup": 2.3}}
        environment = {"os": {"arch": arch}}
        (two / "timings.json").write_text(
            json.dumps({"variants": plain, "triples": triples, "environment": environment})
        )
        return open_bundle(two)

    return write


def _names(choices):
    return [f"{c.variant.id}/{c.backend}/{c.compute}" for c in choices]


LAST = "int8-x86/ort/None"


@pytest.mark.parametrize(
    ("speeds", "asked", "expected"),
    [
        ({}, {}, [LAST]),
        ({"fp32/openvino/bf16": 1.9}, {}, [LAST]),  # ort's int8 is faster
        ({"fp32/openvino/bf16": 2.9}, {}, ["fp32/openvino/bf16", LAST]),
        (
            {"fp32/openvino/bf16": 2.4, "int8-x86/openvino/int8": 2.9, "fp32/openvino/fp32": 1.1},
            {},
            ["int8-x86/openvino/int8", "fp32/openvino/bf16", LAST],
        ),
        ({"int8-x86/ort/int8": 2.5, "fp32/openvino/bf16": 2.4}, {}, [LAST]),
        ({"fp32/openvino/bf16": None}, {}, [LAST]),  # nobody knows how fast it is
        (
            {"fp32/abacus/fp32": 9.0},
            {},
            [LAST],
        ),  # of a later edgevision, or of a package that is absent
        (
            {"fp32/openvino/bf16": 1.9},
            {"variant": "fp32"},
            ["fp32/openvino/bf16", "fp32/ort/None"],
        ),
        ({"fp32/openvino/bf16": 2.9}, {"precision": "int8"}, [LAST]),
        ({"fp32/openvino/bf16": 2.9}, {"backend": "ort"}, [LAST]),
        (
            {"fp32/openvino/bf16": 1.9, "fp32/openvino/fp32": 1.1},
            {"backend": "openvino"},
            ["fp32/openvino/bf16", "fp32/openvino/fp32", "int8-x86/openvino/None"],
        ),
        ({}, {"backend": "openvino", "compute": "bf16"}, ["fp32/openvino/bf16"]),
        (
            {"fp32/openvino/bf16": None},
            {"compute": "bf16"},
            ["fp32/openvino/bf16", "fp32/ort/bf16"],
        ),
        ({}, {"compute": "int8"}, ["int8-x86/ort/int8"]),
        ({}, {"compute": "fp32"}, ["fp32/ort/fp32"]),
    ],
)
def test_candidates_are_the_faster_proven_ones_then_the_plain_choice(
    measured, speeds, asked, expected
):
    assert _names(candidates(measured(speeds), **asked)) == expected


def test_a_candidate_says_how_fast_it_was(measured):
    first = candidates(measured({"fp32/openvino/bf16": 2.9}))[0]
    assert first.reason == "proven, and measured at 2.90× fp32"


@pytest.mark.parametrize("verdict", ["fail", "insufficient", None, 1, ["pass"]])
def test_what_did_not_pass_is_no_candidate(measured, verdict):
    assert _names(candidates(measured({"fp32/openvino/bf16": 9}, verdict=verdict))) == [LAST]


def test_times_of_another_kind_of_machine_say_nothing(measured):
    assert _names(candidates(measured({"fp32/openvino/bf16": 9}, arch="aarch64"))) == [LAST]


def test_int8_sums_that_would_saturate_are_no_candidate(measured, monkeypatch):
    monkeypatch.setattr(choice_module, "has_vnni", lambda: False)
    opened = measured({"int8-x86/openvino/int8": 9})
    assert _names(candidates(opened)) == ["fp32/ort/None"]


@pytest.mark.parametrize(
    "line", [{}, {"verdict": "pass"}, {"verdict": "pass", "backend": [], "compute": {}},
             {"verdict": "pass", "backend": "ort"}, {"verdict": "pass", "backend": "ort", "compute": 3}]
)  # fmt: skip
def test_lines_of_proof_that_say_nothing_are_skipped(two, edit_manifest, line):
    edit_manifest(two, lambda m: m["variants"][0].update(verified=[line]))
    assert _names(candidates(open_bundle(two))) == [LAST]


@pytest.mark.parametrize("triples", [None, [], 3, {"fp32/openvino/bf16": 3}, {"x": {}},
                                     {"fp32/openvino/bf16": {"speedup": float("nan")}},
                                     {"fp32/openvino/bf16": {"speedup": -1}},
                                     {"fp32/openvino/bf16": {"speedup": 10**400}},
                                     {"fp32/openvino/bf16": {"speedup": True}}])  # fmt: skip
def test_speeds_that_are_none_are_skipped(measured, two, triples):
    opened = measured({"fp32/openvino/bf16": 9})
    (two / "timings.json").write_text(json.dumps({"triples": triples, "environment": 3}))
    assert _names(candidates(opened)) == [LAST]


def test_a_variant_that_is_not_there_is_no_candidate(two):
    with pytest.raises(UsageError, match="one of: fp32, int8-x86"):
        candidates(open_bundle(two), variant="x")


def test_a_single_file_runs_in_ort(models):
    assert _names(candidates(open_bundle(models.detector))) == ["model/ort/None"]


def test_a_variant_that_is_slow_in_one_engine_may_be_fast_in_another(measured, two):
    measured({"int8-x86/openvino/int8": 2.0})
    timings = json.loads((two / "timings.json").read_bytes())
    timings["variants"]["int8-x86"]["speedup"] = 0.9
    (two / "timings.json").write_text(json.dumps(timings))
    assert _names(candidates(open_bundle(two))) == ["int8-x86/openvino/int8", "fp32/ort/None"]
