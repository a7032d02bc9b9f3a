"""The summary of several conversions: for scripts `summary.json`, for people a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.converters.bundle_writer import rejected_place
from edgevision.converters.orders import Job
from edgevision.converters.report.accuracy import accuracy_cell
from edgevision.converters.report.agreement import found_text
from edgevision.converters.report.speed import not_faster, ratio_text, speed_counts
from edgevision.text import counted, markdown, printable, size_text

__all__ = [
    "failed_entry",
    "finished_entry",
    "summary_json",
    "summary_markdown",
    "summary_text",
]

SUMMARY_SCHEMA = 1
_GATE, _FAILED = 3, 1
_HEAD = ("model", "runs here", "size", "speed", "agreement or accuracy", "verdict")
#: Verdict of the whole: the worst of these that any model has.
_WORST = ("interrupted", "not run", "failed", "missed", "written")

Entry = dict[str, Any]


def finished_entry(job: Job, error: Mapping[str, str] | None) -> Entry:
    """What became of a model that ran through: its bundle, or the report of why there is none.

    Args:
        job: The conversion.
        error: The gate that was missed, if one was.
    """
    output = job.order.output
    place = output if error is None or job.order.keep_passing else rejected_place(output)
    report, timings = _read(place / "report.json"), _read(place / "timings.json")
    entry = _entry(job, "written" if error is None else "missed", error)
    entry |= {
        "output": place.name,
        "verdict": report["verdict"],
        "random_calibration": bool((report["calibration"] or {}).get("random")),
        "variants": {
            name: _variant(facts, timings["variants"].get(name, {}))
            for name, facts in report["variants"].items()
        },
        "engines": {
            name: facts | _speeds(timings["triples"].get(name, {}))
            for name, facts in report["engines"].items()
        },
    }
    if place == output:
        bundle = open_bundle(place)
        best = candidates(bundle)[0]
        entry["identity"] = bundle.identity
        entry["default"] = {
            "variant": best.variant.id,
            "backend": best.backend,
            "compute": best.compute or best.variant.precision,
            "reason": best.reason,
        }
    return entry


def failed_entry(job: Job, status: str, error: Mapping[str, str]) -> Entry:
    """What is to be said of a model that nothing came of."""
    return _entry(job, status, error)


def summary_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """All models, the verdict of the whole, and the exit status that says it."""
    found = {entry["status"] for entry in entries}
    worst = next((status for status in _WORST if status in found), "written")
    status = {"written": 0, "missed": _GATE}.get(worst, _FAILED)
    counts = {name: sum(e["status"] == name for e in entries) for name in reversed(_WORST)}
    return {
        "schema": SUMMARY_SCHEMA,
        "verdict": "interrupted" if worst == "not run" else worst,
        "exit_status": status,
        "counts": counts,
        "models": list(entries),
    }


def summary_text(summary: Mapping[str, Any], folder: Path) -> str:
    """The table for a terminal, what is to be noted, and where the summary lies."""
    rows = [_HEAD, *(_row(entry) for entry in summary["models"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    place = printable(str(folder), 1000)
    lines.append(f"{_counts(summary)}: {place}/summary.md")
    return "\n".join([*lines, *(f"note: {note}" for note in _notes(summary))])


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The same, for a page: what a CI job shows."""
    lines = [
        f"# {_counts(summary)}",
        "",
        "| " + " | ".join((*_HEAD, "report")) + " |",
        "| --- | --- | ---: | ---: | --- | --- | --- |",
    ]
    for entry in summary["models"]:
        cells = [markdown(cell) for cell in _row(entry)]
        output = entry["output"]
        plain = output is not None and all(c.isalnum() or c in "._-" for c in output)
        report = f"[{markdown(output)}]({output}/report.md)" if plain else markdown(output or "")
        lines.append("| " + " | ".join([*cells, report]) + " |")
    for note in _notes(summary):
        lines += ["", f"⚠️ {markdown(note)}"]
    failed = [e for e in summary["models"] if e["error"]]
    if failed:
        lines += ["", "## What did not pass", ""]
    lines += [f"- **{markdown(_called(e))}**: {_reason(e)}" for e in failed]
    return "\n".join(lines) + "\n"


def _entry(job: Job, status: str, error: Mapping[str, str] | None) -> Entry:
    return {
        "model": str(job.order.model.name),
        "name": job.name,
        "status": status,
        "output": None,
        "verdict": None,
        "identity": None,
        "default": None,
        "random_calibration": job.order.random_calibration,
        "variants": {},
        "engines": {},
        "error": None if error is None else dict(error),
        "seconds": None,
    }


def _variant(facts: Mapping[str, Any], timing: Mapping[str, Any]) -> Entry:
    return {
        "size_bytes": facts["size_bytes"],
        "agreement": facts["agreement"],
        "accuracy": facts.get("accuracy"),
        "verdict": facts["verdict"],
        **_speeds(timing),
    }


def _speeds(timing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "median_ms": timing.get("latency_ms", {}).get("p50"),
        "speedup": timing.get("speedup"),
        "speedup_vs_original": timing.get("speedup_vs_original"),
    }


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_bytes())
    return data


def _row(entry: Entry) -> tuple[str, ...]:
    name = _called(entry)
    if not entry["variants"]:
        reason = (entry["error"] or {}).get("problem", "")
        return name, "–", "–", "–", printable(reason, 120), entry["status"]
    shown, facts, runs = _shown(entry)
    ratio = facts["speedup_vs_original"] or facts["speedup"]
    size = size_text(entry["variants"][shown]["size_bytes"])
    verdict = entry["verdict"] if entry["status"] == "written" else f"missed: {entry['verdict']}"
    return name, runs, size, ratio_text(ratio), _found(facts), verdict


def _called(entry: Entry) -> str:
    """The model's file, and its bundle's name where that is another."""
    model, name = printable(entry["model"], 60), printable(entry["name"], 60)
    return model if model.rpartition(".")[0] == name else f"{model} as {name}"


def _shown(entry: Entry) -> tuple[str, Mapping[str, Any], str]:
    """The variant a row is about: what runs here, else what missed; its facts; what to call it."""
    variants, default = entry["variants"], entry["default"]
    missed = [n for n, f in variants.items() if f["verdict"] in ("fail", "insufficient")]
    if missed or default is None:
        shown = missed[0] if missed else next(iter(variants))
        return shown, variants[shown], f"not {shown}"
    shown = default["variant"]
    if default["backend"] == "ort":
        return shown, variants[shown], shown
    triple = f"{shown}/{default['backend']}/{default['compute']}"
    runs = f"{shown} in {default['backend']} ({default['compute']})"
    return shown, entry["engines"].get(triple, variants[shown]), runs


def _found(facts: Mapping[str, Any]) -> str:
    if facts.get("accuracy"):
        return accuracy_cell(facts["accuracy"])
    agreement = facts.get("agreement", facts if "metric" in facts else None)
    return found_text(agreement) if agreement else "reference"


def _counts(summary: Mapping[str, Any]) -> str:
    counts = summary["counts"]
    said = [f"{count} {status}" for status, count in counts.items() if count]
    return f"{counted(len(summary['models']), 'model')}: {', '.join(said)}"


def _notes(summary: Mapping[str, Any]) -> list[str]:
    """What the table must not hide."""
    notes = []
    for entry in summary["models"]:
        slower = [
            name
            for name, facts in entry["variants"].items()
            if facts["speedup"] is not None
            and facts["verdict"] != "reference"
            and speed_counts(name)
            and facts["speedup"] < 1
        ]
        name = _called(entry)
        if slower:
            notes.append(f"{name}: {not_faster(slower)} than fp32 on this machine")
        if entry["random_calibration"]:
            notes.append(f"{name} was calibrated on random noise: its numbers rest on noise")
    return notes


def _reason(entry: Entry) -> str:
    error = entry["error"]
    said = [error.get("problem", "")] + [
        f"{title}: {error[part]}"
        for part, title in (("received", "received"), ("expected", "expected"), ("hint", "try"))
        if error.get(part)
    ]
    return "; ".join(markdown(part, 500) for part in said)
