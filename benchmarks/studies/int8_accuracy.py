"""INT8 as `edgevision convert` makes it: agreement with fp32 on pictures that it never saw, and speed.

    python benchmarks/studies/int8_accuracy.py [MODEL …] [-o FOLDER] [--rounds 100]

Each model is converted with the search and its budget, then its file is timed against the *original* fp32 file in
onnxruntime's CPU provider with one thread: interleaved, ratio of medians, in both files' own session. A file that
missed its budget is not kept: its speed is then what `convert` itself measured, with all threads, and marked so.
Pictures: `accuracy_data`. What was found, on what: docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import accuracy_data
import numpy as np
import onnx
import onnxruntime as ort

from edgevision.converters.calibration import Data, open_data
from edgevision.converters.conversion import Order
from edgevision.converters.convert import convert
from edgevision.converters.pictures import picture_feeds
from edgevision.converters.settings import Overrides
from edgevision.errors import GateError
from edgevision.progress import Progress

TEST_DATA = accuracy_data.TEST_DATA


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        file: In the test data's ``models``.
        overrides: How it is run.
        data: Its pictures, or a video that `convert` cuts by time.
        least: Agreement asked for: on the pictures to choose by, with a margin, and on those to prove with.
    """

    file: str
    overrides: Overrides
    data: Callable[[], Data | Path]
    least: float


CASES = {
    "nanodet": Case(
        "nanodet.onnx",
        Overrides(preset="nanodet", labels=TEST_DATA / "labels" / "coco-80.txt"),
        accuracy_data.street,
        0.95,  # the default
    ),
    "efficientnet-lite0": Case(
        "efficientnet-lite0.onnx",
        Overrides(preset="efficientnet-lite"),
        accuracy_data.photographs,
        0.975,
    ),
    "centerface": Case(
        "centerface.onnx",
        Overrides(preset="centerface", size=(480, 640)),
        accuracy_data.faces,
        0.98,
    ),
    "blazeface": Case(
        "blazeface-back.onnx", Overrides(preset="blazeface"), accuracy_data.faces, 0.98
    ),
    # The bar is the mean distance, 0.9 % of the height; 1-nme counts a lost point as a whole height besides.
    "movenet": Case(
        "movenet-lightning.onnx", Overrides(preset="movenet"), accuracy_data.people, 0.99
    ),
    "selfie": Case("selfie.onnx", Overrides(preset="selfie"), accuracy_data.portraits, 0.99),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", choices=[*CASES, []], help="default: all")
    parser.add_argument("-o", "--output", type=Path, help="keep the bundles here")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    ort.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [_row(name, folder, arguments.rounds) for name in arguments.models or CASES]
    print(
        "\n| model | against fp32 | of | recipe | int8 vs original | cleaned fp32 vs original | convert |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))


def _row(name: str, folder: Path, rounds: int) -> str:
    case, started = CASES[name], time.monotonic()
    data = case.data()
    if isinstance(data, Path):
        data = open_data(data, samples=200, progress=lambda *_: None)
    output = folder / f"{name}.evb"
    order = Order(
        model=TEST_DATA / "models" / case.file,
        output=output,
        overrides=case.overrides,
        precisions=("int8",),
        least=case.least,
        keep_passing=True,
        force=True,
        golden="none",
    )
    try:
        with Progress(quiet=True) as progress:
            made = convert(order, progress, data).made
    except GateError as error:
        print(f"{name}: {error}")
        made = None
    taken = time.monotonic() - started
    report = json.loads((output / "report.json").read_bytes())["variants"]["int8-x86"]
    agreement = report["agreement"]
    value = f"{agreement['metric']} {agreement['value']:.4f} ({agreement['verdict']})"
    if agreement["metric"] == "1-nme":
        value += f", mean distance {agreement['distance']:.2%} of the height"
    recipe = next((t["recipe"] for t in _shipped(report)), "?")
    if made is not None:
        int8 = f"{_speedup(order.model, output / 'int8-x86.onnx', data, rounds):.2f}"
    else:
        timings = json.loads((output / "timings.json").read_bytes())["variants"]
        int8 = f"{timings['int8-x86']['speedup_vs_original']:.2f} (all threads)"
    fp32 = _speedup(order.model, output / "fp32.onnx", data, rounds)
    print(f"{name}: {value}, {int8}x, rewritten fp32 {fp32:.2f}x, {taken:.0f} s", flush=True)
    return (
        f"| {name} | {value} | {agreement['samples']} in {agreement['frames']} pictures | {recipe} "
        f"| {int8} | {fp32:.2f} | {taken:.0f} s |"
    )


def _shipped(report: dict) -> list[dict]:
    facts = report["quantization"]
    name = facts["ranges"] + "+rounding" * facts["rounding"] + "+equalized" * facts["equalized"]
    count = len(facts["put_back"])
    name += f", {count} layer{'s' * (count > 1)} in float" if count else ""
    return [trial for trial in report["trials"] if trial["recipe"] == name]


def _speedup(original: Path, made: Path, data: Data, rounds: int) -> float:
    """Ratio of medians, one thread each, the two taken in turn on a real picture."""
    model = onnx.load(str(made))
    spec = _input_spec(made)
    feed = {k: np.array(v) for k, v in next(picture_feeds(model, spec, data.calibration)).items()}
    sessions = [_session(original, feed), _session(made, feed)]
    times = []
    for number in range(rounds + 5):
        row = []
        for session in sessions:
            entry = session.get_inputs()[0].name
            started = time.perf_counter()
            session.run(None, {entry: next(iter(feed.values()))})
            row.append(time.perf_counter() - started)
        if number >= 5:
            times.append(row)
    first, second = np.median(np.array(times), axis=0)
    return float(first / second)


def _input_spec(file: Path):
    from edgevision.bundle import open_bundle

    bundle = open_bundle(file)
    return next(iter(bundle.variants.values())).spec.input


def _session(file: Path, feed: dict[str, np.ndarray]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    model = onnx.load(str(file))
    # CenterFace declares a shape that is not its own: the sizes of the picture are put in its place.
    shape = next(iter(feed.values())).shape
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    for value in model.graph.output:
        if value.type.tensor_type.HasField("shape") and "centerface" in file.name:
            value.type.tensor_type.ClearField("shape")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


if __name__ == "__main__":
    main()
