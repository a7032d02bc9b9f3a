"""What the verb ``run`` does: a model, a source and sinks, a summary that adds up, and an orderly end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
from edgevision.sources import Source, SourceInfo, make_source
from edgevision.sources._ahead import ahead
from edgevision.sources._limited import Limited
from edgevision.streams import tell
from edgevision.text import printable
from edgevision.whole_file import write_output

__all__ = ["run_model", "stage_summary"]


@dataclass(slots=True)
class _Tally:
    """What a run adds up to."""

    started: int = field(default_factory=now_ns)
    first_read: int = 0
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
    _refuse_same_files(path, source, sinks, stats)
    if stats is not None:
        claim(stats, force=force)
    one_thread()
    tally = _Tally()
    progress = Progress(quiet=as_json)
    frames_of = ahead(Limited(make_source(source), frames))
    with (
        Stop() as stop,
        progress,
        _both_opened(path, options, frames_of) as (model, ready, info),
    ):
        progress.say(
            f"{model.bundle.name}: {model.variant.id} ({model.choice.reason}); {model.executed}"
        )
        with _opened_sinks(sinks, model, info, force=force) as outputs, _stdout_for(sinks, tally):
            tally.first_read = now_ns()
            for frame, result in model.pipeline.stream(ready):
                _write(outputs, frame, result)
                tally.count(result)
                progress("frames", tally.frames, info.frames)
                if stop.number:
                    ready.cancel()  # what is read already is still finished and written
        tally.problems += ready.problems
        summary = _summary(model, tally, now_ns())
    _report(summary, sinks, stats, as_json=as_json)
    return stop.exit_code


@contextmanager
def _both_opened(
    path: Path, options: Mapping[str, Any], source: Source
) -> Iterator[tuple[Model, Source, SourceInfo]]:
    """The model and the source. Files are opened first: their first frames are decoded while the model loads."""
    with ExitStack() as stack:
        if source.live:  # its frames would be old by then
            model = stack.enter_context(open_model(path, **options))
        ready, info = stack.enter_context(opened(source))
        if not source.live:
            model = stack.enter_context(open_model(path, **options))
        yield model, ready, info


def stage_summary(ring: StageRing) -> dict[str, Any]:
    """Stage → mean, percentiles and maximum in milliseconds."""
    stages = ring.stages_ns()
    return {name: summary_ms(stages[:, column]) for column, name in enumerate(STAGES)}


@contextmanager
def _stdout_for(sinks: Sequence[str], tally: _Tally) -> Iterator[None]:
    """Where stdout is one of several sinks, its reader's leaving early cuts the others short: that is an error."""
    try:
        yield
    except BrokenPipeError as error:
        others = [printable(s) for s in sinks if s != "-"]
        if not others:
            raise
        raise OutputError(
            f"the reader of stdout left after {tally.frames} frames, so the run ended there",
            received=f"{', '.join(others)} with these frames only",
            hint="write the result lines to a file: out.jsonl in place of -",
        ) from error


def _refuse_same_files(model: Path, source: str, sinks: Sequence[str], stats: Path | None) -> None:
    """No file is written twice, nor into what is read, where it would be lost or taken for a source."""
    outputs = [Path(uri) for uri in sinks if "://" not in uri and uri != "-"]
    outputs += [stats] if stats is not None else []
    seen = {Path(source).resolve(), model.resolve()}
    read = Path(source).resolve()
    for path in (output.resolve() for output in outputs):
        if read.is_dir() and read in path.parents:
            raise UsageError(
                f"{printable(str(path))} is inside the source {printable(source)}",
                expected="outputs outside the folder that is read",
            )
        if path in seen:
            raise UsageError(
                f"{printable(str(path))} is named twice",
                expected="a model, a source and outputs that are different files",
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


def _summary(model: Model, tally: _Tally, ended: int) -> dict[str, Any]:
    """``fps`` is from the first read until the sinks are closed; ``elapsed_s`` has the loading too."""
    total = model.pipeline.ring.total_ns()
    streamed_s = (ended - tally.first_read) / 1e9
    return {
        "frames": tally.frames,
        "dropped": 0,
        "found": tally.found,
        "fps": round(tally.frames / streamed_s, 3) if tally.frames else 0.0,
        "elapsed_s": round((ended - tally.started) / 1e9, 4),
        "load_ms": round(model.load_ms, 3),
        "first_result_ms": None
        if tally.first_result_ms is None
        else round(tally.first_result_ms, 3),
        "age_ms": None,
        "latency_ms": summary_ms(total),
        "stages_ms": stage_summary(model.pipeline.ring),
        "bundle": {"name": model.bundle.name, "identity": model.bundle.identity},
        "variant": model.variant.id,
        "reason": model.choice.reason,
        "backend": model.backend,
        "compute": model.executed.compute,
        "problems": tally.problems,
    }


def _report(
    summary: dict[str, Any], sinks: Sequence[str], stats: Path | None, *, as_json: bool
) -> None:
    text = json.dumps(summary, indent=2)
    if stats is not None:
        write_output(stats, text + "\n")
    if as_json:
        print(text)
        return
    told = _text(summary, sinks)
    if "-" in sinks:
        tell(told)
    else:
        print(told)


def _text(summary: dict[str, Any], sinks: Sequence[str]) -> str:
    elapsed = duration_text(summary["elapsed_s"])
    lines = [
        f"{summary['frames']} frames in {elapsed}: {summary['fps']:.1f} frames/s, {summary['found']} found"
    ]
    stages = summary["stages_ms"]
    # A median of few frames would be one of them.
    key, name = ("mean", "mean") if stages["read"]["p50"] is None else ("p50", "median")
    times = {stage: stages[stage][key] or 0.0 for stage in STAGES}
    parts = [f"{stage} {value:.2f}" for stage, value in times.items() if value >= 0.005]
    if parts:
        lines.append(f"{name} ms a frame: " + " · ".join(parts))
    written = [printable(s) for s in sinks if s != "-"] if summary["frames"] else []
    if written:
        lines.append("written: " + ", ".join(written))
    problems = summary["problems"]
    lines += [f"problem: {printable(p)}" for p in problems[:10]]
    if len(problems) > 10:
        lines.append(f"… and {len(problems) - 10} more problems, all of them in --stats FILE")
    return "\n".join(lines)
