"""Which variant of a bundle runs here, in which engine and precision, and why this one."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevision import registry
from edgevision.bundle import Bundle, safe_file
from edgevision.device import has_avx2, has_nvidia_gpu, has_vnni
from edgevision.engines import engines_folder, list_engines
from edgevision.errors import BundleError, UsageError
from edgevision.variant import Variant

__all__ = ["Choice", "candidates", "choose", "unsound"]

_LARGEST_TIMINGS = 2**20
#: Variants that TensorRT takes, the fastest first.
_FOR_TENSORRT = ("int8-trt", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that will run, and why this one.

    Attributes:
        variant: The variant.
        reason: Why, for people.
        backend: The engine it is chosen for, where nobody asked for another.
        compute: The precision to execute in, likewise; None is the engine's exact one.
    """

    variant: Variant
    reason: str
    backend: str = "ort"
    compute: str | None = None


def choose(bundle: Bundle, *, variant: str | None = None, precision: str | None = None) -> Choice:
    """The variant to run: the one asked for, else the manifest's default for this kind of machine.

    Raises:
        UsageError: There is no such variant.
    """
    variants = bundle.variants
    if variant is not None:
        if variant not in variants:
            raise UsageError(
                f"there is no variant {variant!r} in {bundle.path}",
                expected="one of: " + ", ".join(variants),
            )
        return Choice(variants[variant], "asked for")
    fitting = [v for v in variants.values() if precision in (None, v.precision)]
    if not fitting:
        raise UsageError(
            f"no variant of {bundle.path} has the precision {precision!r}",
            expected="one of: " + ", ".join(sorted({v.precision for v in variants.values()})),
        )
    refused = ""
    for default in _defaults(bundle):
        if default in fitting:
            hindrance = _hindrance(bundle, default)
            if not hindrance and (default.precision != "fp32" or not refused):
                how = "the reference" if default.precision == "fp32" else "proven"
                return Choice(default, f"{how}, and the default for {_machine()}")
            refused = refused or f"not {default.id}: {hindrance}"
    if refused and precision is None and "fp32" in variants:
        return Choice(variants["fp32"], refused)
    plain = variants.get("fp32")
    if plain in fitting and plain is not None:
        return Choice(plain, f"no other variant is the default for {_machine()}")
    free = [v for v in fitting if not _hindrance(bundle, v)]
    first = (free or fitting)[0]
    reason = "the only one that fits" if len(fitting) == 1 else "the first that fits"
    return Choice(first, reason if free else f"{reason}, although {_hindrance(bundle, first)}")


def candidates(
    bundle: Bundle,
    *,
    variant: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    compute: str | None = None,
    engine_dir: Path | None = None,
) -> list[Choice]:
    """What may run, the best first: what is proven and was measured faster, then what `choose` says.

    Whether an engine is installed, and takes the model, shows when it is opened; the last one always counts.
    With ``auto`` the last one runs in ``ort``.

    Args:
        bundle: The bundle.
        variant: Only this variant.
        precision: Only variants of this precision.
        backend: Only this engine, or ``auto``.
        compute: Only what executes in this precision.
        engine_dir: Where engines for ``trt`` lie, in place of the bundle's own folder.

    Raises:
        UsageError: There is no such variant.
    """
    if variant is None and precision is None and compute is not None:
        written = {v.precision for v in bundle.variants.values()}
        precision = next((p for p in (compute, "fp32") if p in written), None)
    if backend == "trt" and variant is None:
        return _asked_for_tensorrt(bundle, precision, compute, engine_dir)
    engine = "ort" if backend == "auto" else backend
    plain = replace(
        choose(bundle, variant=variant, precision=precision), backend=engine, compute=compute
    )
    speeds = _speeds(bundle)
    least = 0.0 if compute is not None else speeds.get(_triple(plain), float(engine == "ort"))
    found = [
        (speeds.get(_triple(choice), 0.0), choice)
        for choice in _proven(bundle)
        if backend in ("auto", choice.backend)
        and variant in (None, choice.variant.id)
        and precision in (None, choice.variant.precision)
        and compute in (None, choice.compute)
    ]
    faster = [pair for pair in found if pair[0] > least or compute is not None]
    ready = _proven_engines(bundle, variant, precision, engine_dir) if backend == "auto" else []
    return [
        *(choice for choice in ready if compute in (None, choice.compute)),
        *(
            replace(
                choice, reason=f"proven, and measured at {speed:.2f}× fp32" if speed else "proven"
            )
            for speed, choice in sorted(faster, key=lambda pair: -pair[0])
        ),
        plain,
    ]


def _asked_for_tensorrt(
    bundle: Bundle, precision: str | None, compute: str | None, engine_dir: Path | None
) -> list[Choice]:
    """Variants that there are engines of; where there is none the one to build it from: opening it says how."""
    fitting = _for_tensorrt(bundle, None, precision)
    if not fitting:
        choose(bundle, precision=precision)  # says so
    built = _built(bundle, engine_dir)
    ready = [v for v in fitting if v.id in built]
    return [Choice(v, "there is an engine of it", "trt", compute) for v in ready] or [
        Choice(fitting[0], "the one to build an engine from", "trt", compute)
    ]


def _proven_engines(
    bundle: Bundle, variant: str | None, precision: str | None, engine_dir: Path | None
) -> list[Choice]:
    """Proven variants that there are engines of, on a machine with an NVIDIA GPU.

    Whether the engine fits this device shows when it is opened, and what comes next in the list runs where not.
    """
    built = _built(bundle, engine_dir) if has_nvidia_gpu() else set()
    return [
        Choice(v, "proven, and there is an engine of it", "trt", v.precision)
        for v in _for_tensorrt(bundle, variant, precision)
        if v.id in built
        and (v.precision == "fp32" or any(line.get("verdict") == "pass" for line in v.verified))
    ]


def _for_tensorrt(bundle: Bundle, variant: str | None, precision: str | None) -> list[Variant]:
    """Variants as TensorRT should have them: the manifest's default, then the fastest kind first."""
    named = str(bundle.manifest.get("default", {}).get("trt"))
    order = {name: place for place, name in enumerate(dict.fromkeys((named, *_FOR_TENSORRT)))}
    fitting = [
        v
        for v in bundle.variants.values()
        if variant in (None, v.id) and precision in (None, v.precision)
    ]
    return sorted(fitting, key=lambda v: order.get(v.id, len(order)))


def _built(bundle: Bundle, engine_dir: Path | None) -> set[str]:
    """Variants that somebody built an engine of, for this kind of machine."""
    here = (platform.system().lower(), platform.machine().lower())
    engines = list_engines(engines_folder(bundle.path, engine_dir))
    return {engine.variant for engine in engines if (engine.key.os, engine.key.arch) == here}


def _machine() -> str:
    return _kind(platform.machine())


def _kind(machine: str) -> str:
    """``x86``, ``arm``, or whatever else a machine calls itself."""
    kinds = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm", "arm64": "arm"}
    return kinds.get(machine.lower(), machine.lower())


def _kinds() -> tuple[str, ...]:
    """What a variant for this machine may be written for, the best first."""
    machine = _machine()
    return ("x86", "x86-avx2") if machine == "x86" else (machine,)


def _defaults(bundle: Bundle) -> list[Variant]:
    """The manifest's defaults for this kind of machine, the best first; fp32 last."""
    named = bundle.manifest.get("default", {})
    ids = dict.fromkeys(str(named.get(kind)) for kind in _kinds())
    known = [bundle.variants[name] for name in ids if name in bundle.variants]
    return sorted(known, key=lambda variant: variant.precision == "fp32")


def _hindrance(bundle: Bundle, variant: Variant) -> str:
    """Why a default should not run here after all; empty if nothing stands against it."""
    reason = unsound(variant)
    if reason:
        return reason
    speedup = _measured_speedup(bundle, variant.id)
    if variant.precision == "int8" and speedup is not None and speedup < 1:
        return f"it was measured slower than fp32 ({speedup:.2f}×)"
    return ""


def unsound(variant: Variant) -> str:
    """Why its results cannot be relied on here, or were never looked at, in any engine of a processor."""
    if variant.targets and not set(variant.targets) & set(_kinds()):
        return f"it is written for {', '.join(variant.targets)}"
    if variant.id == "int8-x86" and not has_vnni():
        return "this processor has no VNNI, where its int8 sums would saturate"
    if variant.id == "int8-x86-avx2" and not has_avx2():
        return "this processor has no AVX2, which it is written for"
    return ""


def _superseded(bundle: Bundle, variant: Variant) -> bool:
    """Whether the bundle holds the same with all eight bits of the weights, and this processor takes it.

    With VNNI both are about as fast, and noise would choose.
    """
    full = bundle.variants.get(str(bundle.manifest.get("default", {}).get("x86")))
    if variant.id != "int8-x86-avx2" or full is None or full.id != "int8-x86":
        return False
    return not unsound(full)


def _measured_speedup(bundle: Bundle, variant_id: str) -> float | None:
    """How much faster than fp32 the conversion found a variant in ``ort``."""
    entry = _table(_table(_timings(bundle), "variants"), variant_id)
    return _positive(entry.get("speedup"))


def _proven(bundle: Bundle) -> list[Choice]:
    """Every (variant, engine, precision) that the bundle lists as proven and this edgevision knows."""
    lines = [(v, line) for v in bundle.variants.values() for line in v.verified]
    known = registry.names("backends") if lines else []
    return [
        Choice(variant, "proven", line["backend"], line["compute"])
        for variant, line in lines
        if line.get("verdict") == "pass"
        and line.get("backend") in known
        and isinstance(line.get("compute"), str)
        and not unsound(variant)
        and not _superseded(bundle, variant)
    ]


def _triple(choice: Choice) -> str:
    """Its name in ``timings.json``; an engine's exact precision is that of the variant."""
    compute = choice.compute or choice.variant.precision
    return f"{choice.variant.id}/{choice.backend}/{compute}"


def _speeds(bundle: Bundle) -> dict[str, float]:
    """Speed over fp32 in ``ort`` by triple, where it was measured."""
    ort = {
        f"{variant.id}/ort/{variant.precision}": _measured_speedup(bundle, variant.id)
        for variant in bundle.variants.values()
    }
    triples = _table(_timings(bundle), "triples")
    found = {name: _positive(_table(triples, name).get("speedup")) for name in triples}
    return {name: speed for name, speed in (ort | found).items() if speed is not None}


def _timings(bundle: Bundle) -> Mapping[str, Any]:
    """``timings.json``, empty if it is not usable or of another kind of machine.

    It is not hashed: it only ever decides between what is proven.
    """
    try:
        file = safe_file(bundle.path, "timings.json")
        if file.stat().st_size > _LARGEST_TIMINGS:
            return {}
        data = json.loads(file.read_bytes())
    except (BundleError, OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    measured_on = _table(_table(data, "environment"), "os").get("arch")
    return {} if isinstance(measured_on, str) and _kind(measured_on) != _machine() else data


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _positive(value: object) -> float | None:
    """A speed that can be one: a finite number above 0."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6:
        return float(value)
    return None
