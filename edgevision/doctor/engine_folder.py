"""Probe of a folder of engines: which fit this device, by their keys alone. No engine is loaded."""

from __future__ import annotations

import shlex

from edgevision import jetson
from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.engine_key import DeviceFacts, device_text, preflight
from edgevision.engines import list_engines
from edgevision.text import counted

__all__ = ["FOLDER", "probe"]

#: The folder's name in `Machine.folders`.
FOLDER = "engines"


def probe(machine: Machine) -> Finding:
    """Engines in the folder given by ``--engine-dir``."""
    folder = machine.folders.get(FOLDER)
    if folder is None:
        return Finding("no folder given (--engine-dir)", {"engines": []}, present=False)
    here = _devices(machine)
    engines = []
    for engine in list_engines(folder):
        # Both libraries may be installed: an engine is compared with its own.
        facts = here.get(engine.key.library) or next(iter(here.values()), None)
        verdict = preflight(engine.key, facts) if facts else None
        engines.append(
            {
                "file": engine.path.name,
                "variant": engine.variant,
                "status": verdict.status if verdict else None,
                "reason": verdict.reason if verdict else "no GPU and TensorRT to compare with",
            }
        )
    wrong = [e for e in engines if e["status"] not in (None, "ok")]
    fix = f"edgevision build BUNDLE --engine-dir {shlex.quote(str(folder))}"
    remarks = tuple(
        Remark(f"{e['file']}: {e['status']}, {e['reason']}", fix, advice=True) for e in wrong
    )
    text = counted(len(engines), "engine")
    text += f", {len(wrong)} for another device or version" if wrong else ""
    return Finding(text, {"engines": engines}, remarks, present=bool(engines))


def _devices(machine: Machine) -> dict[str, DeviceFacts]:
    """What engines are compared with, by library; empty without a GPU or TensorRT."""
    if not machine.devices:
        return {}
    gpu = machine.devices[0]
    known = gpu.get("multiprocessors")
    asked = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
    versions = {name: machine.answer(word).facts.get("version") for name, word in asked.items()}
    return {
        name: DeviceFacts(
            library=name,
            version=str(version),
            cc=str(gpu.get("compute_capability")),
            os="linux",
            arch=machine.arch.lower(),
            l4t=jetson.l4t(machine.root) or "",
            device=device_text(str(gpu.get("name")), known if isinstance(known, int) else 0),
        )
        for name, version in versions.items()
        if version
    }
