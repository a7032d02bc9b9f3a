"""OpenVINO against onnxruntime on a bundle's variants: interleaved, ratios of medians, and agreement on a video.

    python benchmarks/studies/openvino_speed.py BUNDLE.evb VIDEO [--rounds 40] [--frames 100] [--threads 0]

Every (variant, backend, compute) that this machine can run, on the same frames, engine alone (submit until
wait ends). Rounds go through all of them in turn; the ratio is onnxruntime's fp32 median by each one's.
Agreement is DetectionAgreement's F1 with onnxruntime fp32 on frames spread over the video.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from edgevision.backends import BackendOptions
from edgevision.bundle import open_bundle
from edgevision.choice import Choice
from edgevision.errors import BackendError, UsageError
from edgevision.metrics.agreement import DetectionAgreement
from edgevision.model import Model, load_variant

COMPUTES = {"ort": (None,), "openvino": (None, "bf16", "fp16")}


def models(path: Path, threads: int, hint: str) -> dict[str, Model]:
    """By name; what this machine cannot run is named and left out. The first is onnxruntime's fp32."""
    bundle = open_bundle(path)
    found = {}
    for backend, computes in COMPUTES.items():
        for variant in bundle.variants.values():
            for compute in computes if variant.precision == "fp32" else (None,):
                options = BackendOptions(hint, threads, compute)
                try:
                    model = load_variant(
                        bundle,
                        Choice(variant, ""),
                        options,
                        backend=backend,
                        params={"score": 0.25},
                    )
                except (BackendError, UsageError) as error:
                    print(f"left out: {variant.id} in {backend}, {compute}: {error.problem}")
                    continue
                name = f"{variant.id}/{backend}/{model.executed.compute}"
                print(f"{name}: {model.executed}, loaded in {model.load_ms:.0f} ms")
                found[name] = model
    return found


def frames(video: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(video))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, total - 1, count).astype(int).tolist())
    found = []
    for number in range(total):
        fine, image = capture.read()
        if fine and number in wanted:
            found.append(image)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    images = frames(arguments.video, arguments.frames)
    loaded = models(arguments.bundle, arguments.threads, "latency")
    agreements = {name: DetectionAgreement() for name in loaded}
    for image in images:
        results = {name: model(image) for name, model in loaded.items()}
        reference = next(iter(results.values()))
        for name, result in results.items():
            agreements[name].add(reference, result)

    slots = {name: model.pipeline.loaded_slot(images[0]) for name, model in loaded.items()}
    times: dict[str, list[float]] = {name: [] for name in slots}
    for number in range(arguments.rounds + 5):
        for name, slot in slots.items():
            started = time.perf_counter()
            slot.submit()
            slot.wait()
            if number >= 5:
                times[name].append((time.perf_counter() - started) * 1000)
    first = float(np.median(next(iter(times.values()))))
    print(f"{'':<26} median ms   ratio      F1   samples")
    for name, values in times.items():
        median, agreed = float(np.median(values)), agreements[name]
        print(
            f"{name:<26} {median:9.2f} {first / median:7.2f}  {agreed.value:6.4f}  {agreed.samples:8}"
        )


if __name__ == "__main__":
    main()
