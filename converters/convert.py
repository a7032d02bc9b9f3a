"""A model file becomes a bundle: read, clean, quantize, prove, write; one function a step, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgevision.backends._slot import image_input
from edgevision.converters.bundle_writer import (
    check_output,
    forget_rejected,
    rejected_place,
    replaced,
    staging,
)
from edgevision.converters.calibration import Data, open_data
from edgevision.converters.conversion import TARGETS, Conversion, Engine, Made, Order
from edgevision.converters.engines import open_engine, other_engines
from edgevision.converters.fp16.variant import fp16_variant
from edgevision.converters.graph.clean import Cleaned, clean
from edgevision.converters.int8.read_back import refuse_quantized
from edgevision.converters.manifest import write_bundle
from edgevision.converters.pictures import spread
from edgevision.converters.prove import agreement_for, check_finite, compare_speed, load
from edgevision.converters.reading import read_model
from edgevision.converters.report.agreement import found_text, required
from edgevision.converters.settings import fixed_shapes, resolve
from edgevision.converters.variants import int8_variant, write_variant
from edgevision.errors import GateError, ModelError, SpecError, UsageError
from edgevision.frame import Image
from edgevision.preprocess import one_thread
from edgevision.progress import Progress
from edgevision.results import Classification, Detections, Keypoints, Segmentation
from edgevision.spec import ModelSpec, TensorSpec

__all__ = ["convert"]

_GOLDEN_FRAMES = 4
#: Precisions that are made of fp32 and proven against it.
_MADE = {"int8", "fp16"}
_NO_BF16 = (
    "a Conv may be bfloat16 from opset 22 on only, and onnxruntime's CPU provider has none; where "
    "OpenVINO is installed it runs the fp32 variant in bf16: edgevision run --compute bf16"
)
#: What a task's decoder must give, for the tasks that are known here.
_RESULTS = {
    "classify": Classification,
    "detect": Detections,
    "keypoints": Keypoints,
    "segment": Segmentation,
}
_GOLDEN_SYNTHETIC = "synthetic://shapes?seed=7&size=640x480&frames={count}"


def convert(order: Order, progress: Progress, data: Data | None = None) -> Conversion:
    """Converts a model and writes the bundle, or the report of why there is none.

    Args:
        order: What is wanted.
        progress: Told what happens.
        data: Pictures to calibrate on and to prove with, in place of the order's ``calibration``.

    Raises:
        GateError: A variant missed the agreement; the report lies in ``<output>.rejected``.
        EdgevisionError: Something could not be read, done or written; nothing is left behind.
    """
    one_thread()
    _check(order, data)
    golden = _golden(order)
    read = read_model(order, progress)
    spec = resolve(
        order.overrides,
        read.header.metadata,
        read.header.inputs,
        model_name=order.model.name,
        layout=read.layout,
    )
    if _MADE & set(order.precisions):
        refuse_quantized(read.model)
    if order.calibration is not None:
        data = open_data(order.calibration, samples=order.samples, progress=progress)
    with staging(order.output) as folder:
        progress.say(f"cleaning {order.model.name}")
        cleaned = _cleaned(read.model, read.header.inputs, spec, order)
        made = [write_variant(folder, cleaned.model, spec, "fp32", "fp32", ())]
        _try_out(made[0], golden, data)
        if "fp16" in order.precisions:
            made.append(fp16_variant(folder, cleaned.model, spec, order, data, progress))
        if data is not None and "int8" in order.precisions:
            made += [
                int8_variant(folder, cleaned.model, spec, target, order, data, progress)
                for target in order.targets
            ]
        engines = []
        if data is not None and _MADE & set(order.precisions):
            engines = other_engines(made, data, order.least, progress)
        timings = _timings(made, engines, golden, data, progress)
        changes = read.changes + cleaned.changes
        conversion = Conversion(order, read, spec, changes, made, data, timings, golden, engines)
        _deliver(conversion, folder, progress)
    return conversion


def _check(order: Order, data: Data | None) -> None:
    """What can be known to be wrong before any work."""
    check_output(order.output, force=order.force)
    unknown = set(order.precisions) - {"fp32", *_MADE}
    if unknown:
        raise UsageError(
            f"this version does not write {', '.join(sorted(unknown))}",
            expected="--precision int8, fp16 or both (fp32 is always written)",
            hint=_NO_BF16 if "bf16" in unknown else "",
        )
    if set(order.targets) - set(TARGETS):
        raise UsageError(
            f"unknown target {', '.join(sorted(set(order.targets) - set(TARGETS)))}",
            expected="of: " + ", ".join(TARGETS),
        )
    if "int8" in order.precisions and not order.targets:
        raise UsageError("int8 for no target", expected="--target with " + " or ".join(TARGETS))
    if not _MADE & set(order.precisions) and order.calibration is not None:
        raise UsageError(
            "there is calibration data, and nothing that needs it: only fp32 would be written",
            expected="--precision int8 or fp16 with it",
        )
    if "int8" in order.precisions and order.calibration is None and data is None:
        raise UsageError(
            "int8 needs calibration data, and none was given",
            expected="--calibration with a video or a folder of pictures that look like what the camera will see",
            hint="a minute of video from the camera is enough; random data would prove nothing",
        )


def _cleaned(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], spec: ModelSpec, order: Order
) -> Cleaned:
    """The model for one picture at a time, unless asked otherwise or made for more and unable to take one."""
    batch = order.overrides.batch
    try:
        return clean(model, shapes=fixed_shapes(spec, inputs, batch), min_opset=order.opset)
    except ModelError:
        made_for = image_input(spec.input, {t.name: t for t in inputs}).shape[0]
        if batch is not None or not isinstance(made_for, int) or made_for == 1:
            raise
        shapes = fixed_shapes(spec, inputs, made_for)
        return clean(model, shapes=shapes, min_opset=order.opset)


def _golden(order: Order) -> list[Image]:
    """The pictures to store as golden frames, evenly spread over the source they come from."""
    if order.golden == "none":
        return []
    synthetic = order.golden == "synthetic"
    uri = _GOLDEN_SYNTHETIC.format(count=_GOLDEN_FRAMES) if synthetic else order.golden
    return spread(uri, _GOLDEN_FRAMES)


def _try_out(reference: Made, golden: Sequence[Image], data: Data | None) -> None:
    """One picture the whole way, so that a preset that does not fit is found before the long work."""
    spec = reference.variant.spec
    with load(reference.variant) as model:
        result, outputs = model.pipeline.examine(_some_picture(golden, data))
        check_finite(outputs)
    expected = _RESULTS.get(spec.task)
    if expected is not None and not isinstance(result, expected):
        raise SpecError(
            f"task {spec.task!r} and decoder {spec.output.decoder!r} do not fit",
            received=f"{type(result).__name__} from the decoder",
            expected=expected.__name__,
            hint="leave --task and --decoder to the preset, or change both",
        )


def _some_picture(golden: Sequence[Image], data: Data | None) -> Image:
    """The first picture to prove on, else the first golden one, else plain grey."""
    for picture in data.proof if data is not None else ():
        return np.array(picture)
    return golden[0] if golden else np.full((480, 640, 3), 114, np.uint8)


def _timings(
    made: Sequence[Made],
    engines: Sequence[Engine],
    golden: Sequence[Image],
    data: Data | None,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Inference times of all variants, fp32 first; those of other engines are kept with them."""
    by_id = {m.variant.id: m for m in made}
    with ExitStack() as stack:
        models = {name: stack.enter_context(load(m.variant)) for name, m in by_id.items()}
        for engine in engines:
            models[engine.name] = stack.enter_context(open_engine(engine, by_id[engine.variant]))
        found = compare_speed(models, _some_picture(golden, data), progress)
    for engine in engines:
        engine.timing = found.pop(engine.name)
    return found


def _deliver(conversion: Conversion, folder: Path, progress: Progress) -> None:
    """Puts the bundle in its place, or the report of a bundle that is not to be."""
    order = conversion.order
    missed = [m for m in conversion.made if not m.passed]
    rejected = bool(missed) and not order.keep_passing
    for made in conversion.made if rejected else missed:
        made.variant.file.unlink()
    write_bundle(conversion, folder, rejected=rejected, progress=progress)
    place = rejected_place(order.output) if rejected else order.output
    replaced(folder, place)
    if missed:
        raise _not_proven(missed, order, place)
    forget_rejected(order.output)


def _not_proven(missed: Sequence[Made], order: Order, report: Path) -> GateError:
    found = [
        f"{made.variant.id} {made.proof.verdict}: {found_text(made.proof.agreement)} "
        f"in {made.proof.agreement['frames']} pictures"
        + (", NaN or infinite outputs" if made.proof.broken else "")
        for made in missed
        if made.proof is not None
    ]
    return GateError(
        "not proven, so "
        + ("left out of the bundle" if order.keep_passing else "no bundle was written"),
        received="; ".join(found),
        expected=required(agreement_for(missed[0].variant.spec.task).metric, order.least),
        hint=f"{report / 'report.md'} says where they differ; more and more varied --calibration data helps most",
    )
