"""The manifest of a written bundle, read by hand: what is in it, what is hashed, what is not."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.bundle import open_bundle
from edgevision.converters import manifest as manifest_module
from edgevision.converters.conversion import Conversion
from edgevision.errors import ModelError
from edgevision.progress import Progress
from edgevision.verification import verify_bundle


@pytest.fixture(scope="module")
def bundle(converted: Conversion) -> Path:
    return converted.order.output


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "manifest.json").read_bytes())
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_it_says_what_the_model_is(manifest: dict[str, Any]) -> None:
    assert manifest["schema"] == 1
    assert (manifest["name"], manifest["task"]) == ("squares", "detect")
    assert manifest["labels"] == ["red", "green"]
    assert manifest["default"] == {"x86": "int8-x86", "arm": "fp32", "trt": "int8-trt"}


def test_it_lists_every_variant_with_its_own_specs(
    manifest: dict[str, Any], converted: Conversion
) -> None:
    assert [v["id"] for v in manifest["variants"]] == ["fp32", "int8-x86", "int8-trt"]
    for entry in manifest["variants"]:
        assert set(entry) >= {
            "id", "precision", "file", "sha256", "opset", "targets", "input", "output", "verified",
        }  # fmt: skip
        assert entry["opset"] == (19 if entry["id"] == "int8-trt" else 17)  # float16 scales
        assert entry["input"]["size"] == [64, 64]
        assert entry["input"]["tensor"] == "images"
        assert entry["output"]["decoder"] == "yolov8"
    fp32, int8, _ = manifest["variants"]
    assert not [v for v in fp32["verified"] if v["backend"] == "ort"], "it is the reference"
    assert int8["verified"][:1] == [
        {"backend": "ort", "compute": "int8", "metric": "f1", "value": 1.0, "samples": 320,
         "verdict": "pass"}
    ]  # fmt: skip


def test_every_file_but_those_with_times_is_hashed(manifest: dict[str, Any], bundle: Path) -> None:
    hashed = {v["file"]: v["sha256"] for v in manifest["variants"]} | manifest["files"]
    assert {name: sha256(bundle / name) for name in hashed} == hashed
    assert files(bundle) - set(hashed) == {"manifest.json", "report.md", "timings.json"}


def test_it_is_written_in_its_canonical_form_which_is_the_identity(
    manifest: dict[str, Any], bundle: Path
) -> None:
    plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert (bundle / "manifest.json").read_text(encoding="utf-8") == plain
    assert open_bundle(bundle).identity == sha256(bundle / "manifest.json")


def test_it_says_where_the_model_comes_from_and_what_made_it(
    manifest: dict[str, Any], converted: Conversion
) -> None:
    provenance = manifest["provenance"]
    source = converted.order.model
    assert provenance["source"] == {
        "file": "detector.onnx",
        "sha256": sha256(source),
        "data": {},
    }
    assert provenance["tools"]["onnxruntime"] == metadata.version("onnxruntime")
    assert provenance["options"]["samples"] == 64
    assert provenance["options"]["min_agreement"] == 0.95
    assert isinstance(provenance["cpu_features"], list)


def test_golden_frames_are_pictures_with_each_variants_results(
    manifest: dict[str, Any], bundle: Path
) -> None:
    golden = manifest["golden"]
    assert golden["source"] == "synthetic"
    assert golden["frames"] == [f"golden/{n:03d}.png" for n in range(4)]
    assert all(cv2.imread(str(bundle / name)) is not None for name in golden["frames"])
    assert set(golden["results"]) == {"fp32", "int8-x86", "int8-trt"}
    for name in golden["results"].values():
        records = json.loads((bundle / name).read_bytes())["frames"]
        assert len(records) == 4
        assert all(set(r) == {"result", "outputs"} for r in records)


def test_timings_have_the_promised_keys(bundle: Path) -> None:
    timings = json.loads((bundle / "timings.json").read_bytes())
    assert set(timings) >= {"variants", "environment"}
    assert set(timings["variants"]) == {"fp32", "int8-x86", "int8-trt"}
    for found in timings["variants"].values():
        assert found["latency_ms"]["p50"] > 0
        assert found["speedup"] > 0
    assert timings["variants"]["fp32"]["speedup"] == 1.0


def test_the_bundle_verifies_here(bundle: Path) -> None:
    assert verify_bundle(bundle, backend="ort", as_json=True) == 0


@pytest.mark.parametrize(
    ("result", "values", "named"),
    [
        ({"detections": []}, [1.0, float("nan")], "output 'output0'"),
        ({"detections": [{"score": float("inf")}]}, [1.0, 2.0], "the decoded result"),
    ],
)
def test_golden_results_that_are_not_finite_are_refused(
    converted: Conversion,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: dict[str, Any],
    values: list[float],
    named: str,
) -> None:
    def record(model: object, image: np.ndarray) -> dict[str, Any]:
        return {"result": result, "outputs": {"output0": {"shape": [2], "values": values}}}

    monkeypatch.setattr(manifest_module, "golden_record", record)
    monkeypatch.setattr(manifest_module, "load", lambda variant, own_score: nullcontext())
    with pytest.raises(ModelError, match="fp32 gives values that are not finite") as caught:
        manifest_module.write_bundle(converted, tmp_path, Progress(quiet=True))
    assert named in caught.value.received
    assert not (tmp_path / "manifest.json").exists()
