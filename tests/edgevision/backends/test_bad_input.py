"""What a user is told where OpenVINO is missing, broken or too old, or cannot do what was asked of it."""

from __future__ import annotations

import json
import os

import onnx
import pytest
from onnx import helper

MISSING = "raise ModuleNotFoundError(\"No module named 'openvino'\", name='openvino')"
BROKEN = "raise ImportError('libopenvino.so.2641: cannot open shared object file')"
INSTALL = "try:      pip install 'edgevision[openvino]'"
UPGRADE = "try:      pip install --upgrade 'edgevision[openvino]'"

#: What ``import openvino`` meets → what is said of it.
UNUSABLE = {
    "missing": (MISSING, ["needs openvino", "received: No module named 'openvino'", INSTALL]),
    "broken": (BROKEN, ["needs openvino", "received: libopenvino.so.2641: cannot open", INSTALL]),
    "old": (
        "__version__ = '2023.0.1-10926-b4452d56304'",
        ["needs a newer openvino", "received: 2023.0.1-10926", "expected: 2024.6 or", UPGRADE],
    ),
    "without a version": ("", ["needs a newer openvino", "expected: 2024.6 or later", UPGRADE]),
    "with another kind of version": ("__version__ = 'custom'", ["received: custom", UPGRADE]),
}
EACH = pytest.mark.parametrize(("found", "said"), UNUSABLE.values(), ids=UNUSABLE)


@pytest.fixture
def importing(tmp_path):
    """An environment in which ``import openvino`` runs a text in place of what is installed."""

    def environment(text):
        folder = tmp_path / "in_front"
        folder.mkdir()
        (folder / "openvino.py").write_text(text)
        return {**os.environ, "PYTHONPATH": str(folder)}

    return environment


@pytest.fixture
def proven(bundle, edit_manifest):
    """The bundle, which says that it was proven in OpenVINO in this precision, and was fastest there."""

    def write(compute):
        line = {"backend": "openvino", "compute": compute, "verdict": "pass"}
        edit_manifest(bundle, lambda m: m["variants"][0].update(verified=[line]))
        triples = {f"fp32/openvino/{compute}": {"speedup": 2.0}}
        (bundle / "timings.json").write_text(json.dumps({"triples": triples}))
        return bundle

    return write


@EACH
def test_asking_for_an_openvino_that_cannot_be_used_says_what_to_do(
    ev_process, importing, bundle, squares_video, found, said
):
    ended = ev_process("run", bundle, squares_video, "--backend", "openvino", env=importing(found))
    assert ended.status == 1
    for text in said:
        assert text in ended.err


def test_auto_needs_no_openvino_and_does_not_mention_it(
    ev_process, importing, bundle, squares_video
):
    ended = ev_process("run", bundle, squares_video, env=importing(MISSING))
    assert (ended.status, ended.out[:9]) == (0, "12 frames")
    assert "openvino" not in (ended.out + ended.err).lower()


@pytest.mark.parametrize("why", ["missing", "old"])
def test_auto_says_why_it_does_not_take_the_faster_openvino(
    ev_process, importing, proven, squares_video, why
):
    found, said = UNUSABLE[why]
    ended = ev_process("run", proven("fp32"), squares_video, env=importing(found))
    assert (ended.status, ended.out[:9]) == (0, "12 frames")
    assert "onnxruntime" in ended.err
    assert f"; not fp32 in openvino (fp32): backend 'openvino' {said[0]}" in ended.err


@pytest.fixture
def without_bf16(monkeypatch):
    """This processor, as if it had no bf16."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    from edgevision.backends import _openvino_model

    monkeypatch.setattr(_openvino_model, "capabilities", lambda: ["FP32", "INT8"])


def test_a_processor_without_bf16_that_is_asked_for_it(without_bf16, ev, bundle, squares_video):
    ended = ev("run", bundle, squares_video, "--backend", "openvino", "--compute", "bf16")
    assert ended.status == 1
    for text in (
        "does not compute in bf16",
        "received: OpenVINO lists FP32",
        "leave --compute out",
    ):
        assert text in ended.err


def test_auto_on_a_processor_without_bf16_says_why_not(without_bf16, ev, proven, squares_video):
    ended = ev("run", proven("bf16"), squares_video)
    assert ended.status == 0
    assert "not fp32 in openvino (bf16): this processor does not compute in bf16" in ended.err
    assert "onnxruntime" in ended.err


@pytest.fixture
def refused(proven, rehash):
    """A bundle whose model only onnxruntime takes: it multiplies by the ones of an operator of ai.onnx.ml."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    bundle = proven("fp32")
    model = onnx.load(bundle / "fp32.onnx")
    node = helper.make_node
    model.graph.node[-1].output[0] = "before"
    model.graph.node.extend(
        [
            node("Binarizer", ["before"], ["ones"], domain="ai.onnx.ml", threshold=-1e9),
            node("Mul", ["before", "ones"], ["output0"]),
        ]
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    onnx.save(model, bundle / "fp32.onnx")
    rehash(bundle)
    return bundle


def test_auto_says_that_openvino_refuses_the_model_and_runs_it_in_ort(refused, ev, squares_video):
    ended = ev("run", refused, squares_video)
    assert (ended.status, ended.out[:9]) == (0, "12 frames")
    assert "not fp32 in openvino (fp32): OpenVINO cannot load fp32.onnx: " in ended.err
    assert "Binarizer" in ended.err
    assert "onnxruntime" in ended.err


def test_asking_for_openvino_with_a_model_that_it_refuses(refused, ev, squares_video):
    ended = ev("run", refused, squares_video, "--backend", "openvino")
    assert (ended.status, ended.out) == (1, "")
    assert "OpenVINO cannot load fp32.onnx: " in ended.err
    assert "Binarizer" in ended.err
    assert "try:      --backend ort" in ended.err


@pytest.mark.parametrize("place", ["a file", "no folder", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(
    ev_process, bundle, squares_video, tmp_path, place
):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    home = {"a file": tmp_path / "file", "no folder": "/proc/nowhere", "read-only": tmp_path / "ro"}
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "ro").mkdir(mode=0o500)
    env = {**os.environ, "XDG_CACHE_HOME": str(home[place])}
    ended = ev_process("run", bundle, squares_video, "--backend", "openvino", env=env)
    assert (ended.status, ended.out[:9]) == (0, "12 frames")
    assert "cache" not in ended.err
    assert (tmp_path / "file").read_text() == "in the way"
