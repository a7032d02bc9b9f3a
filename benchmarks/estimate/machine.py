"""What a machine can do at best: operations a second in each precision, and bytes a second, by power mode."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgevision import targets
from edgevision.errors import UsageError
from edgevision.targets import Target

__all__ = ["THIS", "Limits", "Machine", "Rate", "gpu_target", "machine_of_target", "target_name"]

#: In place of a target's name: this machine's processor, measured.
THIS = "this-machine"
PRECISIONS = ("fp32", "fp16", "int8")
_TERA = 1e12
#: Published rates are rounded.
_NEARLY = 0.95
_ALIASES = {
    "orin-nano": "orin-nano-8gb",
    "orin-nano-super": "orin-nano-8gb",
    "orin-nx": "orin-nx-16gb",
    "agx-orin": "agx-orin-64gb",
    "orin": "agx-orin-64gb",
    "xavier": "agx-xavier",
    "thor": "thor-t5000",
    "agx-thor": "thor-t5000",
    "pi-5": "raspberry-pi-5",
    "rpi5": "raspberry-pi-5",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """Operations a second, at most.

    Attributes:
        flops_per_s: None if nothing bounds it here: then memory alone does.
        note: How it is known, where it is no published or measured figure of this very precision.
    """

    flops_per_s: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a machine reaches in one power mode.

    Attributes:
        name: As nvpmodel calls the mode; of a processor how many threads.
        rates: Precision → rate; a precision that it cannot compute in at all is not in there.
        kinds: ``(precision, kind of work)`` → rate, for kinds that are known to be slower than that.
        bandwidth: ``(bytes, bytes a second)`` in rising order: what is at least so large cannot be moved
            faster than that. One entry at 0 is memory without caches.
    """

    name: str
    rates: Mapping[str, Rate]
    bandwidth: tuple[tuple[int, float], ...]
    kinds: Mapping[tuple[str, str], Rate] = field(default_factory=dict)

    def bytes_per_s(self, working_set: int) -> float | None:
        """The most at which a working set of so many bytes can be moved; None if nothing is known."""
        fits = [rate for size, rate in self.bandwidth if size <= working_set]
        return fits[-1] if fits else (self.bandwidth[0][1] if self.bandwidth else None)


@dataclass(frozen=True, slots=True)
class Machine:
    """A device with its limits.

    Attributes:
        name: Of the target, or `THIS`.
        title: For people.
        modes: In rising order; the last is the fastest.
        memory_bytes: Of the device; None if not known.
        source: Where the figures come from.
    """

    name: str
    title: str
    modes: tuple[Limits, ...]
    memory_bytes: int | None
    source: str

    @property
    def best(self) -> Limits:
        return self.modes[-1]

    def mode(self, name: str | None) -> Limits:
        """A mode by its name, in any case; the fastest for None.

        Raises:
            UsageError: There is none of that name.
        """
        if name is None:
            return self.best
        for mode in self.modes:
            if mode.name.lower() == name.lower():
                return mode
        raise UsageError(
            f"{self.name} has no figures for a mode {name!r}",
            expected="one of: " + ", ".join(mode.name for mode in self.modes),
        )


def target_name(name: str) -> str:
    """What a device is called in `edgevision.targets`: ``jetson-orin-nano`` is ``orin-nano-8gb``.

    Raises:
        UsageError: Nothing is called so; names that come near are in the message.
    """
    known = targets.names()
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    for guess in (plain, plain.removeprefix("nvidia-").removeprefix("jetson-")):
        found = guess if guess in known else _ALIASES.get(guess)
        if found is not None:
            return found
    near = difflib.get_close_matches(plain.removeprefix("jetson-"), known, 3, 0.5)
    raise UsageError(
        f"unknown target {name!r}",
        expected=f"{THIS}, or one of: {', '.join(known)}",
        hint=f"did you mean {' or '.join(near)}?" if near else "",
    )


def gpu_target(device: str) -> str | None:
    """The target that a card's own name (``NVIDIA GeForce RTX 4090``) stands for."""
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    cards = (name for name in targets.names() if targets.load(name).kind == "gpu")
    return next((name for name in cards if set(name.split("-")) <= words), None)


def machine_of_target(name: str, *, dla: bool = False) -> Machine:
    """The published limits of a device, with any weights (dense).

    Args:
        name: As `target_name` takes it.
        dla: Add the rates of the Deep Learning Accelerators to the GPU's: a bound of what GPU and DLA do
            together on many pictures, not of one picture's time.

    Raises:
        UsageError: No such target, or it has no figures (a class of processors).
    """
    target = targets.load(target_name(name))
    if not target.modes:
        raise UsageError(
            f"{target.name} is a class of processors, and has no figures",
            expected=f"a device of 'edgevision targets', or {THIS}",
            hint=f"on such a machine: edgevision estimate MODEL --target {THIS}",
        )
    modes = tuple(
        Limits(
            mode.name,
            _rates(target, mode, dla=dla),
            () if mode.bandwidth_gbs is None else ((0, mode.bandwidth_gbs * 1e9),),
        )
        for mode in target.modes
    )
    return Machine(
        target.name,
        target.title + (", GPU and DLA together" if dla else ""),
        modes,
        None if target.memory_gb is None else int(target.memory_gb * 1e9),
        target.sources.get("modes", ""),
    )


def _rates(target: Target, mode: targets.Mode, *, dla: bool) -> dict[str, Rate]:
    """What is published; what follows from it is marked so.

    Tensor cores since Ampere (compute capability 8.0 to 9.0) do float16 at half the rate of int8, and
    TF32, which fp32 graphs may run in, at half of float16's: NVIDIA A100 white paper, table 3, and the
    papers on GA10x, AD10x and H100. Of GeForce cards that holds for sums in float16 alone: those in float32
    take twice as long there (AD10x, appendix A), but an engine may choose either.
    """
    known = {p: rate.dense * _TERA for p, rate in mode.gpu.items() if rate.dense is not None}
    rates = {p: Rate(value) for p, value in known.items()}
    halves = _capability(target) is not None and (8, 0) <= (_capability(target) or (0, 0)) <= (9, 0)
    if not known and target.advertised_tops is not None:
        note = "of GPU and DLA together: they are published as one sum"
        rates["int8"] = Rate(target.advertised_tops * _TERA, note)
    if "fp16" not in rates and "int8" in rates:
        note = "half of int8's rate" if halves else "int8's rate, which is no smaller"
        rates["fp16"] = Rate((rates["int8"].flops_per_s or 0) / (2 if halves else 1), note)
    if "fp16" in rates and "fp32" not in rates:
        note = "TF32, half of float16's rate" if halves else "float16's rate, which is no smaller"
        rates["fp32"] = Rate((rates["fp16"].flops_per_s or 0) / (2 if halves else 1), note)
    half = known.get("int8", 0.0) / 2
    if halves and half * _NEARLY > known.get("fp16", half):
        note = "half of int8's rate: sums in float16; the published rate is of sums in float32"
        rates["fp16"] = Rate(half, note)
        if "fp32" not in known:
            tf32 = rates["fp32"].flops_per_s
            rates["fp32"] = Rate(tf32, "TF32, half of float16's published rate")
    for precision in PRECISIONS:
        if precision not in rates and (precision != "int8" or target.int8):
            rates[precision] = Rate(None, "no rate is published: bytes alone are counted")
    return {p: _with_dla(r, p, mode) if dla else r for p, r in rates.items()}


def _with_dla(rate: Rate, precision: str, mode: targets.Mode) -> Rate:
    more: Any = mode.dla.get(precision)
    if more is None or more.dense is None or rate.flops_per_s is None:
        return rate
    return Rate(rate.flops_per_s + more.dense * _TERA, rate.note)


def _capability(target: Target) -> tuple[int, int] | None:
    if target.compute_capability is None:
        return None
    major, minor = target.compute_capability.split(".")
    return int(major), int(minor)
