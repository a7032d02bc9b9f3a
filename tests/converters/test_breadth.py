"""Real topologies, all in one run: what the ``onnx`` wheel ships, and networks of torchvision where it is installed.

`benchmarks/studies/breadth.py` does the same with more of them, in int8 too.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
#: Without AlexNet, VGG-19 and ZFNet, which become files of hundreds of megabytes.
NAMES = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
TORCHVISION = ("mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1")


def convert_all(edgevision: Run, folder: Path, models: list[Path]) -> dict[str, Any]:
    lines = ['preset = "imagenet"', 'precision = "fp16"', 'golden = "none"']
    for path in models:
        lines += ["[[model]]", f"model = {json.dumps(str(path))}"]
    (folder / "models.toml").write_text("\n".join(lines))
    done = edgevision(
        "convert", "--list", "models.toml", "-o", "bundles", "--json", cwd=folder, seconds=1800
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    assert [entry["error"] for entry in summary["models"] if entry["error"]] == []
    assert done.returncode == 0, done.stderr
    return summary


def torchvision_models(torch: Any, reason: str) -> Any:
    """``torchvision.models``, also where its wheel is for CUDA and PyTorch's for CPUs.

    Its compiled operators are missing then, and importing it fails where it describes two of them. No classifier
    needs them: it is enough that they are declared.
    """
    try:
        return pytest.importorskip("torchvision.models", reason=reason)
    except RuntimeError:
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        models = importlib.import_module("torchvision.models")
        models.declared = library  # it undoes itself when it is dropped
        return models


def test_the_topologies_of_the_onnx_wheel_convert_in_one_run(
    edgevision: Run, tmp_path: Path
) -> None:
    models = [LIGHT / f"light_{name}.onnx" for name in NAMES]
    if not all(model.is_file() for model in models):
        pytest.skip(f"this onnx wheel brings no topologies in {LIGHT}")
    summary = convert_all(edgevision, tmp_path, models)
    assert summary["counts"]["written"] == len(NAMES)
    for entry in summary["models"]:
        # Constants that were made while running are weights now: 4 and 2 bytes each, 1.2 million at least.
        assert entry["variants"]["fp32"]["size_bytes"] > 2_000_000


def test_networks_of_torchvision_convert_in_one_run(edgevision: Run, tmp_path: Path) -> None:
    reason = "PyTorch is not installed: pip install 'edgevision[torch]' torchvision"
    pytest.importorskip("onnxscript", reason=reason)
    torch = pytest.importorskip("torch", reason=reason)
    networks = torchvision_models(torch, reason)
    paths = []
    for name in TORCHVISION:
        module = networks.get_model(name, weights=None).eval()
        paths.append(tmp_path / f"{name}.pt2")
        torch.export.save(torch.export.export(module, (torch.rand(1, 3, 224, 224),)), paths[-1])
    summary = convert_all(edgevision, tmp_path, paths)
    assert summary["counts"]["written"] == len(TORCHVISION)
