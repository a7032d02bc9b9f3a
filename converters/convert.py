"""A model file becomes a bundle: read, clean, quantize, prove, write; one function a step, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgevision.backends import Variant
from edgevision.bundle import hash_file
from edgevision.converters import onnx_file
from edgevision.converters.bundle_writer import check_output, replaced, staging
from edgevision.converters.calibration import Data, open_data
from edgevision.converters.candidates import Trial, best_candidate
from edgevision.converters.clean import clean
from edgevision.converters.int8_from_onnx import Quantized
from edgevision.converters.int8_read_back import read_back, refuse_quantized
from edgevision.converters.manifest import write_bundle
from edgevision.converters.prove import Proof, compare_speed, load, prove
from edgevision.converters.settings import Overrides, fixed_shapes, resolve
from edgevision.errors import GateError, UsageError
from edgevision.frame import Frame, Image
from edgevision.metadata import KEY, variant_metadata
from edgevision.onnx_header import read_header
from edgevision.preprocess import Preprocessor, tensor_size
from edgevision.progress import Progress
from edgevision.sources import make_source
from edgevision.spec import ModelSpec

__all__ = ["Made", "Order", "convert"]

#: Targets whose INT8 scheme this version writes.
TARGETS = ("x86", "trt")
_GOLDEN_FRAMES = 4
_GOLDEN_SYNTHETIC = "synthetic://shapes?seed=7&size=640x480&frames={count}"


@dataclass(frozen=True, slots=True)
class Order:
    """What the user wants.

    Attributes:
        model: The ONNX file.
        output: The bundle's folder.
        overrides: How the model is run, where the user says so.
        precisions: Besides fp32, which is always there: ``int8``.
        targets: Of `TARGETS`.
        calibration: A video or a folder of pictures; needed for int8.
        samples: At most so many pictures to calibrate on, and as many to prove on.
        least: Agreement with fp32 that passes.
        golden: A source of golden frames, ``synthetic`` or ``none``.
        opset: Least opset of what is written.
        keep_passing: Write a bundle of the variants that passed when others did not.
        force: Replace a bundle that exists.
    """

    model: Path
    output: Path
    overrides: Overrides = field(default_factory=Overrides)
    precisions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("x86",)
    calibration: Path | None = None
    samples: int = 200
    least: float = 0.95
    golden: str = "synthetic"
    opset: int = 17
    keep_passing: bool = False
    force: bool = False


@dataclass(slots=True)
class Made:
    """One variant, and all that is known of it.

    Attributes:
        variant: Its file lies in the staging folder.
        proof: None for fp32, the reference.
        quantized: What the quantizer reports; None for fp32.
        trials: Recipes that were tried, with their agreement on the selection pictures.
        written: What reading the file back found.
    """

    variant: Variant
    proof: Proof | None = None
    quantized: dict[str, Any] | None = None
    trials: Sequence[Trial] = ()
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.proof is None or self.proof.verdict == "pass"


@dataclass(slots=True)
class Conversion:
    """Everything that a report is made of."""

    order: Order
    spec: ModelSpec
    changes: list[str]
    made: list[Made]
    data: Data | None
    timings: dict[str, dict[str, Any]]
    golden: list[Image]

    @property
    def passed(self) -> bool:
        return all(m.passed for m in self.made)


def convert(order: Order, progress: Progress) -> Conversion:
    """Converts a model and writes the bundle, or the report of why there is none.

    Raises:
        GateError: A variant missed the agreement; the report lies in ``<output>.rejected``.
        EdgevisionError: Something could not be read, done or written; nothing is left behind.
    """
    _check(order)
    model = onnx_file.load(order.model)
    header = read_header(order.model)
    spec = resolve(order.overrides, header.metadata, header.inputs, model_name=order.model.name)
    if order.precisions:
        refuse_quantized(model)
    data = None
    if order.calibration is not None:
        data = open_data(order.calibration, samples=order.samples, progress=progress)
    with staging(order.output) as folder:
        progress.say(f"cleaning {order.model.name}")
        cleaned = clean(model, shapes=fixed_shapes(spec, header.inputs, order.overrides.batch), min_opset=order.opset)
        del model
        made = [_write_variant(folder, cleaned.model, spec, "fp32", "fp32", ())]
        golden = _golden(order)
        reference = load(made[0].variant)
        _try_out(reference, golden, data)
        for target in order.targets if order.precisions else ():
            made.append(_int8(folder, cleaned.model, spec, target, order, data, progress))
        conversion = Conversion(order, spec, cleaned.changes, made, data, _timings(made, golden, data, progress), golden)
        _deliver(conversion, folder, progress)
    return conversion


def _check(order: Order) -> None:
    """What can be known to be wrong before any work."""
    check_output(order.output, force=order.force)
    unknown = set(order.precisions) - {"fp32", "int8"}
    if unknown:
        raise UsageError(f"this version does not write {', '.join(sorted(unknown))}", expected="--precision int8 (fp32 is always written)")
    if set(order.targets) - set(TARGETS):
        raise UsageError(
            f"unknown target {', '.join(sorted(set(order.targets) - set(TARGETS)))}", expected="of: " + ", ".join(TARGETS)
        )
    if "int8" in order.precisions and order.calibration is None:
        raise UsageError(
            "int8 needs calibration data, and none was given",
            expected="--calibration with a video or a folder of pictures that look like what the camera will see",
            hint="a minute of video from the camera is enough; random data would prove nothing",
        )


def _write_variant(
    folder: Path, model: onnx.ModelProto, spec: ModelSpec, variant_id: str, precision: str, targets: tuple[str, ...]
) -> Made:
    """Stores the spec in the model's metadata and the model in the folder."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    kept = [p for p in own.metadata_props if p.key != KEY]
    del own.metadata_props[:]
    own.metadata_props.extend(kept)
    own.metadata_props.add(key=KEY, value=variant_metadata(variant_id, precision, spec))
    file = folder / f"{variant_id}.onnx"
    onnx_file.save(own, file)
    opset = next(o.version for o in own.opset_import if o.domain in ("", "ai.onnx"))
    size = file.stat().st_size
    return Made(Variant(variant_id, precision, file, spec, hash_file(file), size, opset, targets))


def _golden(order: Order) -> list[Image]:
    """The pictures to store as golden frames, evenly spread over the source they come from."""
    if order.golden == "none":
        return []
    synthetic = order.golden == "synthetic"
    source = make_source(_GOLDEN_SYNTHETIC.format(count=_GOLDEN_FRAMES) if synthetic else order.golden)
    info, frame = source.open(), Frame()
    step = max(1, (info.frames or _GOLDEN_FRAMES) // _GOLDEN_FRAMES)
    images: list[Image] = []
    try:
        while len(images) < _GOLDEN_FRAMES and source.read(frame):
            if frame.index % step == 0:
                images.append(frame.image.copy())
    finally:
        source.close()
    return images


def _try_out(reference: Any, golden: Sequence[Image], data: Data | None) -> None:
    """One picture through the whole way, so that a preset that does not fit is found before the long work."""
    first = next(iter(data.calibration), None) if data is not None else None
    image = first if first is not None else (golden[0] if golden else np.full((480, 640, 3), 114, np.uint8))
    reference.pipeline.examine(image)


def _int8(
    folder: Path, cleaned: onnx.ModelProto, spec: ModelSpec, target: str, order: Order, data: Data | None, progress: Progress
) -> Made:
    """The best recipe's model for a target, read back and proven on pictures that had no part in making it."""
    if data is None:
        raise UsageError("int8 needs calibration data")
    variant_id = f"int8-{target}"
    reference = load(Variant("fp32", "fp32", folder / "fp32.onnx", spec))

    def score(quantized: Quantized) -> float:
        trial = _write_variant(folder, quantized.model, spec, variant_id, "int8", (target,))
        with load(trial.variant) as candidate:
            pictures = data.selection if data.selection.count else data.calibration
            found = prove(
                reference, candidate, pictures, total=pictures.count, least=order.least,
                stage=f"{variant_id}: trying a recipe", progress=progress,
            )
        return found.value

    progress.say(f"{variant_id}: calibrating on {data.calibration.count} pictures of {data.name}")
    best, trials = best_candidate(
        cleaned, lambda: _feeds(cleaned, spec, data), score, scheme=target, target=order.least, progress=progress
    )
    made = _write_variant(folder, best.model, spec, variant_id, "int8", (target,))
    made.quantized, made.trials = best.report, trials
    made.written = read_back(onnx_file.load(made.variant.file), target)
    with load(made.variant) as candidate, reference:
        made.proof = prove(
            reference, candidate, data.proof, total=data.proof.count, least=order.least,
            stage=f"{variant_id}: proving", progress=progress,
        )
    return made


def _feeds(model: onnx.ModelProto, spec: ModelSpec, data: Data) -> Iterator[dict[str, Any]]:
    """The calibration pictures as input tensors, through the same input spec as everywhere."""
    name = spec.input.tensor or model.graph.input[0].name
    others = {
        value.name: np.zeros(_dims(value), onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        for value in model.graph.input if value.name != name
    }
    tensor, loader = np.empty(0), None
    for image in data.calibration:
        shape = (1, *spec.input.tensor_shape(*tensor_size(spec.input, *image.shape[:2])))
        if loader is None or tensor.shape != shape:
            tensor = np.empty(shape, spec.input.dtype)
            loader = Preprocessor(spec.input, tensor)
        loader.load(image)
        yield {name: tensor, **others}


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(max(1, d.dim_value) for d in value.type.tensor_type.shape.dim)


def _timings(made: Sequence[Made], golden: Sequence[Image], data: Data | None, progress: Progress) -> dict[str, dict[str, Any]]:
    picture = next(iter(data.proof), None) if data is not None else (golden[0] if golden else None)
    if picture is None:
        picture = np.full((480, 640, 3), 114, np.uint8)
    models = {m.variant.id: load(m.variant) for m in made}
    try:
        return compare_speed(models, picture.copy(), progress)
    finally:
        for model in models.values():
            model.close()


def _deliver(conversion: Conversion, folder: Path, progress: Progress) -> None:
    """Puts the bundle in its place, or the report of a bundle that is not to be."""
    order = conversion.order
    if not conversion.passed and not order.keep_passing:
        rejected = order.output.with_name(order.output.name + ".rejected")
        for made in conversion.made:
            made.variant.file.unlink()
        write_bundle(conversion, folder, rejected=True, progress=progress)
        replaced(folder, rejected)
        raise _missed(conversion, rejected)
    failed = [m for m in conversion.made if not m.passed]
    for made in failed:
        made.variant.file.unlink()
    write_bundle(conversion, folder, rejected=False, progress=progress)
    replaced(folder, order.output)
    if failed:
        raise _missed(conversion, order.output)


def _missed(conversion: Conversion, report: Path) -> GateError:
    missed = [m for m in conversion.made if not m.passed and m.proof is not None]
    lines = "; ".join(f"{m.variant.id} {m.proof.verdict} with {m.proof.agreement['metric']} {m.proof.value:.4f}" for m in missed if m.proof)
    return GateError(
        f"not proven: {lines}", received=f"{missed[0].proof.agreement['samples']} samples in {missed[0].proof.agreement['frames']} pictures" if missed and missed[0].proof else "",
        expected=f"agreement of at least {conversion.order.least:g} on at least 50 pictures (100 detections)",
        hint=f"{report / 'report.md'} says where they differ",
    )


