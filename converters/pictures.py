"""A few pictures of a source, evenly spread over it; and pictures as what a model is fed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.index import shape_of
from edgevision.errors import DataError
from edgevision.frame import Frame, Image
from edgevision.preprocess import Preprocessor, tensor_size
from edgevision.sources import make_source
from edgevision.spec import InputSpec

__all__ = ["picture_feeds", "refuse_pipe", "spread"]


def spread(uri: str, count: int) -> list[Image]:
    """At most ``count`` pictures, uint8 ``(H, W, 3)`` BGR, the caller's own.

    Raises:
        EdgevisionError: The source cannot be read.
    """
    refuse_pipe(Path(uri))
    source = make_source(uri)
    info, frame = source.open(), Frame()
    total = max(info.frames or 0, count)
    images: list[Image] = []
    try:
        while len(images) < count and source.read(frame):
            if frame.index >= len(images) * total // count:
                images.append(frame.image.copy())
    finally:
        source.close()
    return images


def refuse_pipe(path: Path) -> None:
    """Refuses what would be waited for without end, and could be read only once.

    Raises:
        DataError: It is a pipe.
    """
    if path.is_fifo():
        raise DataError(
            f"{path} is a pipe",
            expected="a video or a folder of pictures, which are read more than once",
            hint="write it to a file first",
        )


def picture_feeds(
    model: onnx.ModelProto, spec: InputSpec, pictures: Iterable[Image]
) -> Iterator[dict[str, NDArray[Any]]]:
    """Pictures as input tensors, through the same input spec as everywhere; other inputs are zeros.

    Args:
        model: Its inputs are fed; open dims of those that take no pictures count as 1.
        spec: How a picture becomes a tensor.
        pictures: uint8 ``(H, W, 3)`` BGR.

    Yields:
        A feed a picture; the picture's tensor is overwritten for the next one of its size.
    """
    name = spec.tensor or model.graph.input[0].name
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
    for image in pictures:
        shape = (rows, *spec.tensor_shape(*tensor_size(spec, *image.shape[:2])))
        if loader is None or tensor.shape != shape:
            tensor = np.empty(shape, spec.dtype)
            loader = Preprocessor(spec, tensor)
        for row in range(rows):
            loader.load(image, row)
        yield {name: tensor, **others}


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) and d > 0 else 1 for d in shape_of(value) or [])
