"""Whether the GPU should use the host's memory in place: measured, where the two share their memory.

On Jetson a copy between host and device moves bytes within one memory. Leaving them where they are saves it, but
then the GPU reads what its caches do not hold. Which is faster depends on the module and the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median

import numpy as np

from edgevision.cuda.context import PrimaryContext
from edgevision.errors import BackendError
from edgevision.preprocess import tensor_size
from edgevision.spec import TensorSpec
from edgevision.trt.engine import Loaded
from edgevision.trt.lane import Lane, Settings, free_lane, make_lane

__all__ = ["faster_mapped"]

#: Runs of each; the first of them settle clocks, buffers and the graph.
_WARM_UP, _RUNS = 5, 15
#: Of the frame that is tried: what a camera gives.
_FRAME_HW = (720, 1280)


def faster_mapped(
    context: PrimaryContext, loaded: Loaded, tensors: Mapping[str, TensorSpec], settings: Settings
) -> tuple[bool, str]:
    """Whether mapped memory is the faster one for this engine, and what was measured, for people.

    Where mapped memory cannot be had it is not faster.
    """
    copied = _median_ms(context, loaded, tensors, replace(settings, mapped=False))
    try:
        mapped = _median_ms(context, loaded, tensors, replace(settings, mapped=True))
    except BackendError as error:
        return False, f"copied memory: {error.problem}"
    name = "mapped" if mapped < copied else "copied"
    return mapped < copied, f"{name} memory: {mapped:.2f} ms mapped, {copied:.2f} ms copied"


def _median_ms(
    context: PrimaryContext, loaded: Loaded, tensors: Mapping[str, TensorSpec], settings: Settings
) -> float:
    lane = make_lane(context, loaded, tensors, settings)
    try:
        frame = np.full((*_frame_hw(settings), 3), 127, np.uint8)
        return median([_run_ms(lane, frame) for _ in range(_WARM_UP + _RUNS)][_WARM_UP:])
    finally:
        free_lane(context, lane)


def _run_ms(lane: Lane, frame: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    for row in range(lane.inputs.rows):
        lane.inputs.load(frame, row, None, None, "bgr")
    lane.submit(lane.inputs.rows)
    lane.ended(None)
    return sum(lane.durations_ns()) / 1e6


def _frame_hw(settings: Settings) -> tuple[int, int]:
    """A frame that the tensor takes: any for a fixed size, else one of the tensor's own."""
    return _FRAME_HW if settings.spec.size is not None else tensor_size(settings.spec, *_FRAME_HW)
