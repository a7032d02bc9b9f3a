"""Makes the variant fp16 of a bundle and proves it, rounding to float16 included."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx

from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Made
from edgevision.converters.fp16.from_onnx import to_half
from edgevision.converters.fp16.proof import PROOF_NOTE, prove_twice
from edgevision.converters.fp16.read_back import read_back_half
from edgevision.converters.graph import onnx_file
from edgevision.converters.judge import Judge
from edgevision.converters.variants import feeds, write_variant
from edgevision.progress import Progress
from edgevision.spec import ModelSpec

__all__ = ["fp16_variant"]

_ID = "fp16"


def fp16_variant(
    folder: Path,
    cleaned: onnx.ModelProto,
    spec: ModelSpec,
    data: Data | None,
    judge: Judge | None,
    progress: Progress,
) -> Made:
    """The float16 file, read back, and proven on pictures that had no part in making it.

    Args:
        folder: The staging folder; it holds ``fp32.onnx``.
        cleaned: The model of that file.
        spec: How it is run.
        data: Pictures to see ranges on. Without them nodes that may overflow stay float32.
        judge: Proves it. Without one nothing is proven: no machine takes the variant by itself.
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
    targets = () if judge is None else ("trt",)
    made = write_variant(folder, half.model, spec, _ID, "fp16", targets)
    made.quantized = half.report
    made.written = read_back_half(onnx_file.load(made.variant.file))
    if judge is not None:
        made.proof = prove_twice(made, judge)
        made.quantized = {**half.report, "notes": [PROOF_NOTE]}
        if made.proof.verdict == "not proven":
            made.variant = replace(made.variant, targets=())
    return made
