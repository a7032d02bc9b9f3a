"""The heads of YOLOv8, YOLOv5 and YOLOX: one tensor of boxes and scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.converters.bake.heads import Candidates, Head, best_classes, corners, matrix
from edgevision.decoders._tensors import OneTensor, channels_first
from edgevision.decoders.yolox import cells_of

__all__ = ["yolov5", "yolov8", "yolox"]


def yolov8(head: Head) -> Candidates:
    """``4 + C`` values an anchor: centre and size in tensor pixels, then scores."""
    return _candidates(head, "yolov8", objectness=False, place=None)


def yolov5(head: Head) -> Candidates:
    """``5 + C`` values an anchor: centre and size in tensor pixels, objectness, then scores."""
    return _candidates(head, "yolov5", objectness=True, place=None)


def yolox(head: Head) -> Candidates:
    """The same in cells and logarithms, unless it is decoded already."""
    if head.params["decoded"]:
        return _candidates(head, "yolox", objectness=True, place=None)
    cells = cells_of(head.tensor_hw, tuple(head.params["strides"]))
    return _candidates(head, "yolox", objectness=True, place=cells)


def _candidates(
    head: Head, decoder: str, *, objectness: bool, place: NDArray[np.float64] | None
) -> Candidates:
    builder, start = head.builder, 5 if objectness else 4
    name, (rows, columns), first = _layout(head, decoder, start)
    values = matrix(head, name)
    channels, anchors = (rows, columns) if first else (columns, rows)
    axis = 0 if first else 1
    scores = builder.slice(values, axis, start, channels, "scores")
    factor = None
    if objectness:
        factor = builder.add("Gather", [values, builder.whole(4, "four")], "objectness", axis=axis)
    shape = (channels - start, anchors) if first else (anchors, channels - start)
    best, ids, chosen, count = best_classes(head, scores, shape, first=first, factor=factor)
    boxes = builder.slice(values, axis, 0, 4, "lines")
    boxes = builder.add("Gather", [boxes, chosen], "lines_of_best", axis=1 - axis)
    if first:
        boxes = builder.add("Transpose", [boxes], "lines_of_best", perm=[1, 0])
    centres = builder.slice(boxes, 1, 0, 2, "centre")
    sizes = builder.slice(boxes, 1, 2, 4, "size")
    if place is not None:
        centres, sizes = _placed(head, centres, sizes, chosen, place)
    return Candidates(best, ids, corners(builder, centres, sizes), count, channels - start)


def _layout(head: Head, decoder: str, start: int) -> tuple[str, tuple[int, int], bool]:
    """The output's name, its shape without the row, and whether channels come first, as the decoder finds it."""
    layout = f"one floating point tensor (rows, {start} + classes, anchors) or the other way round"
    tensor = OneTensor(decoder, head.params["outputs"], layout)
    values = tensor.row(head.outputs, 0)
    known = start + len(head.labels) if head.labels else None
    first = channels_first(decoder, values.shape, known, layout, head.outputs)
    return tensor.name(head.outputs), (values.shape[0], values.shape[1]), first


def _placed(
    head: Head, centres: str, sizes: str, chosen: str, cells: NDArray[np.float64]
) -> tuple[str, str]:
    """Offsets in cells → tensor pixels: (xy + cell) · stride and exp(wh) · stride."""
    builder = head.builder
    corner = _rows(head, cells[:2], chosen, "cell")
    stride = _rows(head, cells[2:], chosen, "stride")
    centres = builder.add("Add", [centres, corner], "centre")
    sizes = builder.add("Exp", [sizes], "size")
    return (
        builder.add("Mul", [centres, stride], "centre"),
        builder.add("Mul", [sizes, stride], "size"),
    )


def _rows(head: Head, planes: NDArray[Any], chosen: str, name: str) -> str:
    """The chosen columns of a constant ``(n, A)`` as ``(K, n)``."""
    constant = head.builder.constant(np.ascontiguousarray(planes.T, np.float32), f"{name}s")
    return head.builder.add("Gather", [constant, chosen], name, axis=0)
