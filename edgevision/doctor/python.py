"""Probe of the Python that runs this: does it see what the system installed for it."""

from __future__ import annotations

from edgevision.doctor import Finding
from edgevision.doctor.machine import Machine

__all__ = ["NEW_VENV", "probe", "sees_system"]

#: How to make an environment that sees JetPack's TensorRT and OpenCV.
NEW_VENV = """python3 -m venv --system-site-packages ~/edgevision && . ~/edgevision/bin/activate
pip install 'edgevision[jetson]' onnxruntime onnx 'numpy<2'"""


def probe(machine: Machine) -> Finding:
    """Version and virtual environment. What it does not see is said by the probe of that."""
    answer = machine.answer("python")
    facts = answer.facts
    if not facts:
        return Finding(f"unknown: {answer.error}", known=False)
    text = f"{facts.get('version')} at {facts.get('executable')}"
    if not sees_system(machine):
        text += ", a virtual environment without the system's packages"
    return Finding(text, dict(facts))


def sees_system(machine: Machine) -> bool:
    """Whether packages that apt installs for Python can be imported; True where that is not told."""
    facts = machine.answer("python").facts
    return not facts.get("venv") or bool(facts.get("system_site_packages"))
