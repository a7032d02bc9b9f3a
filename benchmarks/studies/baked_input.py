"""What baking gains from frame to result on one thread: load, inference and decoding, fp32 and INT8.

    python benchmarks/studies/baked_input.py MODEL.onnx VIDEO [--preset nanodet] [--rounds 120]

Each model is cleaned, baked (nothing; input; input and NMS) and quantized alike (extremes of 6 frames as
ranges, nearest rounding: the speed does not depend on the numbers). Frames go through all of them in turn.
Times are CPU time of the one thread that does everything, so that other processes hardly count;
quoted are medians, and the ratio of medians to the model that was not baked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import onnx

from edgevision.backends import BackendOptions, Variant
from edgevision.bundle import Bundle
from edgevision.choice import Choice
from edgevision.converters.bake.baking import bake
from edgevision.converters.bake.integer_input import with_integer_input
from edgevision.converters.graph import onnx_file
from edgevision.converters.graph.clean import clean
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.pictures import picture_feeds, spread
from edgevision.converters.settings import Overrides, fixed_shapes, resolve
from edgevision.model import Model, load_variant
from edgevision.onnx_header import read_header
from edgevision.spec import ModelSpec

FRAMES, WARM_UP = 6, 5
WAYS = {"not baked": (), "input": ("input",), "input,nms": ("input", "nms")}


def quantized(model: onnx.ModelProto, spec: ModelSpec, frames: list[np.ndarray]) -> onnx.ModelProto:
    measured = calibrate(
        model, lambda: picture_feeds(model, spec.input, frames), scheme="x86", rounding=False
    )
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False)
    return with_integer_input(made, "x86").model


def opened(model: onnx.ModelProto, spec: ModelSpec, file: Path) -> Model:
    onnx_file.save(model, file)
    variant = Variant(file.stem, "fp32", file, spec)
    bundle = Bundle(file, file.stem, "", {variant.id: variant}, {})
    return load_variant(bundle, Choice(variant, "study"), BackendOptions(threads=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("video")
    parser.add_argument("--preset")
    parser.add_argument("--rounds", type=int, default=120)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    header = read_header(arguments.model)
    asked = Overrides(preset=arguments.preset)
    spec = resolve(asked, header.metadata, header.inputs, model_name=arguments.model.name)
    shapes = fixed_shapes(spec, header.inputs, None)
    plain = clean(onnx_file.load(arguments.model), shapes=shapes).model
    frames = spread(arguments.video, FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        models = {}
        for name, words in WAYS.items():
            baked = bake(plain, spec, words, frames[:1])
            int8 = quantized(baked.model, baked.spec, frames)
            for precision, model in (("fp32", baked.model), ("int8", int8)):
                file = Path(folder) / f"{precision}-{len(words)}.onnx"
                models[precision, name] = opened(model, baked.spec, file)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in models}
        for number in range(arguments.rounds + WARM_UP):
            for key, each in models.items():
                started = time.thread_time()
                each(frames[number % len(frames)])
                if number >= WARM_UP:
                    times[key].append((time.thread_time() - started) * 1000)
    height, width = frames[0].shape[:2]
    for (precision, name), values in times.items():
        found, first = np.median(values), np.median(times[precision, "not baked"])
        print(f"{width}×{height} {precision} {name:>9}: {found:.2f} ms, ratio {first / found:.3f}")


if __name__ == "__main__":
    main()
