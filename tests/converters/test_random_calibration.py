"""Noise in place of pictures: only when asked for in so many words, and said wherever there is a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgevision
from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.converters import cli as convert_cli
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.noise import noise_data
from edgevision.errors import DataError, UsageError
from edgevision.progress import Progress

MakeOrder = Callable[..., Order]


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory, order: MakeOrder) -> Conversion:
    output = tmp_path_factory.mktemp("noisy") / "squares.evb"
    return run(
        order(
            output,
            calibration=None,
            random_calibration=True,
            precisions=("int8", "fp16"),
            targets=("x86", "trt"),
        )
    )


def report(conversion: Conversion) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((conversion.order.output / "report.json").read_bytes())
    return found


def test_nothing_is_proven_whatever_agrees(noisy: Conversion) -> None:
    found = report(noisy)
    assert found["verdict"] == "not proven"
    assert found["calibration"]["random"] is True
    for name in ("int8-x86", "int8-trt", "fp16"):
        assert found["variants"][name]["verdict"] == "not proven"
        assert found["variants"][name]["agreement"]["verdict"] == "not proven"


def test_no_machine_takes_it_by_itself(noisy: Conversion) -> None:
    bundle = open_bundle(noisy.order.output)
    assert bundle.manifest["default"] == {"x86": "fp32", "arm": "fp32"}
    assert all(not v.verified and not v.targets for v in bundle.variants.values())
    assert [choice.variant.id for choice in candidates(bundle)] == ["fp32"]
    with edgevision.open(noisy.order.output) as model:
        assert model.variant.id == "fp32"


def test_the_headline_and_the_last_line_repeat_it(noisy: Conversion) -> None:
    lines = (noisy.order.output / "report.md").read_text(encoding="utf-8").split("\n\n")
    assert lines[1].startswith("**int8-x86: ⚠️ not proven.**") or lines[1].startswith("**fp16: ⚠️")
    headline = "\n".join(lines[:6])
    assert "every number here rests on noise" in headline
    here = next(line for line in lines if line.startswith("Here `edgevision run` takes"))
    assert here.startswith(
        "Here `edgevision run` takes **fp32**, in onnxruntime (fp32): the reference"
    )
    last = convert_cli._text(noisy).splitlines()[-1]
    assert last.startswith("note: Calibrated on random noise")
    assert "nothing is proven" in last


def test_it_is_not_what_a_path_called_random_means(order: MakeOrder, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no calibration data at random") as caught:
        run(order(tmp_path / "a.evb", calibration=Path("random")))
    assert "--random-calibration" in str(caught.value)
    assert "not proven" in str(caught.value)


def test_pictures_and_noise_are_not_both_taken(order: MakeOrder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both say what to calibrate on"):
        run(order(tmp_path / "a.evb", random_calibration=True))


def test_the_noise_is_the_same_every_time_and_other_noise_for_each_part() -> None:
    first, second = noise_data(10), noise_data(10)
    assert first.digest == second.digest
    assert first.calibration.count == 10
    for part in (first.selection, first.proof):
        list(part)
        assert part.digest != first.digest
    assert noise_data(1000).calibration.count == 50
