"""The same model and clip through edgevision and its peers, in turn; writes the page docs/peers.md.

    sh benchmarks/peers/make_environment.sh /tmp/peers "$(command -v python)"
    python benchmarks/peers/run.py /tmp/peers [--rounds 7] [--cores 2] [--frames 300] [--output docs/peers.md]

Needs ffmpeg, edgevision with onnxruntime and OpenVINO, and the environment that the script makes for ultralytics and
supervision. The clip and the bundle with the int8 variant (`edgevision demo`) are made once, in FOLDER/work. First
every side runs once and its detections are compared with ultralytics'; then come the rounds. The load is told after
each: on a busy machine only the processor time says much. A side that fails ends the comparison.

``--only WORD`` leaves out the sides without it in their name, but never ultralytics; ``--no-engine`` the engine alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clip import make_clip
from engine_alone import app_fps, bench_fps
from measure import Figures, agreement, run
from report import LEAST_F1, page, versions
from sides import ENGINES, REFERENCE, Engine, Setting, Side, sides

from edgevision.metrics.agreement import DetectionAgreement

ROOT = Path(__file__).resolve().parents[2]
#: Nothing is fetched or sent by ultralytics.
QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}


def prepared(folder: Path, frames: int) -> Setting:
    """The clip and the bundle, made if they are not there."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    clip, demo = work / f"belt-{frames}.mp4", work / "demo"
    if not clip.exists():
        tell("drawing the clip …")
        make_clip(clip.with_suffix(".part.mp4"), frames)
        clip.with_suffix(".part.mp4").replace(clip)
    if not (demo / "report.md").exists():
        tell("making the bundle with its int8 variant (edgevision demo) …")
        edgevision = str(Path(sys.executable).with_name("edgevision"))
        subprocess.run([edgevision, "demo", "-o", str(demo), "--force"], stdout=subprocess.DEVNULL)
        if not (demo / "report.md").exists():
            raise SystemExit("failed: edgevision demo")
    model = ROOT / "edgevision" / "assets" / "garments.onnx"
    return Setting(model, demo / "garments.evb", clip, folder / "bin" / "python", work)


def compared(given: Sequence[Side]) -> dict[str, DetectionAgreement]:
    """Runs every side once and compares what it found with what ultralytics did."""
    for side in given:
        run(side.command, side.output)
    reference = next(side.output for side in given if side.name == REFERENCE)
    same = {side.name: agreement(reference, side.output) for side in given}
    for side in given:
        f1 = same[side.name].f1
        short = "" if f1 >= LEAST_F1 or not side.exact else f"   below {LEAST_F1:g}"
        tell(f"F1 {f1:.4f} ({same[side.name].samples} objects)  {side.name}{short}")
    return same


def take_turns(
    given: Sequence[Side], engines: Sequence[Engine], model: Path, rounds: int
) -> tuple[dict[str, list[Figures]], dict[Engine, list[tuple[float, float]]], list[float]]:
    """Rounds of one run each; every round begins with another side, and the direction alternates.

    Returns:
        What each side took, what the engines gave alone, and the load average after each round.
    """
    taken: dict[str, list[Figures]] = {side.name: [] for side in given}
    alone: dict[Engine, list[tuple[float, float]]] = {engine: [] for engine in engines}
    loads: list[float] = []
    for number in range(rounds):
        first = number % len(given)
        order = [*given[first:], *given[:first]][:: -1 if number % 2 else 1]
        for side in order:
            taken[side.name].append(run(side.command, side.output))
        for engine in engines:
            alone[engine].append((app_fps(engine, model), bench_fps(engine, model)))
        speeds = ", ".join(f"{found[-1].fps:.1f}" for found in taken.values())
        loads.append(os.getloadavg()[0])
        tell(f"round {number + 1}/{rounds}: {speeds} frames/s, load {loads[-1]:.1f}")
    return taken, alone, loads


def machine() -> str:
    """The processor, as its system calls it, and the cores that are used."""
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.machine())}, {cores} cores"


def _one_or_more(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return int(text)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the environment of make_environment.sh")
    parser.add_argument("--rounds", type=_one_or_more, default=7)
    parser.add_argument("--cores", type=_one_or_more, default=2)
    parser.add_argument("--frames", type=_one_or_more, default=300)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-engine", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "peers.md")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if not (folder / "bin" / "python").exists():  # the bundle takes minutes: said before it is made
        parser.error(
            f"{folder} has no environment: sh benchmarks/peers/make_environment.sh makes it"
        )
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    os.environ.update(QUIET | {"YOLO_CONFIG_DIR": str(folder / "work")})
    setting = prepared(folder, arguments.frames)
    given = [s for s in sides(setting) if s.name == REFERENCE or arguments.only in s.name]
    engines = () if arguments.no_engine else ENGINES
    same = compared(given)
    taken, alone, loads = take_turns(given, engines, setting.model, arguments.rounds)
    about: dict[str, str | int] = {"rounds": arguments.rounds, "frames": arguments.frames}
    about |= {"machine": machine(), "versions": versions(setting.python)}
    about["load"] = f"{min(loads):.1f} … {max(loads):.1f}"
    arguments.output.write_text(page(given, taken, same, alone, about), encoding="utf-8")
    tell(f"written: {arguments.output}")


if __name__ == "__main__":
    main()
