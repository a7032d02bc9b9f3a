"""What ``--target`` names: the GPU at hand, or one that TensorRT-RTX builds for from anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgevision import targets
from edgevision.errors import UsageError

__all__ = ["RTX_CAPABILITIES", "BuildTarget", "build_target"]

#: What TensorRT-RTX 1.7 builds for ahead of time: its enum ComputeCapability.
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """What an engine is to be built for.

    Attributes:
        name: As it was asked for; ``this device`` where nothing was.
        libraries: What may build it, the best first.
        cc: Compute capability; None is that of the GPU at hand.
    """

    name: str
    libraries: tuple[str, ...]
    cc: str | None = None


def build_target(text: str | None) -> BuildTarget:
    """The target of that name.

    Args:
        text: ``rtx-sm89``, a card of ``edgevision targets``, ``rtx`` for TensorRT-RTX on the GPU at hand, or None.

    Raises:
        UsageError: No engine can be built for it here.
    """
    if text is None:
        return BuildTarget("this device", ("tensorrt", "tensorrt-rtx"))
    if text == "rtx":
        return BuildTarget(text, ("tensorrt-rtx",))
    cc = _capability(text)
    if cc in RTX_CAPABILITIES:
        return BuildTarget(text, ("tensorrt-rtx",), cc)
    known = text in targets.names()
    raise UsageError(
        f"no engine can be built for {text!r} from elsewhere"
        if known
        else f"unknown target {text!r}",
        expected="one of: "
        + ", ".join(["rtx", *(f"rtx-sm{one.replace('.', '')}" for one in RTX_CAPABILITIES)])
        + f"; or a card: {', '.join(_cards())}",
        hint="TensorRT builds for the GPU it runs on: copy the bundle there, and run 'edgevision build' on it"
        if known
        else "leave --target out to build for the GPU at hand",
    )


def _capability(text: str) -> str | None:
    match = re.fullmatch(r"rtx-sm(\d{1,2})(\d)", text)
    if match is not None:
        return f"{match[1]}.{match[2]}"
    return targets.load(text).compute_capability if text in _cards() else None


def _cards() -> list[str]:
    found = (targets.load(name) for name in targets.names())
    return [t.name for t in found if t.kind == "gpu" and t.compute_capability in RTX_CAPABILITIES]
