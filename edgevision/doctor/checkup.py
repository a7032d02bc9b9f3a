"""The whole examination: every probe, none of which can stop another, and the report as JSON and as text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgevision import __version__
from edgevision.doctor import Finding
from edgevision.doctor.ask import ask
from edgevision.doctor.board import probe_device, probe_jetpack
from edgevision.doctor.cameras import probe as probe_cameras
from edgevision.doctor.cpu_engines import probe_onnxruntime, probe_openvino
from edgevision.doctor.engine_folder import FOLDER
from edgevision.doctor.engine_folder import probe as probe_engines
from edgevision.doctor.gpu import probe_cuda, probe_driver
from edgevision.doctor.machine import Machine
from edgevision.doctor.opencv import probe as probe_opencv
from edgevision.doctor.power import probe as probe_power
from edgevision.doctor.python import probe as probe_python
from edgevision.doctor.storage import probe_disk, probe_memory
from edgevision.doctor.tensorrt_ import probe_pycuda, probe_tensorrt
from edgevision.text import counted, printable
from edgevision.user_cache import user_folder

__all__ = ["PROBES", "examine", "report", "report_text", "this_machine"]

SCHEMA = 1
#: A file of a dead network disk or driver may not answer.
_PROBE_LIMIT_S = 10.0
_LONGEST = 300

#: Name → probe, in the order of the report. The names are keys of the JSON: add freely, never rename.
PROBES: dict[str, Callable[[Machine], Finding]] = {
    "device": probe_device,
    "jetpack": probe_jetpack,
    "python": probe_python,
    "driver": probe_driver,
    "cuda": probe_cuda,
    "tensorrt": probe_tensorrt,
    "pycuda": probe_pycuda,
    "onnxruntime": probe_onnxruntime,
    "openvino": probe_openvino,
    "opencv": probe_opencv,
    "power": probe_power,
    "memory": probe_memory,
    "disk": probe_disk,
    "engines": probe_engines,
    "cameras": probe_cameras,
}


def this_machine(engine_dir: Path | None = None) -> Machine:
    """The machine at hand, with every library asked.

    Args:
        engine_dir: Where engines are to lie, if not in their bundles.
    """
    folders = {
        "cache": user_folder("XDG_CACHE_HOME", ".cache"),
        "state": user_folder("XDG_STATE_HOME", ".local/state"),
    }
    if engine_dir is not None:
        folders[FOLDER] = engine_dir.absolute()
    return Machine(answers=ask(), folders=folders)


def examine(
    machine: Machine, probes: Mapping[str, Callable[[Machine], Finding]] = PROBES
) -> dict[str, Finding]:
    """What every probe finds; one that fails or hangs says so, and the others go on."""
    return {name: _examine(probe, machine) for name, probe in probes.items()}


def _examine(probe: Callable[[Machine], Finding], machine: Machine) -> Finding:
    found = [Finding(f"gave no answer within {_PROBE_LIMIT_S:g} s", known=False)]

    def run() -> None:
        try:
            found[0] = probe(machine)
        except Exception as error:
            found[0] = Finding(f"this probe failed: {error!r}", known=False)

    # A daemon: one that hangs in the kernel does not keep the process from ending.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_PROBE_LIMIT_S)
    return replace(found[0], summary=printable(found[0].summary, _LONGEST))


def report(findings: Mapping[str, Finding]) -> dict[str, Any]:
    """JSON-ready; see docs/doctor.md."""
    remarks = [
        (remark.advice, {"probe": name, "problem": remark.text, "fix": remark.fix})
        for name, finding in findings.items()
        for remark in finding.remarks
    ]
    problems = [entry for advice, entry in remarks if not advice]
    return {
        "schema": SCHEMA,
        "edgevision": __version__,
        "verdict": "fail" if problems else "pass",
        "problems": problems,
        "advice": [entry for advice, entry in remarks if advice],
        "probes": {
            name: {"state": f.state, "summary": f.summary, "facts": dict(f.facts)}
            for name, f in findings.items()
        },
    }


_MARKS = {"ok": "ok", "none": "-", "unknown": "?", "advice": "advice", "problem": "PROBLEM"}


def report_text(facts: Mapping[str, Any]) -> str:
    """The report for people: a line for each probe, then what to do."""
    lines = [
        f"{_MARKS[probe['state']]:<8} {name:<12} {probe['summary']}"
        for name, probe in facts["probes"].items()
    ]
    for title in ("problems", "advice"):
        for entry in facts[title]:
            lines += ["", f"{title.removesuffix('s')}: {printable(entry['problem'], _LONGEST)}"]
            lines += [f"    {printable(line, _LONGEST)}" for line in entry["fix"].splitlines()]
    problems, advice = len(facts["problems"]), len(facts["advice"])
    found = counted(problems, "problem") if problems else "no problem"
    found += f", {counted(advice, 'piece')} of advice" if advice else ""
    return "\n".join([*lines, "", f"{found} found"])
