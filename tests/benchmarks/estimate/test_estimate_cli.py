"""The verb ``estimate`` as a user calls it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from edgevision.benchmarks.estimate import probes
from edgevision.benchmarks.estimate.cli import estimate as command
from edgevision.cli import main

DOCS = Path(__file__).resolve().parents[3] / "docs/estimate.md"


@pytest.fixture
def estimate(capfd):
    """Runs it; gives exit status, stdout and stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["estimate", *map(str, arguments)])
        return int(caught.value.code or 0), *capfd.readouterr()

    return call


def test_a_table_for_people(estimate, drawn):
    status, out, err = estimate(drawn("resnet50"), "--target", "jetson-agx-orin", "--top", "3")
    assert (status, err) == (0, "")
    assert "8.2 GFLOP, 4.09 GMAC" in out
    assert "agx-orin-64gb: Jetson AGX Orin 64 GB" in out
    assert "image 1×3×224×224" in out
    assert "more: --top N" in out
    assert "DS-10662-001" in out, "the source of the figures"
    assert max(map(len, out.splitlines())) <= 100


def test_json_with_stable_keys(estimate, drawn):
    status, out, _ = estimate(drawn("yolo11n"), "--target", "jetson-orin-nano", "--json")
    assert status == 0
    data = json.loads(out)
    assert {"schema", "model", "variant", "inputs", "batch", "macs", "flops", "parameters", "unknown",
            "machine", "floors", "memory", "layers"} <= set(data)  # fmt: skip
    assert (data["schema"], data["batch"], data["inputs"]) == (1, 1, {"image": [1, 3, 640, 640]})
    pairs = [(floor["mode"], floor["precision"]) for floor in data["floors"]]
    assert pairs == [(m, p) for m in ("15W", "MAXN_SUPER") for p in ("fp32", "fp16", "int8")]
    assert {"floor_ms", "compute_ms", "memory_ms", "compulsory_ms", "bound", "fps", "bytes", "layers",
            "memory_bound_layers", "flops_per_s", "bytes_per_s", "note"} <= set(data["floors"][0])  # fmt: skip
    assert data["memory"]["fp16"]["weights_bytes"] == pytest.approx(2 * 2_616_256, rel=0.001)
    rows = data["layers"]["rows"]
    assert (data["layers"]["mode"], data["layers"]["precision"]) == ("MAXN_SUPER", "int8")
    assert sum(row["flops"] for row in rows) == data["flops"]
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-3)
    total = sum(row["floor_ms"] for row in rows)
    assert total == pytest.approx(data["floors"][-1]["floor_ms"], rel=1e-4)
    assert all(max(r["compute_ms"], r["memory_ms"]) == r["floor_ms"] for r in rows)


def test_a_batch_and_a_mode(estimate, drawn):
    options = ("--target", "orin-nano-8gb", "--mode", "15w", "--precision", "fp16", "--json")
    one = json.loads(estimate(drawn("resnet50"), *options)[1])
    many = json.loads(estimate(drawn("resnet50"), *options, "--batch", "16")[1])
    assert (many["batch"], many["layers"]["mode"], many["layers"]["precision"]) == (
        16,
        "15W",
        "fp16",
    )
    assert many["macs"] == 16 * one["macs"]
    assert many["floors"][0]["fps"] > one["floors"][0]["fps"], "weights are read once for all"


def test_a_quantized_graph_as_it_is_written(estimate, saved):
    text = """g (float[1,8,16,16] x) => (float[1,8,16,16] y)
    <float s = {0.1}, int8 z = {0}, int8[8,8,1,1] k = {%s}> {
    p = QuantizeLinear(x, s, z)
    q = DequantizeLinear(p, s, z)
    w = DequantizeLinear(k, s, z)
    y = Conv(q, w) }""" % ", ".join(["1"] * 64)  # noqa: UP031 - it is full of braces
    status, out, _ = estimate(saved(text), "--target", "orin-nx", "--json")
    assert status == 0
    data = json.loads(out)
    assert data["layers"]["precision"] == "as-written"
    assert list(data["memory"]) == ["fp32", "fp16", "int8", "as-written"]


def test_operators_that_are_not_known_are_named(estimate, saved):
    path = saved("g (float[2,3] x) => (int64[2,N] y) { y = NonZero(x) }")
    assert "1 NonZero: work or sizes unknown" in estimate(path, "--target", "orin-nx")[1]


def test_this_machine_is_measured_once(estimate, drawn, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured = []
    real = probes._compute

    def few(threads, seconds, tell):
        measured.append(threads)
        return [next(iter(real(threads, 0.0, tell)))]

    monkeypatch.setattr(probes, "_compute", few)
    monkeypatch.setattr(probes, "_SIZES", (2**17,))
    path = drawn("resnet50")
    for options in (["--threads", "1"], ["--threads", "1"], ["--threads", "1", "--measure"]):
        status, out, _ = estimate(path, *options)
        assert status == 0
        assert "1 thread" in out
    assert measured == [1, 1], "the second was known"
    data = json.loads(estimate(path, "--threads", "1", "--json")[1])
    assert data["machine"]["name"] == "this-machine"
    assert {floor["precision"] for floor in data["floors"]} == {"fp32"}


def test_real_bundles_and_models(estimate, test_data):
    status, out, _ = estimate(test_data / "models" / "ppocr-det.onnx", "--target", "thor", "--size", "320x320")  # fmt: skip
    assert status == 0
    assert "x 1×3×320×320" in out


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--target", "jetson-orin-nanno"], 2, "did you mean orin-nano"),
        (["--target", "arm"], 2, "arm is a class of processors"),
        (["--target", "orin-nx", "--mode", "5W"], 2, "no figures for a mode '5W'"),
        (["--target", "nano", "--precision", "int8"], 2, "nothing is known of nano in int8"),
        (["--target", "orin-nx", "--precision", "fp12"], 2, "fp32, fp16, int8"),
        (["--target", "orin-nx", "--threads", "1"], 2, "are of this-machine"),
        (["--dla"], 2, "--dla is of a Jetson"),
        (["--target", "orin-nx", "--size", "big"], 2, "--size big is no size"),
        (["--target", "orin-nx", "--shape", "y=1x2"], 2, "no input 'y'"),
        (["--target", "orin-nx", "--variant", "fp32"], 2, "has no variants"),
        (["--target", "orin-nx", "--batch", "0"], 2, "--batch"),
    ],
)
def test_what_makes_no_sense_says_why(estimate, drawn, options, status, message):
    ended, out, err = estimate(drawn("resnet50"), *options)
    assert (ended, out) == (status, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize("content", [None, b"", b"no model at all, but text", b"\x08\x07"])
def test_a_model_that_is_none(estimate, tmp_path, content):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    status, _, err = estimate(path, "--target", "orin-nx")
    assert status == 1
    assert "Traceback" not in err
    assert "m.onnx" in err


def test_sizes_that_are_left_open(estimate, saved):
    path = saved("g (float[1,3,h,w] x) => (float[1,3,h,w] y) { y = Relu(x) }")
    status, _, err = estimate(path, "--target", "orin-nx")
    assert status == 2
    assert "--size 640x640" in err
    assert estimate(path, "--target", "orin-nx", "--size", "64")[0] == 0


def test_commands_of_the_documentation_parse():
    blocks = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    calls = [words[2:] for words in lines if words[:2] == ["edgevision", "estimate"]]
    assert len(calls) >= 3
    for words in calls:
        command.make_context("estimate", list(words))


def test_every_key_of_the_json_is_documented(estimate, drawn):
    _, out, _ = estimate(drawn("resnet50"), "--target", "jetson-orin-nano", "--json")
    data = json.loads(out)
    told = set(
        re.findall(r"`([a-z_]+)`", DOCS.read_text(encoding="utf-8").partition("## As JSON")[2])
    )
    floor, memory, row = data["floors"][0], data["memory"]["fp32"], data["layers"]["rows"][0]
    for part in (data, data["machine"], floor, memory, data["layers"], row):
        assert not set(part) - told


def test_a_floor_of_next_to_nothing_is_no_rate_of_thousands_of_millions(estimate, saved):
    _, out, _ = estimate(
        saved("g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }"), "--target", "orin-nx"
    )
    row = next(line for line in out.splitlines() if line.startswith("25W"))
    assert row.split() == [
        "25W",
        "fp32",
        "<0.001",
        "<0.001",
        "<0.001",
        "memory",
        ">",
        "1",
        "million",
        "7.5",
    ]
    assert "less than 0.1 % of the device's" in out


def test_what_computes_and_moves_nothing_is_bound_by_nothing(estimate, saved):
    _, out, _ = estimate(
        saved("g (float[1,8] x) => (float[1,8] y) { y = Identity(x) }"), "--target", "orin-nx"
    )
    row = next(line for line in out.splitlines() if line.startswith("25W"))
    assert row.split() == ["25W", "fp32", *["0.000"] * 3, "—", "—", "—"]
    assert "0 layers in int8" in out
    assert "FLOP/byte" not in out


def test_what_the_device_has_no_memory_for_is_said(estimate, saved):
    path = saved("g (float[1,3,h,w] x) => (float[1,3,h,w] y) { y = Relu(x) }")
    _, out, _ = estimate(path, "--target", "orin-nano-8gb", "--size", "65536x65536")
    # 4096 Mi elements of 3 channels, 4 bytes each, come in and go out: 103 GB of 8
    assert "more than the device has: 12.9 times as much" in out


def test_a_graph_as_it_is_written_is_called_so(estimate, saved):
    text = """g (float16[1,8] x) => (float16[1,8] y) { y = Relu(x) }"""
    _, out, _ = estimate(saved(text), "--target", "orin-nx")
    assert "1 layer as written, mode MAXN_SUPER" in out
