"""Writes the variants of a bundle: the clean fp32 graph, and int8 by the recipe that proves best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.backends import Variant
from edgevision.bundle import hash_file
from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Made, Order
from edgevision.converters.graph import onnx_file
from edgevision.converters.int8.candidates import best_candidate
from edgevision.converters.int8.from_onnx import Quantized
from edgevision.converters.int8.read_back import read_back
from edgevision.converters.prove import agreement_for, load, prove
from edgevision.errors import DataError
from edgevision.metadata import KEY, variant_metadata
from edgevision.preprocess import Preprocessor, tensor_size
from edgevision.progress import Progress
from edgevision.results import Result
from edgevision.spec import ModelSpec

__all__ = ["feeds", "int8_variant", "write_variant"]


def write_variant(
    folder: Path,
    model: onnx.ModelProto,
    spec: ModelSpec,
    variant_id: str,
    precision: str,
    targets: tuple[str, ...],
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


def int8_variant(
    folder: Path,
    cleaned: onnx.ModelProto,
    spec: ModelSpec,
    target: str,
    order: Order,
    data: Data,
    progress: Progress,
) -> Made:
    """The best recipe's model for a target, read back and proven on pictures that had no part in making it."""
    variant_id = f"int8-{target}"
    reference = load(Variant("fp32", "fp32", folder / "fp32.onnx", spec))
    pictures = data.selection if data.selection.count else data.calibration
    expected: list[Result] = []  # what fp32 finds in them: small, and the same for every recipe

    def score(quantized: Quantized) -> float:
        trial = write_variant(folder, quantized.model, spec, variant_id, "int8", (target,))
        agreement = agreement_for(spec.task)
        with load(trial.variant) as candidate:
            for done, image in enumerate(pictures):
                if done == len(expected):
                    expected.append(reference(image))
                agreement.add(expected[done], candidate(image))
                progress(f"{variant_id}: trying a recipe", done + 1, pictures.count)
        if not agreement.frames:
            raise DataError(
                f"none of the {pictures.purpose} pictures of {data.name} can be decoded",
                hint="check the files; 'problems' of a report name the first of them",
            )
        return agreement.value

    progress.say(f"{variant_id}: calibrating on {data.calibration.count} pictures of {data.name}")
    best, trials = best_candidate(
        cleaned,
        lambda: feeds(cleaned, spec, data),
        score,
        scheme=target,
        target=order.least,
        progress=lambda stage, done, total: progress(f"{variant_id}: {stage}", done, total),
    )
    made = write_variant(folder, best.model, spec, variant_id, "int8", (target,))
    made.quantized, made.trials = best.report, trials
    made.written = read_back(onnx_file.load(made.variant.file), target)
    with load(made.variant) as candidate, reference:
        made.proof = prove(
            reference,
            candidate,
            data.proof,
            total=data.proof.count,
            least=order.least,
            stage=f"{variant_id}: proving",
            progress=progress,
        )
    return made


def feeds(model: onnx.ModelProto, spec: ModelSpec, data: Data) -> Iterator[dict[str, Any]]:
    """The calibration pictures as input tensors, through the same input spec as everywhere."""
    name = spec.input.tensor or model.graph.input[0].name
    others = {
        value.name: np.zeros(
            _dims(value), onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in model.graph.input
        if value.name != name
    }
    rows = next(_dims(value)[0] for value in model.graph.input if value.name == name)
    tensor: NDArray[Any] = np.empty(0)
    loader = None
    for image in data.calibration:
        shape = (rows, *spec.input.tensor_shape(*tensor_size(spec.input, *image.shape[:2])))
        if loader is None or tensor.shape != shape:
            tensor = np.empty(shape, spec.input.dtype)
            loader = Preprocessor(spec.input, tensor)
        for row in range(rows):
            loader.load(image, row)
        yield {name: tensor, **others}


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(max(1, d.dim_value) for d in value.type.tensor_type.shape.dim)
