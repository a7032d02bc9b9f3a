"""How fast the variants run here: beside each other, beside the file as it came, and in other engines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from edgevision.backends import Variant
from edgevision.converters.conversion import Engine, Made
from edgevision.converters.engines import open_engine
from edgevision.converters.graph import onnx_file
from edgevision.converters.prove import compare_speed, load
from edgevision.converters.readers import Read
from edgevision.converters.settings import fixed_shapes
from edgevision.errors import EdgevisionError
from edgevision.frame import Image
from edgevision.model import Model
from edgevision.progress import Progress
from edgevision.spec import ModelSpec

__all__ = ["ORIGINAL", "measure"]

ORIGINAL = "original"

Timing = dict[str, Any]


def measure(
    made: Sequence[Made],
    engines: Sequence[Engine],
    original: tuple[Read, ModelSpec],
    image: Image,
    progress: Progress,
) -> tuple[dict[str, Timing], Timing]:
    """Inference times, all taken in turn on one picture; those of other engines are kept with them.

    Args:
        made: fp32 first.
        engines: Other ways to run them.
        original: The model as it was read, and how it is run.
        image: What to infer on.
        progress: Told how far it is.

    Returns:
        Variant → ``latency_ms``, ``speedup`` (over fp32) and ``speedup_vs_original``; and the original's own
        ``latency_ms``, ``speedup`` and ``shapes`` (``own``, or ``fixed`` where it had to be told its input's
        size), or ``problem`` where it cannot be run. Then ``speedup_vs_original`` is None.
    """
    by_id = {m.variant.id: m for m in made}
    with ExitStack() as stack:
        models = {name: stack.enter_context(load(m.variant)) for name, m in by_id.items()}
        for engine in engines:
            models[engine.name] = stack.enter_context(open_engine(engine, by_id[engine.variant]))
        found, note = stack.enter_context(_original(*original, models[made[0].variant.id], image))
        if found is not None:
            models[ORIGINAL] = found
        times = compare_speed(models, image, progress)
    own = times.pop(ORIGINAL, {}) | note
    for timing in times.values():
        ratio = timing["speedup"] / own["speedup"] if "speedup" in own else None
        timing["speedup_vs_original"] = None if ratio is None else round(ratio, 3)
    for engine in engines:
        engine.timing = times.pop(engine.name)
    return times, own


@contextmanager
def _original(
    read: Read, spec: ModelSpec, fp32: Model, image: Image
) -> Iterator[tuple[Model | None, dict[str, str]]]:
    """The original, ready to run on the picture as fp32 does: as it is, else with its input's size set."""
    problem = ""
    rows = fp32.pipeline.loaded_slot(image).rows
    shapes = fixed_shapes(spec, read.header.inputs, rows)
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder, ExitStack() as stack:
        for how in ("own", "fixed"):
            file = Path(folder) / f"{how}.onnx"
            try:
                own = how == "own"
                onnx_file.save(read.model if own else _with_shapes(read.model, shapes), file)
                variant = replace(fp32.variant, id=ORIGINAL, file=file, spec=spec)
                ready = stack.enter_context(_checked(variant, rows, image))
            except (EdgevisionError, ValueError) as error:
                problem = problem or str(error).splitlines()[0]
                continue
            yield ready, {"shapes": how}
            return
        yield None, {"problem": problem}


@contextmanager
def _checked(variant: Variant, rows: int, image: Image) -> Iterator[Model]:
    """The original, once it was seen to run, on as many pictures at a time as fp32.

    Raises:
        EdgevisionError: It does not run.
        ValueError: It takes fewer pictures, or more.
    """
    with load(variant) as model:
        slot = model.pipeline.loaded_slot(image)
        slot.submit()
        slot.wait()
        if slot.rows != rows:
            raise ValueError(f"it takes {slot.rows} pictures at a time, fp32 {rows}")
        yield model


def _with_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | str]]
) -> onnx.ModelProto:
    """A copy that declares these shapes of its inputs, and none that would follow from others."""
    own = onnx.ModelProto()
    own.CopyFrom(model)
    for value in own.graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(
                onnx.helper.make_tensor_value_info(value.name, kind, list(shapes[value.name]))
            )
    del own.graph.value_info[:]
    for value in own.graph.output:
        value.type.tensor_type.ClearField("shape")
    return own
