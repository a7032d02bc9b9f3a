"""Makes the variant fp16 of a bundle and proves it, rounding to float16 included."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from edgevision.backends import Variant
from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Made, Order
from edgevision.converters.fp16.emulate import emulated
from edgevision.converters.fp16.from_onnx import to_half
from edgevision.converters.fp16.read_back import read_back_half
from edgevision.converters.graph import onnx_file
from edgevision.converters.prove import Proof, load, prove
from edgevision.converters.variants import feeds, write_variant
from edgevision.progress import Progress
from edgevision.spec import ModelSpec

__all__ = ["fp16_variant"]

_ID = "fp16"
_NOTE = (
    "onnxruntime's CPU provider computes most of this file in float32. So it was proven twice, "
    "as it runs there and with every float16 tensor rounded as on a GPU (emulated); "
    "what is said here is the lower of the two."
)


def fp16_variant(
    folder: Path,
    cleaned: onnx.ModelProto,
    spec: ModelSpec,
    order: Order,
    data: Data | None,
    progress: Progress,
) -> Made:
    """The float16 file, read back, and proven on pictures that had no part in making it.

    Args:
        folder: The staging folder; it holds ``fp32.onnx``.
        cleaned: The model of that file.
        spec: How it is run.
        order: What is wanted.
        data: Pictures to see ranges on and to prove with. Without them nodes that may overflow stay
            float32, and nothing is proven: no machine takes the variant by itself.
        progress: Told what happens.

    Raises:
        ModelError: The model has no layer that can be float16.
    """
    if data is not None:
        progress.say(f"{_ID}: ranges on {data.calibration.count} pictures of {data.name}")
    pictures = data
    half = to_half(
        cleaned,
        None if pictures is None else lambda: feeds(cleaned, spec, pictures),
        progress=lambda stage, done, total: progress(f"{_ID}: {stage}", done, total),
    )
    targets = () if data is None else ("trt",)
    made = write_variant(folder, half.model, spec, _ID, "fp16", targets)
    made.quantized = half.report
    made.written = read_back_half(onnx_file.load(made.variant.file))
    if data is not None:
        made.proof = _proven(folder, half.model, made, order, data, progress)
        made.quantized = {**half.report, "notes": [_NOTE]}
    return made


def _proven(
    folder: Path,
    model: onnx.ModelProto,
    made: Made,
    order: Order,
    data: Data,
    progress: Progress,
) -> Proof:
    """The worse of two proofs; both are noted in what was read back."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "emulated.onnx"
        onnx_file.save(emulated(model), file)
        rounded = replace(made.variant, file=file)
        proofs = {
            "as_run": _prove(folder, made.variant, order, data, progress),
            "emulated": _prove(folder, rounded, order, data, progress, how=" with rounding"),
        }
    agreements: dict[str, Any] = {name: proof.agreement for name, proof in proofs.items()}
    made.written = {**made.written, "agreements": agreements}
    return min(proofs.values(), key=lambda proof: (proof.verdict == "pass", proof.value))


def _prove(
    folder: Path, variant: Variant, order: Order, data: Data, progress: Progress, how: str = ""
) -> Proof:
    reference = Variant("fp32", "fp32", folder / "fp32.onnx", variant.spec)
    with load(reference) as ours, load(variant) as theirs:
        return prove(
            ours,
            theirs,
            data.proof,
            total=data.proof.count,
            least=order.least,
            stage=f"{_ID}: proving{how}",
            progress=progress,
        )
