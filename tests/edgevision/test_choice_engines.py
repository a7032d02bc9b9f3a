"""What `run` takes where engines lie: the engine first on a machine with an NVIDIA GPU, and what is portable behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision import choice as choice_module
from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.engine_key import EngineKey, machine_facts
from edgevision.engines import Engine, engine_stem
from edgevision.model import open_model

HERE = machine_facts("tensorrt", "10.3.0", "8.7")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Device files as a driver makes them; there is no driver."""
    monkeypatch.setattr(choice_module, "has_nvidia_gpu", lambda: True)


def put(folder: Path, variant: str = "fp32", **changed: str) -> None:
    told = {
        "os": HERE.os,
        "arch": HERE.arch,
        "variant_sha256": "0" * 64,
        "profile": "x=1",
    } | changed
    key = EngineKey("tensorrt", "10.3.0", "8.7", device="", l4t="", **told)
    folder.mkdir(exist_ok=True)
    path = folder / f"{engine_stem(key, variant)}.engine"
    path.write_bytes(b"plan")
    engine = Engine(path, key, hashlib.sha256(b"plan").hexdigest(), 4, variant)
    path.with_suffix(".json").write_text(json.dumps(engine.to_dict()))


def backends(folder: Path, **asked: Any) -> list[str]:
    return [choice.backend for choice in candidates(open_bundle(folder), **asked)]


@pytest.mark.usefixtures("gpu")
def test_an_engine_comes_first_and_the_portable_variant_behind_it(bundle: Path) -> None:
    assert backends(bundle) == ["ort"]
    put(bundle / "engines")
    assert backends(bundle) == ["trt", "ort"]
    assert backends(bundle, backend="ort") == ["ort"]
    assert backends(bundle, compute="bf16") == ["ort"]


def test_without_a_gpu_engines_are_left_alone(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice_module, "has_nvidia_gpu", lambda: False)
    put(bundle / "engines")
    assert backends(bundle) == ["ort"]


@pytest.mark.usefixtures("gpu")
def test_an_engine_of_another_kind_of_machine_is_left_alone(bundle: Path) -> None:
    put(bundle / "engines", arch="riscv64")
    assert backends(bundle) == ["ort"]


@pytest.mark.usefixtures("gpu")
def test_an_engine_elsewhere_is_found_by_its_folder(bundle: Path, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere")
    assert backends(bundle) == ["ort"]
    assert backends(bundle, engine_dir=tmp_path / "elsewhere") == ["trt", "ort"]


@pytest.mark.usefixtures("gpu")
def test_a_variant_that_is_not_proven_runs_only_if_asked_for(
    bundle: Path, edit_manifest: Callable[..., None]
) -> None:
    put(bundle / "engines")
    edit_manifest(bundle, lambda manifest: manifest["variants"][0].update(precision="fp16"))
    assert backends(bundle) == ["ort"]
    proven = [{"backend": "ort", "compute": "fp16", "verdict": "pass"}]
    edit_manifest(bundle, lambda manifest: manifest["variants"][0].update(verified=proven))
    assert backends(bundle)[0] == "trt"


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("default", "first"),
    [("fp16", ["fp16", "fp32"]), (None, ["fp16", "fp32"]), ("fp32", ["fp32", "fp16"])],
)
def test_asked_for_or_not_engines_come_in_the_same_order(
    bundle: Path, edit_manifest: Callable[..., None], default: str | None, first: list[str]
) -> None:
    """The manifest's default for TensorRT, then the fastest kind."""

    def two(manifest: dict[str, Any]) -> None:
        (plain,) = manifest["variants"]
        proven = [{"backend": "ort", "compute": "fp16", "verdict": "pass"}]
        manifest["variants"].append(plain | {"id": "fp16", "precision": "fp16", "verified": proven})
        if default:
            manifest["default"]["trt"] = default

    edit_manifest(bundle, two)
    for variant in ("fp32", "fp16"):
        put(bundle / "engines", variant)
    opened = open_bundle(bundle)
    for backend in ("trt", "auto"):
        found = [c.variant.id for c in candidates(opened, backend=backend) if c.backend == "trt"]
        assert found == first


@pytest.mark.usefixtures("gpu")
def test_where_the_engine_cannot_run_the_portable_variant_does_and_says_why(bundle: Path) -> None:
    put(bundle / "engines")
    with open_model(bundle) as model:
        assert model.backend == "ort"
        assert "; not fp32 in trt (fp32): " in model.choice.reason
