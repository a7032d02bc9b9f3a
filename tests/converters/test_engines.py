"""What else a bundle may run in on this machine: proven, timed, and chosen by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgevision
from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.judge import AgreementJudge
from edgevision.errors import DependencyError
from edgevision.progress import Progress

MakeOrder = Callable[..., Order]


@pytest.fixture
def openvino() -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")


def names(conversion: Conversion) -> set[str]:
    return {engine.name for engine in conversion.engines}


@pytest.mark.usefixtures("openvino")
def test_each_way_to_run_here_is_proven_timed_and_listed(converted: Conversion) -> None:
    assert names(converted) >= {"fp32/openvino/fp32", "int8-x86/openvino/int8"}
    assert not [n for n in names(converted) if n.startswith("int8-trt")], "made for GPUs"
    place = converted.order.output
    manifest = json.loads((place / "manifest.json").read_bytes())
    timings = json.loads((place / "timings.json").read_bytes())
    report = json.loads((place / "report.json").read_bytes())
    assert set(timings["triples"]) == set(report["engines"]) == names(converted)
    lines = {v["id"]: v["verified"] for v in manifest["variants"]}
    fp32 = next(x for x in lines["fp32"] if (x["backend"], x["compute"]) == ("openvino", "fp32"))
    assert fp32["verdict"] == "pass"
    assert fp32["value"] == pytest.approx(1, abs=0.01), "the same arithmetic in another engine"
    assert "In other engines" in (place / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("openvino")
def test_auto_takes_what_was_measured_fastest(converted: Conversion) -> None:
    bundle = open_bundle(converted.order.output)
    speeds = {f"{n}/ort": t["speedup"] for n, t in converted.timings.items() if "trt" not in n}
    speeds |= {e.name: e.timing["speedup"] for e in converted.engines}
    best = candidates(bundle)[0]
    fastest = max(speeds, key=lambda name: speeds[name])
    assert fastest.split("/")[:2] == [best.variant.id, best.backend]
    with edgevision.open(converted.order.output) as model:
        assert model.backend == best.backend
        model(np.zeros((64, 64, 3), np.uint8))


def test_an_engine_that_is_not_installed_is_left_out(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgreementJudge.load

    def load(judge: Any, variant: Any, *, backend: str = "ort", **how: Any) -> Any:
        if backend != "ort":
            raise DependencyError("not here")
        return real(judge, variant, backend=backend, **how)

    monkeypatch.setattr(AgreementJudge, "load", load)
    with Progress(quiet=True) as progress:
        conversion = convert(order(tmp_path / "a.evb"), progress)
    assert conversion.engines == []
    assert json.loads((tmp_path / "a.evb/timings.json").read_bytes())["triples"] == {}
    assert "other engines" not in (tmp_path / "a.evb/report.md").read_text(encoding="utf-8")
    assert candidates(open_bundle(tmp_path / "a.evb"))[0].backend == "ort"
