"""Proves a file with float16 in it twice: as onnxruntime runs it here, and rounded as on a GPU."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgevision.backends import Variant
from edgevision.converters.conversion import Made
from edgevision.converters.fp16.emulate import emulated
from edgevision.converters.graph import onnx_file
from edgevision.converters.judge import Judge
from edgevision.converters.prove import Proof

__all__ = ["PROOF_NOTE", "prove_twice"]

PROOF_NOTE = (
    "onnxruntime's CPU provider computes most of the float16 in this file in float32. So it was "
    "proven twice, as it runs there and with every float16 tensor rounded as on a GPU (emulated); "
    "what is said here is the lower of the two."
)


def prove_twice(made: Made, judge: Judge) -> Proof:
    """The worse of the two proofs; both are noted in what was read back.

    Args:
        made: A variant whose file is written.
        judge: Gives the verdicts.
    """
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "emulated.onnx"
        onnx_file.save(emulated(onnx_file.load(made.variant.file)), file)
        rounded = replace(made.variant, file=file)
        proofs = {
            "as_run": _prove(made.variant, judge),
            "emulated": _prove(rounded, judge, " with rounding"),
        }
    agreements: dict[str, Any] = {name: proof.agreement for name, proof in proofs.items()}
    made.written = {**made.written, "agreements": agreements}
    # Of equals the emulated one: its raw outputs show what rounding does to them.
    return min(reversed(proofs.values()), key=lambda proof: (proof.passed, proof.value))


def _prove(variant: Variant, judge: Judge, how: str = "") -> Proof:
    with judge.load(variant) as candidate:
        return judge.prove(candidate, f"{variant.id}: proving{how}")
