"""The plug-in of docs/presets.md: a decoder in a package outside the tree, found by its entry point."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision import presets, registry
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.metadata import KEY, variant_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/custom_decoder"
LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What ``pip install`` would leave in site-packages, from the example's own pyproject.toml."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    folder = tmp_path_factory.mktemp("site")
    name = project["name"].replace("-", "_")
    info = folder / f"{name}-{project['version']}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(about)
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / "best_box.py").write_bytes((EXAMPLE / "best_box.py").read_bytes())
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("best_box", None)


@pytest.fixture
def model(models, tmp_path):
    """Coloured squares, decoded by the plug-in."""
    preset = ModelSpec.from_dict(presets.load("yolov8"))
    plain = InputSpec((64, 64), resize="stretch")
    spec = replace(
        preset, input=plain, output=OutputSpec("best-box", {"score": 0.4}), labels=LABELS
    )
    told = {KEY: variant_metadata("fp32", "fp32", spec)}
    return models.make_detector(tmp_path / "best.onnx", metadata=told)


def test_the_page_shows_the_package_as_it_is():
    page = (ROOT / "docs/presets.md").read_text("utf-8")
    assert (EXAMPLE / "best_box.py").read_text("utf-8") in page
    (shown,) = re.findall(r"```toml\n(\[project\.entry-points.*?)```", page, re.DOTALL)
    assert shown in (EXAMPLE / "pyproject.toml").read_text("utf-8")


@pytest.mark.usefixtures("installed")
def test_the_registry_lists_it_without_importing_it():
    assert "best-box" in registry.names("decoders")
    assert "best_box" not in sys.modules
    (entry,) = metadata.entry_points(group="edgevision.decoders", name="best-box")
    assert registry.load("decoders", "best-box") is entry.load()


@pytest.mark.usefixtures("installed")
def test_run_and_inspect_use_it(model, draw_square, ev, tmp_path):
    shown = ev("inspect", model)
    assert shown.status == 0, shown.err
    assert "best-box" in shown.out
    image = np.maximum(draw_square("red", (16, 24)), draw_square("blue", (40, 8)) // 2)
    cv2.imwrite(str(tmp_path / "two.png"), image)
    ran = ev("run", model, tmp_path / "two.png", "-")
    assert ran.status == 0, ran.err
    (found,) = json.loads(ran.out.splitlines()[0])["detections"]
    assert found["label"] == "red"  # yolov8 would give two squares and their neighbours
    assert found["box_xyxy"] == [16, 24, 32, 40]
    assert found["score"] == pytest.approx(1, abs=0.01)


def test_without_the_package_the_message_names_the_decoders_there_are(model, ev):
    ran = ev("run", model, "synthetic://noise?size=64x64&frames=1")
    assert ran.status == 2
    assert "best-box" in ran.err
    assert "yolov8" in ran.err
    assert "edgevision.decoders" in ran.err


@pytest.mark.usefixtures("installed")
def test_it_keeps_the_contract_of_a_decoder():
    decoder = registry.load("decoders", "best-box")(labels=LABELS, score=0.4)
    same = Transform.identity(64, 64)
    assert len(decoder.decode({"o": np.zeros((1, 7, 49), np.float32)}, 0, same)) == 0
    assert len(decoder.decode({"o": np.full((1, 7, 49), np.nan, np.float32)}, 0, same)) == 0
    with pytest.raises(SpecError, match=r"\(1, 8, 49\)"):
        decoder.decode({"o": np.zeros((1, 8, 49), np.float32)}, 0, same)
    with pytest.raises(SpecError, match="best-box has no such parameter"):
        registry.load("decoders", "best-box")(iou=0.5)


def test_the_installed_command_uses_it(model, site, ev_process, tmp_path):
    path = os.pathsep.join(p for p in (str(site), os.environ.get("PYTHONPATH")) if p)
    source = "synthetic://noise?seed=1&size=64x64&frames=2"
    ran = ev_process("run", model, source, "-", cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    assert ran.status == 0, ran.err
    assert len(ran.out.splitlines()) == 2
