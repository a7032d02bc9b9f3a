"""One process from outside: its pace, processor time, first result and peak memory; and how lines of results agree."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.metrics.agreement import DetectionAgreement
from edgevision.results import Detections

__all__ = ["SCORE", "Figures", "agreement", "detections", "interval", "run"]

#: Detections from this score on are compared: what all peers are asked for, and ultralytics' own default.
SCORE = 0.25
_POLL_S = 0.002
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one process was like.

    Attributes:
        fps: Frames a second once it runs: from the first line being complete to the last.
        cpu_ms: Processor time a frame, user and system, of all its threads, from the first line on.
        whole_fps: All frames by the process's whole life, start and exit included.
        first_s: Seconds from its start to the first line being complete.
        peak_mb: Most physical memory it held (VmHWM), MB of 10^6 bytes.
    """

    fps: float
    cpu_ms: float
    whole_fps: float
    first_s: float
    peak_mb: float


def run(command: list[str], output: Path) -> Figures:
    """Runs a command that writes a line a frame to ``output``, each at once.

    Raises:
        SystemExit: It failed, or wrote fewer than two lines.
    """
    output.unlink(missing_ok=True)
    log = output.with_suffix(".log")
    started, clock = time.time(), time.perf_counter()
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
    before, peak, first_s, first_cpu_s = 0, 0.0, float("nan"), 0.0
    while True:
        # Asked before the process is waited for: a process that was has no figures any more.
        peak = max(peak, _peak_mb(process.pid))
        if not before and output.exists() and output.stat().st_size > 0:
            first_s = time.perf_counter() - clock
            first_cpu_s, before = _cpu_s(process.pid), max(1, _lines(output))
        done, status, used = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.02 if before else _POLL_S)
    seconds = time.perf_counter() - clock
    process.returncode = os.waitstatus_to_exitcode(status)
    frames = _lines(output) if output.exists() else 0
    if process.returncode or frames - before < 1:
        raise SystemExit(f"failed: {' '.join(command)}\n{log.read_text(errors='replace')[-2000:]}")
    # Each line is written at once, so the file's time is that of the last one.
    streamed_s = output.stat().st_mtime - started - first_s
    cpu_s = used.ru_utime + used.ru_stime - first_cpu_s
    left = frames - before
    return Figures(left / streamed_s, 1000 * cpu_s / left, frames / seconds, first_s, peak)


def agreement(reference: Path, candidate: Path) -> DetectionAgreement:
    """Of one file of lines with another; boxes of the reference without area are left out.

    What a model finds in the letterbox's padding ultralytics clips to a line at the frame's edge and keeps.
    """
    score = DetectionAgreement((SCORE, 0.35, 0.5))
    pairs = zip(reference.read_text().splitlines(), candidate.read_text().splitlines(), strict=True)
    for left, right in pairs:
        found = detections(left)
        x0, y0, x1, y1 = found.boxes_xyxy.T
        score.add(found.select((x1 > x0) & (y1 > y0)), detections(right))
    return score


def detections(line: str) -> Detections:
    """Of a line of JSON."""
    rows = json.loads(line)["detections"]
    return Detections(
        np.array([r["box_xyxy"] for r in rows], np.float32).reshape(-1, 4),
        np.array([r["score"] for r in rows], np.float32),
        np.array([r["class_id"] for r in rows], np.int32),
    )


def interval(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float, float]:
    """Ratio of medians ours / theirs, with its bootstrap 95 % interval over rounds (seeded)."""
    random = np.random.default_rng(0)
    picks = random.integers(0, len(ours), (10_000, len(ours)))
    ratios = np.median(ours[picks], axis=1) / np.median(theirs[picks], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(ours) / np.median(theirs)), float(low), float(high)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _peak_mb(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):  # a process that has ended holds nothing
        return 0.0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
