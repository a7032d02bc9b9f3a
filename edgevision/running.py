"""What the verb ``run`` does: a model, a source and sinks, a summary that adds up, and an orderly end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevision.clock import STAGES, StageRing, now_ns
from edgevision.errors import OutputError, UsageError
from edgevision.frame import Frame
from edgevision.model import Model, open_model, opened
from edgevision.percentiles import summary_ms
from edgevision.preprocess import one_thread
from edgevision.progress import Progress, duration_text
from edgevision.results import Result
from edgevision.signals import Stop
from edgevision.sinks import Sink, claim, make_sink
from edgevision.sources import SourceInfo, make_source
from edgevision.sources._limited import Limited
from edgevision.text import printable

__all__ = ["run_model", "stage_summary"]


@dataclass(slots=True)
class _Tally:
    """What a run adds up to."""

    started: int = field(default_factory=now_ns)
    frames: int = 0
    found: int = 0
    first_result_ms: float | None = None
    problems: list[str] = field(default_factory=list)

    def count(self, result: Result) -> None:
        if self.first_result_ms is None:
            self.first_result_ms = (now_ns() - self.started) / 1e6
        self.frames += 1
        self.found += len(result)


def run_model(
    path: Path,
    source: str,
    sinks: Sequence[str],
    *,
    frames: int | None,
    stats: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Runs a model over a source; returns the exit status."""
    if as_json and "-" in sinks:
        raise UsageError(
            "--json and the sink - both want stdout",
            hint="--stats FILE writes the summary to a file",
        )
    _refuse_same_files(source, sinks, stats)
    if stats is not None:
        claim(stats, force=force)
    one_thread()
    tally = _Tally()
    progress = Progress(quiet=as_json)
    limited = Limited(make_source(source), frames)
    with (
        Stop() as stop,
        progress,
        open_model(path, **options) as model,
        opened(limited) as (ready, info),
    ):
        progress.say(
            f"{model.bundle.name}: {model.variant.id} ({model.choice.reason}); {model.executed}"
        )
        with _opened_sinks(sinks, model, info, force=force) as outputs:
            for frame, result in model.pipeline.stream(ready):
                _write(outputs, frame, result)
                tally.count(result)
                progress("frames", tally.frames, info.frames)
                if stop.number:
                    ready.cancel()  # what is read already is still finished and written
        tally.problems += ready.problems
        elapsed_s = (now_ns() - tally.started) / 1e9
        summary = _summary(model, tally, elapsed_s)
    _report(summary, sinks, stats, as_json=as_json)
    return stop.exit_code


def stage_summary(ring: StageRing) -> dict[str, Any]:
    """Stage → mean, percentiles and maximum in milliseconds."""
    stages = ring.stages_ns()
    return {name: summary_ms(stages[:, column]) for column, name in enumerate(STAGES)}


def _refuse_same_files(source: str, sinks: Sequence[str], stats: Path | None) -> None:
    """No file is written twice, and the source is not written to (with --force it would be lost)."""
    outputs = [Path(uri) for uri in sinks if "://" not in uri and uri != "-"]
    outputs += [stats] if stats is not None else []
    seen = {Path(source).resolve()}
    for path in (output.resolve() for output in outputs):
        if path in seen:
            raise UsageError(
                f"{printable(str(path))} is named twice",
                expected="a source and outputs that are different files",
            )
        seen.add(path)
    if list(sinks).count("-") > 1:
        raise UsageError("the sink - is named twice", expected="stdout once")


@contextmanager
def _opened_sinks(
    uris: Sequence[str], model: Model, info: SourceInfo, *, force: bool
) -> Iterator[list[Sink]]:
    """All sinks claimed before the first frame; all closed at the end, also when one of them fails."""
    with ExitStack() as stack:
        sinks = [make_sink(uri, model.task.draw, force=force) for uri in uris]
        for sink in sinks:
            stack.callback(sink.close)
            sink.open(info)
        yield sinks


def _write(sinks: Sequence[Sink], frame: Frame, result: Result) -> None:
    for sink in sinks:
        sink.write(frame, result)


def _summary(model: Model, tally: _Tally, elapsed_s: float) -> dict[str, Any]:
    total = model.pipeline.ring.total_ns()
    return {
        "frames": tally.frames,
        "dropped": 0,
        "found": tally.found,
        "fps": round(tally.frames / elapsed_s, 3) if tally.frames else 0.0,
        "elapsed_s": round(elapsed_s, 4),
        "load_ms": round(model.load_ms, 3),
        "first_result_ms": None
        if tally.first_result_ms is None
        else round(tally.first_result_ms, 3),
        "age_ms": None,
        "latency_ms": summary_ms(total),
        "stages_ms": stage_summary(model.pipeline.ring),
        "variant": model.variant.id,
        "backend": model.backend,
        "compute": model.executed.compute,
        "problems": tally.problems,
    }


def _report(
    summary: dict[str, Any], sinks: Sequence[str], stats: Path | None, *, as_json: bool
) -> None:
    text = json.dumps(summary, indent=2)
    if stats is not None:
        try:
            stats.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{stats} could not be written: {error.strerror}") from error
    if as_json:
        print(text)
        return
    print(_text(summary, sinks), file=sys.stderr if "-" in sinks else sys.stdout)


def _text(summary: dict[str, Any], sinks: Sequence[str]) -> str:
    elapsed = duration_text(summary["elapsed_s"])
    lines = [
        f"{summary['frames']} frames in {elapsed}: {summary['fps']:.1f} frames/s, {summary['found']} found"
    ]
    parts = [
        f"{stage} {value:.2f}"
        for stage in STAGES
        if (value := summary["stages_ms"][stage]["p50"] or summary["stages_ms"][stage]["mean"] or 0)
        >= 0.005
    ]
    if parts:
        lines.append("median ms a frame: " + " · ".join(parts))
    written = [printable(s) for s in sinks if s != "-"] if summary["frames"] else []
    if written:
        lines.append("written: " + ", ".join(written))
    problems = summary["problems"]
    lines += [f"problem: {printable(p)}" for p in problems[:10]]
    if len(problems) > 10:
        lines.append(f"… and {len(problems) - 10} more problems, all of them in --stats FILE")
    return "\n".join(lines)
