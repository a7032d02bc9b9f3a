"""Probe of power mode, clocks and temperature: what makes a device slower than it could be."""

from __future__ import annotations

from typing import Any

from edgevision import jetson
from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.system_files import number, per_core, read, temperatures

__all__ = ["probe"]

_HOT_C = 90.0


def probe(machine: Machine) -> Finding:
    """Power mode, governors of processor and GPU, the hottest zone."""
    root = machine.root
    mode, modes = jetson.power_mode(root), jetson.power_modes(root)
    governors = sorted(set(per_core(root, "scaling_governor") or ()))
    zones = temperatures(root) or {}
    facts = {
        "mode": mode[0] if mode else None,
        "mode_name": mode[1] if mode else None,
        "modes": {str(key): name for key, name in modes.items()},
        "governors": governors,
        "gpu_clock": _gpu_clock(machine),
        "temperature_c": max(zones.values(), default=None),
    }
    text = _text(facts)
    return Finding(
        text or "the system tells nothing of clocks and temperatures",
        facts,
        tuple(_remarks(machine, facts, modes)),
        present=bool(text),
    )


def _gpu_clock(machine: Machine) -> dict[str, Any] | None:
    """Governor and clocks (MHz) of a Jetson's GPU (kernel.org, ABI/testing/sysfs-class-devfreq)."""
    found = jetson.gpu_clock_folder(machine.root)
    if found is None:
        return None
    clocks = {key: number(found / f"{key}_freq") for key in ("min", "cur", "max")}
    mhz = {f"{key}_mhz": hz // 10**6 if hz is not None else None for key, hz in clocks.items()}
    return {"governor": read(found / "governor"), **mhz}


def _text(facts: dict[str, Any]) -> str:
    parts = []
    if facts["mode"] is not None:
        parts.append(f"mode {facts['mode_name'] or facts['mode']}")
    if facts["governors"]:
        parts.append(f"governor {', '.join(facts['governors'])}")
    if facts["gpu_clock"] and facts["gpu_clock"]["max_mhz"]:
        parts.append(f"GPU up to {facts['gpu_clock']['max_mhz']} MHz")
    if facts["temperature_c"] is not None:
        parts.append(f"{facts['temperature_c']:.0f} °C")
    return " · ".join(parts)


def _remarks(machine: Machine, facts: dict[str, Any], modes: dict[int, str]) -> list[Remark]:
    remarks = []
    fastest = [number for number, name in modes.items() if name.startswith("MAXN")]
    if fastest and facts["mode"] is not None and facts["mode"] not in fastest:
        name = modes[fastest[0]]
        text = f"power mode {facts['mode_name'] or facts['mode']}; {name} is the fastest (and the hottest)"
        remarks.append(Remark(text, f"sudo nvpmodel -m {fastest[0]}", advice=True))
    # Jetsons run schedutil; jetson_clocks pins the clocks for a measurement.
    if "powersave" in facts["governors"] and not _intel(machine):
        text = "the governor 'powersave' keeps the processor at its lowest clock"
        remarks.append(Remark(text, "sudo cpupower frequency-set -g schedutil", advice=True))
    if facts["temperature_c"] is not None and facts["temperature_c"] >= _HOT_C:
        text = f"{facts['temperature_c']:.0f} °C: the device is about to slow down by itself"
        fix = "sudo jetson_clocks --fan" if machine.jetson else "sensors  # and look at its cooling"
        remarks.append(Remark(text, fix, advice=True))
    return remarks


def _intel(machine: Machine) -> bool:
    """intel_pstate's 'powersave' is no lowest clock: it scales (kernel.org, admin-guide/pm/intel_pstate)."""
    drivers = set(per_core(machine.root, "scaling_driver") or ())
    return bool(drivers & {"intel_pstate", "amd-pstate-epp"})
