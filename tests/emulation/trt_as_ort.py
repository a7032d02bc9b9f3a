"""A pytest plug-in: tests that open the backend ``ort`` get ``trt`` on the emulated GPU, with an engine made on the spot."""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx
import plans

from edgevision import registry
from edgevision.backends.trt import TrtBackend, TrtSession
from edgevision.cuda import compile as compiler
from edgevision.cuda import kernel

__all__ = ["MadeOnTheSpot"]

_load = registry.load
kernel.binary = cache(compiler.binary)  # each test has a cache folder of its own


class MadeOnTheSpot(TrtBackend):
    """Builds the engine before it opens it; open dimensions take 1 to 512."""

    def open(self, variant: Any, options: Any) -> TrtSession:
        folder = variant.file.parent / "engines"
        plans.write_engine(variant, folder, profiles=_profiles(variant.file))
        return super().open(variant, options)


def _profiles(path: Any) -> dict[str, Any]:
    graph = onnx.load(str(path)).graph
    known = {one.name for one in graph.initializer}
    found = {}
    for value in graph.input:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name not in known and 0 in dims:
            found[value.name] = [[dim or side for dim in dims] for side in (1, 64, 512)]
    return found


def _instead(kind: str, name: str) -> Any:
    return MadeOnTheSpot if (kind, name) == ("backends", "ort") else _load(kind, name)


registry.load = _instead
