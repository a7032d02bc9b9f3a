"""Golden frames: pictures in the bundle with each variant's results, to check a device against.

``golden/NNN.png`` are the pictures, ``golden/<variant>.json`` the results: for each picture the decoded
result and a sample of each raw output, so that a picture in which nothing is found is a check too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.bundle import Bundle, safe_file
from edgevision.errors import BundleError
from edgevision.frame import Image
from edgevision.metrics.agreement import match, same_result
from edgevision.model import Model
from edgevision.results import Classification, Detections, Keypoints, Result, Segmentation
from edgevision.sources.images import read_image

__all__ = ["TOLERANCE", "compare", "golden_frames", "golden_record", "golden_results"]

#: Largest difference of scores, by precision of the variant and of what the engine computes in.
TOLERANCE = {"fp32": 0.02, "fp16": 0.05, "bf16": 0.05, "int8": 0.10}
#: Least cosine between the stored sample of an output and the one computed here, likewise.
_LEAST_COSINE = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.995, "int8": 0.98}
#: Values this close are the same whatever the cosine: where a mask shows nothing, all are next to 0.
_NEGLIGIBLE = 1e-3
_SAMPLE = 64
#: Least overlap of two boxes of one detection, as in `same_result`.
_SAME_IOU = 0.9


def golden_frames(bundle: Bundle) -> list[Image]:
    """The bundle's golden pictures: uint8 ``(H, W, 3)`` BGR; empty if it has none."""
    frames = []
    for name in bundle.manifest.get("golden", {}).get("frames", []):
        bundle.check(name)
        image = read_image(safe_file(bundle.path, name))
        if image is None:
            raise BundleError(
                f"{name} in {bundle.path} is no picture", hint="convert the model again"
            )
        frames.append(image)
    return frames


def golden_results(bundle: Bundle, variant_id: str) -> list[Mapping[str, Any]]:
    """What the variant made of each golden picture when the bundle was written; empty if there is none."""
    name = bundle.manifest.get("golden", {}).get("results", {}).get(variant_id)
    if name is None:
        return []
    bundle.check(name)
    try:
        return list(json.loads(safe_file(bundle.path, name).read_bytes())["frames"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{name} in {bundle.path} cannot be read: {error}") from error


def golden_record(model: Model, image: Image) -> dict[str, Any]:
    """What to store for one picture: ``result`` and ``outputs`` {name → ``shape``, ``values``}, JSON-ready."""
    result, outputs = model.pipeline.examine(image)
    samples = {
        name: {"shape": list(value.shape), "values": [float(f"{v:.6g}") for v in _sample(value)]}
        for name, value in outputs.items()
    }
    return {"result": result.to_dict(), "outputs": samples}


def compare(model: Model, image: Image, stored: Mapping[str, Any]) -> list[str]:
    """Differences between a golden picture's stored record and this machine, one line each.

    Args:
        model: The variant, loaded here.
        image: The golden picture.
        stored: What `golden_record` made of it. What lies as close to the decoder's least score as
            scores may differ is left out. Landmarks may lie as far away as the tolerance of scores
            in longer sides of their box (fp32: 2 pixels for a face of 100), and 1 pixel anyway.
    """
    precision = (
        model.executed.compute if model.variant.precision == "fp32" else model.variant.precision
    )
    result, outputs = model.pipeline.examine(image)
    wanted = _result(stored["result"], model.labels, result)
    tolerance = TOLERANCE.get(precision, 0.10)
    differences = same_result(wanted, result, tolerance, threshold=model.pipeline.least_score)
    if isinstance(wanted, Detections) and isinstance(result, Detections):
        differences += _landmarks_apart(wanted, result, tolerance)
    least = _LEAST_COSINE.get(precision, 0.98)
    for name, sample in stored["outputs"].items():
        if name not in outputs or list(outputs[name].shape) != sample["shape"]:
            differences.append(f"output {name} has another shape")
            continue
        then, now = np.asarray(sample["values"]), _sample(outputs[name])
        cosine = _cosine(then, now)
        if not (cosine >= least or np.abs(then - now).max(initial=0.0) <= _NEGLIGIBLE):
            differences.append(
                f"output {name}: cosine {cosine:.4f} to the stored sample, at least {least} expected"
            )
    return differences


def _landmarks_apart(then: Detections, now: Detections, tolerance: float) -> list[str]:
    """Where detections that both have differ in their landmarks, one line each."""
    if then.landmarks is None:
        return []
    differences = []
    for i, j in match(then, now, iou=_SAME_IOU):
        left, top, right, bottom = then.boxes_xyxy[i].tolist()
        where = f"{then.label(i)} {then.scores[i]:.3f} at ({left:.0f}, {top:.0f}, {right:.0f}, {bottom:.0f})"
        if now.landmarks is None or now.landmarks.shape[1:] != then.landmarks.shape[1:]:
            differences.append(f"{where}: landmarks missing")
            continue
        apart = float(np.linalg.norm(now.landmarks[j] - then.landmarks[i], axis=1).max(initial=0.0))
        most = max(1.0, tolerance * max(right - left, bottom - top))
        if not apart <= most:
            differences.append(
                f"{where}: a landmark {apart:.1f} pixels away, at most {most:.1f} expected"
            )
    return differences


def _sample(value: NDArray[Any]) -> NDArray[np.float64]:
    """Up to 64 values spread evenly over a tensor."""
    flat = value.reshape(-1)
    positions = np.linspace(0, flat.size - 1, min(_SAMPLE, flat.size)).astype(np.intp)
    return flat[positions].astype(np.float64)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if size == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float(a @ b) / size


def _result(data: Mapping[str, Any], labels: tuple[str, ...], now: Result) -> Result:
    """The inverse of ``Result.to_dict``; ``now`` is what the model gives for the same picture."""
    if isinstance(now, Keypoints):
        return Keypoints.from_dict(data, now.skeleton)
    if "segments" in data:
        return Segmentation.from_dict(data, labels)
    if "classes" in data:
        rows = data["classes"]
        return Classification(
            np.array([r["class_id"] for r in rows], np.int32),
            np.array([r["score"] for r in rows], np.float32),
            labels,
        )
    rows = data["detections"]
    points = [r["landmarks"] for r in rows if "landmarks" in r]
    return Detections(
        np.array([r["box_xyxy"] for r in rows], np.float32).reshape(-1, 4),
        np.array([r["score"] for r in rows], np.float32),
        np.array([r["class_id"] for r in rows], np.int32),
        labels,
        np.array(points, np.float32) if points else None,
    )
