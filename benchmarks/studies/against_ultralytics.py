"""`edgevision run` against ultralytics' `YOLO(file).predict(video, stream=True)`: the same ONNX file, clip and cores.

    sh benchmarks/studies/against_ultralytics.sh /tmp/ultralytics "$(command -v python)"
    python benchmarks/studies/against_ultralytics.py MODEL.onnx CLIP.mp4 /tmp/ultralytics [--rounds 7] [--cores 2]

Each side runs from its own environment, each run in a process of its own, on the CPU, in turn. Ultralytics takes
its own settings: onnxruntime as it opens it, nothing drawn, saved or told. Both read the clip with OpenCV, use the
same two thresholds (0.25 and 0.7, ultralytics' own) and write a line of JSON a frame, at once. MODEL.onnx carries
ultralytics' metadata.

- letterboxing: the input tensors of both for pictures of several sizes, taken apart from the runs
- F1: our detections against theirs from a score of 0.25, same class, IoU of at least 0.5 (DetectionAgreement), on
  the clip and on one drawn by `synthetic://conveyor`; beside it the same from 0.35 and from 0.5
- frames/s: from the first line being complete until the last one is; neither start nor exit
- whole process: all frames by its life, and the processor time it took
- first result: from the start of the process to the first line being complete
- peak memory: VmHWM of the process, read from /proc while it lives

Quoted are ratios of medians with a bootstrap 95 % interval over rounds, each beside its bar. They say little on a
busy machine, which slows the two sides down by different amounts: the load is printed after each round.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from run_end_to_end import detections, interval, run

from edgevision.frame import Frame
from edgevision.metrics.agreement import DetectionAgreement
from edgevision.model import open_model, opened
from edgevision.preprocess import Preprocessor
from edgevision.results import Detections

SCORE, IOU = 0.25, 0.7
SCORES = (SCORE, 0.35, 0.5)
LEAST_F1 = 0.99
THEIRS = "ultralytics"
BF16, SEVERAL = ("--backend", "openvino", "--compute", "bf16"), ("--hint", "throughput")
#: Our ways to run the clip, and how many of ultralytics' frames/s each has to reach.
WAYS = {
    "ort": (("--backend", "ort"), 1.15),
    "openvino bf16": (BF16, 2.0),
    "ort, throughput": (("--backend", "ort", *SEVERAL), 1.5),
    "openvino bf16, throughput": ((*BF16, *SEVERAL), 2.5),
}
STREAM, WHOLE, USED = "frames/s", "whole process, frames/s", "whole process, processor time, s"
FIRST, PEAK = "first result, s", "peak MB"
LEAST_START, MOST_MEMORY = 5.0, 0.5
CONVEYOR = "synthetic://conveyor?seed=11&size=1920x1080&frames=150"
SIZES_WH = ((1920, 1080), (1280, 720), (768, 576), (640, 480), (1080, 1920), (333, 517), (500, 333))
#: Nothing is fetched or sent by ultralytics.
QUIET = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}

# What runs on the other side is text: ultralytics' licence is AGPL-3.0, and no module here imports it.
LOOP = """
import json, sys
from ultralytics import YOLO

model, clip, output, conf, iou = sys.argv[1:]
options = dict(conf=float(conf), iou=float(iou), device="cpu", half=False, verbose=False, save=False)
with open(output, "w") as lines:
    for index, result in enumerate(YOLO(model, task="detect").predict(clip, stream=True, **options)):
        found = [
            {"box_xyxy": row[:4], "score": row[4], "class_id": int(row[5])}
            for row in result.boxes.data.tolist()
        ]
        lines.write(json.dumps({"frame": index, "detections": found}) + "\\n")
        lines.flush()
"""
PROBE = """
import json, sys
import cv2, numpy, onnxruntime, torch, ultralytics
from ultralytics import YOLO, settings

settings.update({"sync": False})
model, pictures, tensors = sys.argv[1:]
detector, loaded, sessions = YOLO(model, task="detect"), {}, []
make = onnxruntime.InferenceSession

def note(*arguments, **options):
    sessions.append(make(*arguments, **options))
    return sessions[-1]

onnxruntime.InferenceSession = note
for name, picture in numpy.load(pictures).items():
    detector.predict(picture, device="cpu", half=False, verbose=False, save=False)
    loaded[name] = detector.predictor.preprocess([picture]).numpy()
numpy.savez(tensors, **loaded)
print(json.dumps({
    "versions": {m.__name__: m.__version__ for m in (ultralytics, torch, onnxruntime, cv2, numpy)},
    "providers": sessions[-1].get_providers(),
    "intra_op_num_threads": sessions[-1].get_session_options().intra_op_num_threads,
}))
"""


def commands(model: Path, clip: Path, work: Path, folder: Path) -> dict[str, list[str]]:
    """By side, ultralytics first; each writes its lines to `output`."""
    thresholds = str(SCORE), str(IOU)
    found = {
        THEIRS: [python_of(folder), "-c", LOOP, *map(str, (model, clip, output(work, THEIRS)))]
    }
    found[THEIRS] += thresholds
    for name, (options, _) in WAYS.items():
        edgevision = str(Path(sys.executable).with_name("edgevision"))
        paths = map(str, (model, clip, output(work, name)))
        found[name] = [edgevision, "run", *paths, "--force", *options]
        found[name] += ["--score", thresholds[0], "--iou", thresholds[1]]
    return found


def output(work: Path, side: str) -> Path:
    return work / f"{side}.jsonl"


def python_of(folder: Path) -> str:
    return str(folder / "bin" / "python")


def compare_tensors(model: Path, work: Path, folder: Path) -> None:
    """Prints what runs on both sides, and how far apart the tensors are that they load for the same pictures."""
    random = np.random.default_rng(0)
    noise = {f"{w}×{h}": random.integers(0, 256, (h, w, 3), np.uint8) for w, h in SIZES_WH}
    pictures = {name: cv2.blur(picture, (5, 5)) for name, picture in noise.items()}
    given, taken = work / "pictures.npz", work / "tensors.npz"
    np.savez(given, **pictures)
    command = [python_of(folder), "-c", PROBE, str(model), str(given), str(taken)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(f"theirs: {told.splitlines()[-1]}")
    with open_model(model, backend="ort") as ready:
        print(f"ours: {ready.executed}")
        spec = ready.variant.spec.input
    for name, theirs in np.load(taken).items():
        ours = np.zeros_like(theirs)
        Preprocessor(spec, ours).load(pictures[name])
        apart = np.abs(ours - theirs) * 255
        print(
            f"tensor of {name:<9}: largest difference {apart.max():.2f} grey levels, "
            f"in {(apart > 0.5).mean():.2%} of the values"
        )


def draw_conveyor(clip: Path) -> None:
    """A video of garments on a belt, in the codec that every OpenCV can write."""
    with opened(CONVEYOR) as (source, info):
        codec, frame = cv2.VideoWriter.fourcc(*"mp4v"), Frame()
        writer = cv2.VideoWriter(str(clip), codec, info.fps, (info.width, info.height))
        while source.read(frame):
            writer.write(frame.image)
        writer.release()


def compare_results(clip: str, work: Path) -> None:
    """Prints how far each of our sides finds what theirs does."""
    lines = output(work, THEIRS).read_text().splitlines()
    pairs = [solid(detections(text)) for text in lines]
    theirs, flat = [found for found, _ in pairs], sum(count for _, count in pairs)
    print(f"\nF1 on the {clip}; {flat} boxes of {THEIRS} without area are left out")
    for name in WAYS:
        score = DetectionAgreement(SCORES)
        ours = output(work, name).read_text(encoding="utf-8").splitlines()
        for reference, text in zip(theirs, ours, strict=True):
            score.add(reference, detections(text))
        found = score.counts[SCORE]
        others = ", ".join(f"{score.counts[s].f1:.4f} from {s:g}" for s in SCORES[1:])
        print(
            f"  {name:<26}{score.f1:.4f}, {beside(score.f1, LEAST_F1)} ({score.frames} frames, objects: "
            f"theirs {found.reference}, ours {found.candidate}, the same {found.matched}; {others})"
        )


def solid(found: Detections) -> tuple[Detections, int]:
    """The boxes that have an area, and how many have none.

    What a model finds in the letterbox's padding ultralytics clips to a line at the frame's edge and keeps;
    edgevision drops it.
    """
    x0, y0, x1, y1 = found.boxes_xyxy.T
    fine = (x1 > x0) & (y1 > y0)
    return found.select(fine), int((~fine).sum())


def measured(command: list[str], lines: Path) -> dict[str, float]:
    """One process's figures."""
    started, used = time.time(), children_s()
    found = run(command, lines)
    used = children_s() - used
    # Both sides write each line at once, so the file's time is that of the last one.
    streamed_s = lines.stat().st_mtime - started - found["first_s"]
    frames = len(lines.read_bytes().splitlines())
    return {
        STREAM: (frames - 1) / streamed_s,
        WHOLE: frames / found["seconds"],
        USED: used,
        FIRST: found["first_s"],
        PEAK: found["peak_mb"],
    }


def children_s() -> float:
    """Processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def take_turns(
    given: Mapping[str, list[str]], work: Path, rounds: int
) -> dict[str, list[dict[str, float]]]:
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in given}
    for number in range(rounds + 1):
        for name in list(given)[:: 1 if number % 2 else -1]:
            taken[name].append(measured(given[name], output(work, name)))
        speeds = ", ".join(f"{found[-1][STREAM]:.1f}" for found in taken.values())
        told = f"round {number}/{rounds}: {speeds} {STREAM}, load {os.getloadavg()[0]:.1f}"
        print(told, file=sys.stderr, flush=True)
    # The first round warmed the page cache, and OpenVINO's of compiled models.
    return {name: found[1:] for name, found in taken.items()}


def report(taken: Mapping[str, list[dict[str, float]]]) -> None:
    for figure in (STREAM, WHOLE, USED, FIRST, PEAK):
        values = {name: np.array([f[figure] for f in found]) for name, found in taken.items()}
        theirs = values.pop(THEIRS)
        print(f"\n{figure}: {THEIRS} {np.median(theirs):.2f}")
        for name, ours in values.items():
            pair = (theirs, ours) if figure in (USED, FIRST) else (ours, theirs)
            print(f"  {name:<26}{np.median(ours):8.2f}   {ratio(*pair, *bar(figure, name))}")


def bar(figure: str, name: str) -> tuple[float | None, bool]:
    """What the ratio is held to, if anything, and whether that is the most it may be."""
    least = {STREAM: WAYS[name][1], FIRST: LEAST_START}
    return (MOST_MEMORY, True) if figure == PEAK else (least.get(figure), False)


def ratio(
    a: NDArray[np.float64], b: NDArray[np.float64], held_to: float | None, at_most: bool
) -> str:
    value, low, high = interval(a, b)
    told = f"ratio {value:.2f} (95 %: {low:.2f} … {high:.2f})"
    return told if held_to is None else f"{told}, {beside(value, held_to, at_most=at_most)}"


def beside(value: float, held_to: float, *, at_most: bool = False) -> str:
    met = value <= held_to if at_most else value >= held_to
    return f"{'at most' if at_most else 'at least'} {held_to:g}: {'met' if met else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("folder", type=Path, help="ultralytics' environment")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ.update(QUIET | {"YOLO_CONFIG_DIR": name})
        compare_tensors(arguments.model, work, arguments.folder)
        drawn = work / "conveyor.mp4"
        draw_conveyor(drawn)
        for side, command in commands(arguments.model, drawn, work, arguments.folder).items():
            run(command, output(work, side))
        compare_results("conveyor", work)
        given = commands(arguments.model, arguments.clip, work, arguments.folder)
        taken = take_turns(given, work, arguments.rounds)
        compare_results("clip", work)
    print(f"{arguments.rounds} rounds on {len(os.sched_getaffinity(0))} cores")
    report(taken)


if __name__ == "__main__":
    main()
