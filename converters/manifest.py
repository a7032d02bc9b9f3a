"""Everything of a bundle besides its ONNX files: golden frames, reports, timings, and the manifest over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from edgevision.benchmarks.environment import read_environment
from edgevision.bundle import MANIFEST, SCHEMA, hash_file, open_bundle
from edgevision.choice import candidates
from edgevision.converters.bundle_writer import write_json
from edgevision.converters.conversion import Conversion, Engine, Made
from edgevision.converters.prove import Proof, load
from edgevision.converters.provenance import kernel_features, tool_versions
from edgevision.converters.report.json_file import report_json
from edgevision.converters.report.markdown import report_markdown
from edgevision.converters.report.speed import runs_here
from edgevision.converters.report.trials import trial_times
from edgevision.errors import ModelError
from edgevision.golden import golden_record
from edgevision.progress import Progress

__all__ = ["write_bundle"]


def write_bundle(conversion: Conversion, folder: Path, progress: Progress) -> None:
    """Writes the rest of the bundle into the folder that holds its ONNX files; of one that is rejected, the reports.

    Args:
        conversion: What was made.
        folder: The staging folder.
        progress: Told how far it is.
    """
    write_json(folder / "report.json", report_json(conversion))
    _write_times(conversion, folder)
    runs = ""
    if not conversion.rejected:
        kept = [made for made in conversion.made if made.passed]
        golden = _write_golden(conversion, kept, folder, progress)
        write_json(folder / MANIFEST, _manifest(conversion, kept, golden, folder), canonical=True)
        runs = runs_here(candidates(open_bundle(folder))[0])
    (folder / "report.md").write_text(report_markdown(conversion, runs), encoding="utf-8")


def _write_times(conversion: Conversion, folder: Path) -> None:
    write_json(
        folder / "timings.json",
        {
            "variants": conversion.timings,
            "original": conversion.original,
            "triples": {engine.name: engine.timing for engine in conversion.engines},
            "trials": {m.variant.id: trial_times(m) for m in conversion.made if m.trials},
            "environment": read_environment(),
        },
    )


def _write_golden(
    conversion: Conversion, kept: list[Made], folder: Path, progress: Progress
) -> dict[str, Any]:
    if not conversion.golden:
        return {"frames": [], "results": {}, "source": "none"}
    (folder / "golden").mkdir()
    frames = []
    for number, image in enumerate(conversion.golden):
        name = f"golden/{number:03d}.png"
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
        frames.append(name)
    results = {}
    for done, made in enumerate(kept, 1):
        name = f"golden/{made.variant.id}.json"
        with load(made.variant, own_score=True) as model:
            records = [golden_record(model, image) for image in conversion.golden]
        _check_golden(records, made.variant.id)
        write_json(folder / name, {"frames": records}, canonical=True)
        results[made.variant.id] = name
        progress("golden frames", done, len(kept))
    source = conversion.order.golden
    return {
        "frames": frames,
        "results": results,
        "source": source if source == "synthetic" else "own",
    }


def _check_golden(records: list[dict[str, Any]], variant_id: str) -> None:
    """What is not finite cannot be compared later, and JSON cannot hold it."""
    for number, record in enumerate(records):
        parts = {"the decoded result": record["result"]}
        parts |= {f"output {name!r}": sample for name, sample in record["outputs"].items()}
        bad = [name for name, part in parts.items() if not _finite(part)]
        if bad:
            raise ModelError(
                f"{variant_id} gives values that are not finite on golden picture {number}",
                received=f"NaN or infinity in {', '.join(bad)}",
                expected="finite numbers for every picture",
                hint="check scale, mean and std of the preset or --config; "
                "--golden DATA takes pictures of your own",
            )


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _manifest(
    conversion: Conversion, kept: list[Made], golden: dict[str, Any], folder: Path
) -> dict[str, Any]:
    spec, order = conversion.spec, conversion.order
    others = ["report.json", *golden["frames"], *golden["results"].values()]
    return {
        "schema": SCHEMA,
        "name": order.output.stem,
        "task": spec.task,
        "labels": list(spec.labels),
        "variants": [_entry(made, conversion.engines) for made in kept],
        "default": _defaults(kept),
        "golden": golden,
        "files": {name: hash_file(folder / name) for name in others},
        "provenance": _provenance(conversion),
    }


def _entry(made: Made, engines: Sequence[Engine]) -> dict[str, Any]:
    variant = made.variant
    proof = made.proof if made.verdict == "pass" else None
    own = [] if proof is None else [_verified("ort", variant.precision, proof)]
    return {
        "id": variant.id,
        "precision": variant.precision,
        "file": variant.file.name,
        "sha256": variant.sha256,
        "opset": variant.opset,
        "targets": list(variant.targets),
        "input": variant.spec.input.to_dict(),
        "output": variant.spec.output.to_dict(),
        "verified": own
        + [
            _verified(engine.backend, engine.compute, engine.proof)
            for engine in engines
            if engine.variant == variant.id and engine.proof is not None
        ],
    }


def _verified(backend: str, compute: str, proof: Proof) -> dict[str, Any]:
    found = proof.accuracy or proof.agreement
    line = {
        "backend": backend,
        "compute": compute,
        "metric": found["metric"],
        "value": found["value"],
        "samples": found["samples"],
        "verdict": found["verdict"],
    }
    return line if proof.accuracy is None else line | {"reference": found["reference"]}


def _defaults(kept: list[Made]) -> dict[str, str]:
    """What runs where nothing is asked for: the int8 variant written and proven for that kind of machine."""
    proven = {target: made.variant.id for made in kept for target in made.variant.targets}
    return {"x86": "fp32", "arm": "fp32", **proven}


def _engines(conversion: Conversion) -> tuple[str, ...]:
    """The other engines' packages: they are called like the backend."""
    return tuple(sorted({engine.backend for engine in conversion.engines}))


def _provenance(conversion: Conversion) -> dict[str, Any]:
    order = conversion.order
    return {
        "source": conversion.read.source,
        "tools": tool_versions(_engines(conversion)),
        "cpu_features": kernel_features(),
        "options": {
            "preset": order.overrides.preset,
            "samples": order.samples,
            "min_agreement": order.least,
            "max_drop": order.max_drop if order.validation is not None else None,
            "opset": order.opset,
            "batch": order.overrides.batch,
        },
        "changes": conversion.changes,
    }
