"""edgevision takes a trained vision model to an edge device.

    import edgevision as ev

    with ev.open("garments.evb") as model:
        for frame, result in model.stream("clip.mp4"):
            print(frame.index, result.boxes_xyxy, result.scores)

Importing this package imports neither OpenCV nor an engine; opening a model does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgevision.errors import EdgevisionError
    from edgevision.frame import Frame
    from edgevision.model import Model
    from edgevision.model import open_model as open
    from edgevision.results import Classification, Detections, Keypoints, Segmentation

__all__ = [
    "Classification",
    "Detections",
    "EdgevisionError",
    "Frame",
    "Keypoints",
    "Model",
    "Segmentation",
    "__version__",
    "open",
]

__version__ = "0.1.0"

# From 1.31 on, onnxruntime reports its use to its makers and leaves an id in the user's cache, unless this is set
# before it is imported (its Privacy.md). Whoever set it already has decided.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Classification": ("edgevision.results", "Classification"),
    "Detections": ("edgevision.results", "Detections"),
    "EdgevisionError": ("edgevision.errors", "EdgevisionError"),
    "Frame": ("edgevision.frame", "Frame"),
    "Keypoints": ("edgevision.results", "Keypoints"),
    "Model": ("edgevision.model", "Model"),
    "Segmentation": ("edgevision.results", "Segmentation"),
    "open": ("edgevision.model", "open_model"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'edgevision' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOME[name]
    value = globals()[name] = getattr(import_module(module), attribute)
    return value
