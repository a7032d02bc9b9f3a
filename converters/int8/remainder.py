"""What an INT8 graph for TensorRT leaves in float, in float16: float32 islands would eat the gain."""

from __future__ import annotations

from collections import Counter

from edgevision.converters.fp16.from_onnx import half_remainder
from edgevision.converters.int8.from_onnx import Quantized
from edgevision.converters.int8.ranges import Feeds
from edgevision.converters.int8.shields import without_shields
from edgevision.progress import Tell, silent

__all__ = ["with_half_remainder"]


def with_half_remainder(
    quantized: Quantized, feeds: Feeds, *, progress: Tell = silent
) -> Quantized:
    """The same with a float16 remainder; inputs and outputs stay float32.

    Args:
        quantized: By a scheme with ``half_scales``.
        feeds: Gives the calibration frames, once, to see which tensors leave float16's range.
        progress: Told the stage, how far it is, and of how much.

    Returns:
        The model, and in its report besides ``half`` (names of the nodes that compute in float16),
        ``float32`` (name of each other node that gives float32 → reason) and ``notes``.
    """
    made = half_remainder(without_shields(quantized.model), feeds, progress=progress)
    found = made.report
    report = {
        **quantized.report,
        "half": found["fp16"],
        "float32": found["float"],
        "notes": [_note(found["float"])],
        "warnings": [*quantized.report["warnings"], *found["warnings"]],
    }
    return Quantized(made.model, report)


def _note(kept: dict[str, str]) -> str:
    if not kept:
        return "All that stays in float is float16."
    counts = Counter(kept.values()).most_common()
    reasons = "; ".join(f"{count} × {reason}" for reason, count in counts)
    nodes = "1 node" if len(kept) == 1 else f"{len(kept)} nodes"
    return f"What stays in float is float16, but for {nodes} in float32: {reasons}."
