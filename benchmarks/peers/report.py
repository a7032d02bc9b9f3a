"""The page of figures: docs/peers.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from clip import BITRATE, SCENE
from measure import SCORE, Figures, interval
from numpy.typing import NDArray
from sides import IOU, REFERENCE, Engine, Side

from edgevision.metrics.agreement import DetectionAgreement

__all__ = ["LEAST_F1", "page", "versions"]

LEAST_F1, MOST_MEMORY, LEAST_START = 0.99, 0.5, 6.0
_PACKAGES = ("ultralytics", "torch", "supervision", "onnxruntime", "openvino", "opencv-python")
_TELL = (
    "import importlib.metadata as m, json, sys\n"
    "installed = {d.name: d.version for d in m.distributions()}\n"
    "print(json.dumps([installed, sys.version.split()[0]]))"
)
_HEAD = """# Beside other ways to run the same model

The same ONNX file (the demo's detector, `edgevision/assets/garments.onnx`) and the same clip through all of them,
each run a process of its own, in turn, every round in another order. Written by `benchmarks/peers/run.py`:

```sh
sh benchmarks/peers/make_environment.sh FOLDER "$(command -v python)"      # ultralytics is AGPL-3.0: it stays there
python benchmarks/peers/run.py FOLDER --rounds {rounds}
```

{machine}, load average {load} after the rounds. {versions}.

Clip: {frames} frames of `{scene}`, H.264, {bitrate}bit/s, no frame waiting for a
later one, as a camera sends it. All use the thresholds {score:g} (score) and {iou:g} (overlap) and write a line of JSON
a frame, at once.

- **frames/s**: beside ultralytics' `predict(stream=True)`, from the first line being complete to the last: neither
  start nor exit. Ratios are of medians over {rounds} rounds, with a bootstrap 95 % interval.
- **processor**: user and system time of all threads for a frame, over the same span. Beside other work on the machine
  it is steadier than frames/s.
- **first result**: from the start of the process to the first line. **Peak**: most physical memory (VmHWM).
- **F1**: detections against ultralytics', from a score of {score:g}, same class, IoU of at least 0.5; compared before
  any time is taken. Boxes of ultralytics' without area are left out.
"""


def page(
    sides: Sequence[Side],
    taken: Mapping[str, Sequence[Figures]],
    same: Mapping[str, DetectionAgreement],
    engines: Mapping[Engine, Sequence[tuple[float, float]]],
    about: Mapping[str, str | int],
) -> str:
    """Markdown."""
    lines = [_HEAD.format(scene=SCENE, bitrate=BITRATE, score=SCORE, iou=IOU, **about)]
    lines += [
        "| | frames/s | × ultralytics | aim | processor, ms | first result, s | peak, MB | F1 |"
    ]
    lines += ["| --- | ---: | --- | --- | ---: | ---: | ---: | --- |"]
    lines += [_row(side, taken, same) for side in sides]
    lines += ["", *_aims(sides, taken)]
    if engines:
        lines += ["", "## The engine alone", ""]
        lines += [
            "Inferences a second, nothing read and nothing decoded; five seconds each, in turn.",
            "",
        ]
        lines += [
            "| | benchmark_app | `bench --inference-only` | ratio |",
            "| --- | ---: | ---: | --- |",
        ]
        lines += [_engine_row(engine, found) for engine, found in engines.items()]
    return "\n".join(lines) + "\n"


def versions(python: Path) -> str:
    """What runs on both sides; a package that both have in the same version is named once."""
    found: dict[str, str] = {}
    for interpreter in (str(python), sys.executable):
        told = subprocess.run(
            [interpreter, "-c", _TELL], check=True, capture_output=True, text=True
        )
        installed, version = json.loads(told.stdout)
        for name in ("Python", *_PACKAGES):
            value = version if name == "Python" else installed.get(name)
            if value and found.setdefault(name, value) != value:
                found[name] += f" (there) and {value} (here)"
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _row(
    side: Side, taken: Mapping[str, Sequence[Figures]], same: Mapping[str, DetectionAgreement]
) -> str:
    fps = np.median(_all(taken[side.name], "fps"))
    cpu, first, peak = (
        np.median(_all(taken[side.name], n)) for n in ("cpu_ms", "first_s", "peak_mb")
    )
    if side.name == REFERENCE:
        return f"| {side.name} | {fps:.1f} | 1 | | {cpu:.1f} | {first:.2f} | {peak:.0f} | |"
    value, low, high = _ratio(taken, side, "fps")
    aim = "" if side.least is None else f"≥ {side.least:g}: {_met(value >= side.least)}"
    f1 = same[side.name].f1
    note = f" ({_met(f1 >= LEAST_F1)})" if side.ours and side.exact else ""
    return (
        f"| {side.name} | {fps:.1f} | **{value:.2f}** ({low:.2f} … {high:.2f}) | {aim} | {cpu:.1f} | "
        f"{first:.2f} | {peak:.0f} | {f1:.4f}{note} |"
    )


def _aims(sides: Sequence[Side], taken: Mapping[str, Sequence[Figures]]) -> list[str]:
    """What ours have to reach in start and memory, each by the worst of them."""
    ours = [side for side in sides if side.ours]
    memory = max(_ratio(taken, side, "peak_mb")[0] for side in ours)
    start = min(1 / _ratio(taken, side, "first_s")[0] for side in ours)
    held = f"at most {memory:.2f}× (aim ≤ {MOST_MEMORY:g}×: {_met(memory <= MOST_MEMORY)})"
    early = f"at least {start:.1f} times as early (aim ≥ {LEAST_START:g}×: {_met(start >= LEAST_START)})"
    return [f"Peak memory beside ultralytics': {held}. First result: {early}."]


def _engine_row(engine: Engine, found: Sequence[tuple[float, float]]) -> str:
    app, bench = np.array(found).T
    value, low, high = interval(bench, app)
    figures = f"{np.median(app):.1f} | {np.median(bench):.1f}"
    return f"| {engine.name} | {figures} | {value:.2f} ({low:.2f} … {high:.2f}) |"


def _ratio(
    taken: Mapping[str, Sequence[Figures]], side: Side, figure: str
) -> tuple[float, float, float]:
    return interval(_all(taken[side.name], figure), _all(taken[REFERENCE], figure))


def _all(found: Sequence[Figures], figure: str) -> NDArray[np.float64]:
    return np.array([getattr(each, figure) for each in found])


def _met(met: bool) -> str:
    return "met" if met else "MISSED"
