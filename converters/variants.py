"""Writes the variants of a bundle: the clean fp32 graph, and int8 by the recipe that proves best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgevision.backends import Variant
from edgevision.bundle import hash_file
from edgevision.converters.bake.integer_input import with_integer_input
from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Made
from edgevision.converters.fp16.proof import PROOF_NOTE, prove_twice
from edgevision.converters.graph import onnx_file
from edgevision.converters.int8.cache import CalibrationCache, open_cache
from edgevision.converters.int8.candidates import best_candidate
from edgevision.converters.int8.from_onnx import Quantized
from edgevision.converters.int8.read_back import read_back
from edgevision.converters.int8.remainder import with_half_remainder
from edgevision.converters.int8.schemes import SCHEMES
from edgevision.converters.judge import Judge
from edgevision.converters.pictures import picture_feeds
from edgevision.converters.prove import compare_speed, load
from edgevision.metadata import KEY, variant_metadata
from edgevision.progress import Progress, silent
from edgevision.spec import ModelSpec

__all__ = ["feeds", "int8_variant", "prove_made", "write_variant"]

#: Targets whose speed on this kind of machine says something.
_RUN_HERE = ("x86", "x86-avx2")
_ROUNDS = 12


def write_variant(
    folder: Path,
    model: onnx.ModelProto,
    spec: ModelSpec,
    variant_id: str,
    precision: str,
    targets: tuple[str, ...],
) -> Made:
    """Stores the spec in the model's metadata and the model in the folder."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    kept = [p for p in own.metadata_props if p.key != KEY]
    del own.metadata_props[:]
    own.metadata_props.extend(kept)
    own.metadata_props.add(key=KEY, value=variant_metadata(variant_id, precision, spec))
    file = folder / f"{variant_id}.onnx"
    onnx_file.save(own, file)
    opset = next(o.version for o in own.opset_import if o.domain in ("", "ai.onnx"))
    size = file.stat().st_size
    return Made(Variant(variant_id, precision, file, spec, hash_file(file), size, opset, targets))


def int8_variant(
    folder: Path,
    cleaned: onnx.ModelProto,
    spec: ModelSpec,
    target: str,
    data: Data,
    judge: Judge,
    progress: Progress,
    *,
    cached: bool = True,
) -> Made:
    """The best recipe's model for a target, read back and proven on pictures that had no part in making it.

    Args:
        folder: Where it is written.
        cleaned: What is quantized.
        spec: How it is run.
        target: The INT8 scheme.
        data: Pictures to calibrate on.
        judge: Who chooses and decides.
        progress: Told how far it is.
        cached: Keep what is measured in the user's cache, and use what lies there.
    """
    variant_id = f"int8-{target}"

    def score(quantized: Quantized) -> float:
        model = with_integer_input(quantized, target).model
        trial = write_variant(folder, model, spec, variant_id, "int8", (target,))
        return judge.score(trial.variant, f"{variant_id}: trying a recipe")

    def speedup(_: Quantized) -> float:  # of what `score` has just written
        fp32 = Variant("fp32", "fp32", folder / "fp32.onnx", spec)
        return _speedup(
            fp32, Variant(variant_id, "int8", folder / f"{variant_id}.onnx", spec), data
        )

    progress.say(f"{variant_id}: calibrating on {data.calibration.count} pictures of {data.name}")
    best, trials = best_candidate(
        cleaned,
        lambda: feeds(cleaned, spec, data),
        score,
        scheme=target,
        target=judge.target,
        margin=judge.margin,
        speedup=speedup if target in _RUN_HERE else None,
        cache=_cache(spec, data, variant_id, progress) if cached else None,
        progress=lambda stage, done, total: progress(f"{variant_id}: {stage}", done, total),
    )
    if SCHEMES[target].half_scales:
        best = with_half_remainder(
            best,
            lambda: feeds(cleaned, spec, data),
            progress=lambda stage, done, total: progress(f"{variant_id}: {stage}", done, total),
        )
    best = with_integer_input(best, target)
    made = write_variant(folder, best.model, spec, variant_id, "int8", (target,))
    made.quantized, made.trials = best.report, trials
    made.written = read_back(
        onnx_file.load(made.variant.file), target, half=best.report.get("half")
    )
    prove_made(made, judge)
    return made


def _speedup(fp32: Variant, trial: Variant, data: Data) -> float:
    """How many times as fast as fp32 a trial infers, by a few rounds in turn."""
    image = np.array(next(iter(data.calibration)))
    with load(fp32) as reference, load(trial) as candidate:
        found = compare_speed({"fp32": reference, "trial": candidate}, image, silent, _ROUNDS)
    return float(found["trial"]["speedup"])


def _cache(
    spec: ModelSpec, data: Data, variant_id: str, progress: Progress
) -> CalibrationCache | None:
    """Calibrations on these pictures; None where nothing tells the pictures from others."""
    if not data.digest:
        return None
    pictures = {
        "digest": data.digest,
        "count": data.calibration.count,
        "input": spec.input.to_dict(),
    }
    return open_cache(pictures, lambda text: progress.say(f"{variant_id}: {text}"))


def prove_made(made: Made, judge: Judge) -> None:
    """Adds the proof. What is not proven after all is no machine's default: it loses its targets."""
    if made.written.get("remainder") == "float16":
        made.proof = prove_twice(made, judge)
        report = made.quantized or {}
        made.quantized = {**report, "notes": [*report.get("notes", []), PROOF_NOTE]}
    else:
        with judge.load(made.variant) as candidate:
            made.proof = judge.prove(candidate, f"{made.variant.id}: proving")
    if made.proof.verdict == "not proven":
        made.variant = replace(made.variant, targets=())


def feeds(model: onnx.ModelProto, spec: ModelSpec, data: Data) -> Iterator[dict[str, Any]]:
    """The calibration pictures as input tensors, through the same input spec as everywhere."""
    return picture_feeds(model, spec.input, data.calibration)
