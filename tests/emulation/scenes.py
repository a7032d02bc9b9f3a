"""What the programs on the emulated GPU share: models opened in two backends, and their results compared.

Imported by programs that the tests start, never by a test.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plans

from edgevision.backends import BackendOptions
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.metrics.boxes import iou_matrix
from edgevision.model import Model, load_variant
from edgevision.sources import make_source
from edgevision.sources._limited import Limited

__all__ = ["allocations", "differences", "frames", "on_cpu", "on_gpu", "report", "square", "tell"]


#: Fields of the input spec to replace.
tweak: dict[str, Any] = {}


def on_gpu(
    path: str,
    *,
    hint: str = "latency",
    profiles: Any = None,
    version: str = "10.3.0",
    library: str = "tensorrt",
    **extra: Any,
) -> Model:
    """A model in the backend ``trt``, after its engine was made."""
    bundle = open_bundle(Path(path))
    choice = choose(bundle)
    spec = replace(choice.variant.spec, input=replace(choice.variant.spec.input, **tweak))
    choice = replace(choice, variant=replace(choice.variant, spec=spec))
    folder = Path(path).parent / "engines"
    plans.write_engine(choice.variant, folder, version=version, profiles=profiles, library=library)
    options = BackendOptions(hint, extra={"engine_dir": folder, **extra})
    return load_variant(bundle, choice, options, backend="trt")


def on_cpu(path: str) -> Model:
    """The same in the backend ``ort``."""
    bundle = open_bundle(Path(path))
    return load_variant(bundle, choose(bundle), BackendOptions(), backend="ort")


def frames(uri: str, count: int) -> Any:
    """The first frames of a video."""
    return Limited(make_source(uri), count)


def square(colour: int = 2, at: tuple[int, int] = (16, 24), side: int = 64) -> Any:
    """A black picture with one square of 16×16 pixels; the colour is a channel of blue-green-red."""
    image = np.zeros((side, side, 3), np.uint8)
    image[at[1] : at[1] + 16, at[0] : at[0] + 16, colour] = 255
    return image


def report() -> dict[str, Any]:
    """What the emulated driver counts, now."""
    library = ctypes.CDLL("libcuda.so.1")
    library.emulated_cuda_report.restype = ctypes.c_void_p
    address = library.emulated_cuda_report()
    told: dict[str, Any] = json.loads(ctypes.string_at(address))
    ctypes.CDLL(None).free(ctypes.c_void_p(address))
    return told


def allocations() -> dict[str, int]:
    """How many allocations there were so far, by kind."""
    return {kind: tally["made"] for kind, tally in report()["memory"].items()}


def differences(found: Any, wanted: Any, *, threshold: float, margin: float = 0.02) -> list[str]:
    """What two detections of one frame do not agree in, leaving out what lies within a margin of the threshold."""
    told = []
    for one, other, name in ((found, wanted, "found"), (wanted, found, "missed")):
        overlaps = iou_matrix(one.boxes_xyxy, other.boxes_xyxy)
        for row in np.flatnonzero(one.scores >= threshold + margin):
            same = np.flatnonzero((other.class_ids == one.class_ids[row]) & (overlaps[row] >= 0.99))
            if not len(same):
                told.append(f"{name}: class {one.class_ids[row]} at {one.scores[row]:.3f}")
            elif np.abs(other.scores[same] - one.scores[row]).min() > margin:
                told.append(f"score {one.scores[row]:.3f}, not {other.scores[same]}")
    return told


def tell(**facts: Any) -> None:
    """Prints what the test is to check."""
    print(json.dumps(facts, default=str))
