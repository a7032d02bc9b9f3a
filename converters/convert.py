"""A model file becomes a bundle: read, clean, quantize, prove, write; one function a step, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnx

from edgevision.converters.accuracy import AccuracyJudge
from edgevision.converters.bake.baking import Baked, bake, check_bakes
from edgevision.converters.bundle_writer import (
    forget_rejected,
    rejected_place,
    replaced,
    staging,
)
from edgevision.converters.calibration import Data, open_data
from edgevision.converters.checks import MADE, check_order
from edgevision.converters.conversion import Conversion, Made, Order
from edgevision.converters.engines import other_engines
from edgevision.converters.fp16.variant import fp16_variant
from edgevision.converters.graph.clean import Cleaned, clean
from edgevision.converters.int8.read_back import refuse_quantized
from edgevision.converters.judge import AgreementJudge, Judge
from edgevision.converters.manifest import write_bundle
from edgevision.converters.noise import noise_data
from edgevision.converters.pictures import spread
from edgevision.converters.prove import check_finite, load
from edgevision.converters.reading import read_model
from edgevision.converters.report.decided import proof_required, proof_text
from edgevision.converters.settings import fixed_shapes, resolve
from edgevision.converters.shortage import shortage_said
from edgevision.converters.timings import measure
from edgevision.converters.validation import Validation, open_validation
from edgevision.converters.variants import int8_variant, write_variant
from edgevision.converters.written import check_written
from edgevision.errors import GateError, ModelError, SpecError
from edgevision.frame import Image
from edgevision.preprocess import one_thread
from edgevision.progress import Progress
from edgevision.results import Classification, Detections, Keypoints, Segmentation
from edgevision.spec import ModelSpec, TensorSpec
from edgevision.tensors import image_input

__all__ = ["convert"]

_GOLDEN_FRAMES = 4
_BAKE_PICTURES = 8
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
    check_order(order, data)
    with shortage_said(f"convert {order.model.name}"):
        return _convert(order, progress, data)


def _convert(order: Order, progress: Progress, data: Data | None) -> Conversion:
    golden = _golden(order)
    read = read_model(order, progress)
    spec = resolve(
        order.overrides,
        read.header.metadata,
        read.header.inputs,
        model_name=order.model.name,
        layout=read.layout,
    )
    check_bakes(order.bake, spec)
    if MADE & set(order.precisions):
        refuse_quantized(read.model)
    data, validation = _data(order, data, spec, progress)
    with staging(order.output) as folder:
        progress.say(f"cleaning {order.model.name}")
        cleaned = _cleaned(read.model, read.header.inputs, spec, order)
        baked = bake(cleaned.model, spec, order.bake, _bake_pictures(order, golden, data))
        fp32 = write_variant(folder, baked.model, baked.spec, "fp32", "fp32", ())
        _try_out(fp32, golden, data)
        judge = _judge(order, fp32, data, validation, progress)
        made = [fp32, *_derived(order, folder, baked, data, judge, progress)]
        engines = [] if judge is None else other_engines(made, judge)
        for one in made:
            check_written(one.variant)
        picture = _some_picture(golden, data)
        timings, original = measure(made, engines, (read, spec), picture, progress)
        changes = read.changes + cleaned.changes + baked.changes
        conversion = Conversion(
            order,
            read,
            baked.spec,
            changes,
            made,
            data,
            timings,
            golden,
            engines,
            original,
            validation,
        )
        _deliver(conversion, folder, progress)
    return conversion


def _derived(
    order: Order,
    folder: Path,
    baked: Baked,
    data: Data | None,
    judge: Judge | None,
    progress: Progress,
) -> Iterator[Made]:
    """What is made of fp32, in the order of the report."""
    model, spec = baked.model, baked.spec
    if "fp16" in order.precisions:
        yield fp16_variant(folder, model, spec, data, judge, progress)
    if data is not None and judge is not None and "int8" in order.precisions:
        for target in order.targets:
            yield int8_variant(
                folder, model, spec, target, data, judge, progress, cached=order.cache
            )


def _data(
    order: Order, data: Data | None, spec: ModelSpec, progress: Progress
) -> tuple[Data | None, Validation | None]:
    """The pictures to calibrate on, and the labelled ones, which are calibrated on too where there are no others."""
    if order.calibration is not None:
        data = open_data(order.calibration, samples=order.samples, progress=progress)
    elif order.random_calibration:
        progress.say("calibrating on noise, as asked for: what comes of it is not proven by it")
        data = noise_data(order.samples)
    if order.validation is None:
        return data, None
    found = open_validation(
        order.validation,
        spec,
        samples=order.samples,
        data=data,
        calibrate=data is None,
        progress=progress,
    )
    return data or found.as_data(), found


def _judge(
    order: Order,
    fp32: Made,
    data: Data | None,
    validation: Validation | None,
    progress: Progress,
) -> Judge | None:
    """Who decides; None where nothing is made of fp32, or there are no pictures."""
    if data is None or not MADE & set(order.precisions):
        return None
    if validation is not None:
        return AccuracyJudge(fp32.variant, validation, order.max_drop, order.least, progress)
    return AgreementJudge(fp32.variant, data, order.least, progress)


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


def _bake_pictures(order: Order, golden: Sequence[Image], data: Data | None) -> list[Image]:
    """What a baked model is proven on: the golden pictures, and some of the calibration's."""
    if not order.bake:
        return []
    own = [] if data is None else [p.copy() for p in islice(data.calibration, _BAKE_PICTURES)]
    return [*golden, *own] or [_some_picture(golden, data)]


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


def _deliver(conversion: Conversion, folder: Path, progress: Progress) -> None:
    """Puts the bundle in its place, or the report of a bundle that is not to be."""
    order = conversion.order
    missed = [m for m in conversion.made if not m.passed]
    for made in conversion.made if conversion.rejected else missed:
        made.variant.file.unlink()
    write_bundle(conversion, folder, progress)
    place = rejected_place(order.output) if conversion.rejected else order.output
    replaced(folder, place)
    if missed:
        raise _not_proven(missed, order, place)
    forget_rejected(order.output)


def _not_proven(missed: Sequence[Made], order: Order, report: Path) -> GateError:
    proofs = {made.variant.id: made.proof for made in missed if made.proof is not None}
    found = [
        f"{variant_id} {proof.verdict}: {proof_text(proof)}"
        + ("" if proof.accuracy else f" in {proof.agreement['frames']} pictures")
        + (", NaN or infinite outputs" if proof.broken else "")
        for variant_id, proof in proofs.items()
    ]
    return GateError(
        "not proven, so "
        + ("left out of the bundle" if order.keep_passing else "no bundle was written"),
        received="; ".join(found),
        expected=proof_required(next(iter(proofs.values()))),
        hint=f"{report / 'report.md'} says where they differ; more and more varied --calibration data helps most",
    )
