"""What a record says of accuracy is what was proven of exactly what ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgevision.benchmarks.accuracy import accuracy_of
from edgevision.bundle import Bundle
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

AGREEMENT = {
    "backend": "ort",
    "compute": "int8",
    "metric": "f1",
    "samples": 635,
    "value": 0.972,
    "verdict": "pass",
}
LABELLED = {
    "backend": "openvino",
    "compute": "bf16",
    "metric": "map50_95",
    "reference": 0.6425,
    "samples": 2148,
    "value": 0.6424,
    "verdict": "pass",
}


def bundle(**proofs: Sequence[dict[str, Any]]) -> Bundle:
    spec = ModelSpec("classify", InputSpec(size=(8, 8)), OutputSpec("softmax"))
    variants = {
        name: Variant(name, name, Path("x.onnx"), spec, verified=tuple(found))
        for name, found in proofs.items()
    }
    return Bundle(Path(), "b", "", variants, {})


def test_proof_of_this_engine_and_precision_is_taken() -> None:
    found = accuracy_of(bundle(fp32=[LABELLED], int8=[AGREEMENT]), "fp32", "openvino", "bf16")
    assert found == {
        "metric": "map50_95",
        "value": 0.6424,
        "reference": 0.6425,
        "samples": 2148,
        "verdict": "pass",
    }


@pytest.mark.parametrize(
    "ran",
    [
        ("int8", "openvino", "int8"),
        ("int8", "ort", "fp32"),
        ("fp32", "trt", "fp32"),
        ("no", "ort", "int8"),
    ],
)
def test_proof_of_something_else_is_not(ran: tuple[str, str, str]) -> None:
    assert accuracy_of(bundle(fp32=[], int8=[AGREEMENT]), *ran) is None


@pytest.mark.parametrize(("proof", "value"), [(AGREEMENT, 1.0), (LABELLED, 0.6425)])
def test_fp32_has_the_value_that_the_others_were_held_against(
    proof: dict[str, Any], value: float
) -> None:
    found = accuracy_of(bundle(fp32=[], int8=[proof]), "fp32", "ort", "fp32")
    assert found is not None
    assert (found["value"], found["verdict"], found["reference"]) == (value, "reference", None)


def test_bundle_without_proofs_says_nothing() -> None:
    assert accuracy_of(bundle(fp32=[]), "fp32", "ort", "fp32") is None
    assert (
        accuracy_of(
            bundle(fp32=[{"backend": "ort", "compute": "fp32", "verdict": "pass"}]),
            "fp32",
            "ort",
            "fp32",
        )
        is None
    )
