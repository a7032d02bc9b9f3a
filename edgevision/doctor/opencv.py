"""Probe of OpenCV: which build is imported, what it can do, and whether a wheel hides JetPack's."""

from __future__ import annotations

from edgevision.doctor import Finding, Remark
from edgevision.doctor.ask import Answer
from edgevision.doctor.machine import Machine
from edgevision.doctor.python import NEW_VENV, sees_system

__all__ = ["probe"]

_APT = ("libopencv-python", "python3-opencv")
_ABILITIES = {"gstreamer": "GStreamer", "ffmpeg": "FFmpeg", "v4l2": "V4L2", "cuda": "CUDA"}
#: What NumPy 2 says when a module compiled for NumPy 1 is imported.
_NUMPY_ABI = ("_ARRAY_API", "numpy.core.multiarray", "compiled using NumPy 1")


def probe(machine: Machine) -> Finding:
    """Version, abilities and origin."""
    answer = machine.answer("opencv")
    wheels = sorted(n for n in machine.distributions if n.startswith("opencv") and "python" in n)
    packages = [name for name in _APT if name in machine.packages]
    facts = {
        "version": answer.facts.get("version"),
        "file": answer.facts.get("file"),
        **{ability: answer.facts.get(ability) for ability in _ABILITIES},
        "distributions": wheels,
        "packages": packages,
    }
    if not answer.facts:
        text = "not installed" if answer.missing else f"fails: {answer.error}"
        return Finding(text, facts, (_absent(machine, answer, wheels, packages),))
    has = [title for key, title in _ABILITIES.items() if facts[key]]
    lacks = [title for key, title in _ABILITIES.items() if not facts[key]]
    text = f"{facts['version']} with {', '.join(has) or 'nothing'}; without {', '.join(lacks) or 'nothing'}"
    return Finding(text, facts, tuple(_remarks(machine, answer, wheels, packages)))


def _absent(machine: Machine, answer: Answer, wheels: list[str], packages: list[str]) -> Remark:
    if any(words in answer.error for words in _NUMPY_ABI):
        return Remark(
            "OpenCV was compiled for NumPy 1, and NumPy 2 is installed", "pip install 'numpy<2'"
        )
    if "libGL" in answer.error or "libgthread" in answer.error:
        return Remark(
            f"OpenCV lacks a library of the system: {answer.error}",
            "sudo apt install libgl1 libglib2.0-0  # or, without windows: pip install 'edgevision[headless]'",
        )
    if not answer.missing:
        wheel = wheels[0] if wheels else "opencv-python"
        fix = f"pip install --force-reinstall --no-cache-dir {wheel}"
        return Remark(f"OpenCV does not load: {answer.error}", _jetpack(machine) or fix)
    if packages:
        return Remark(f"{packages[0]} is installed, but this Python does not see it", NEW_VENV)
    return Remark("OpenCV is not installed", _jetpack(machine) or "pip install 'edgevision[run]'")


def _jetpack(machine: Machine) -> str:
    return "sudo apt install nvidia-opencv" if machine.jetson else ""


def _remarks(
    machine: Machine, answer: Answer, wheels: list[str], packages: list[str]
) -> list[Remark]:
    poor = machine.jetson and not answer.facts.get("gstreamer")
    if poor and wheels:
        text = "pip's OpenCV has no GStreamer (CSI cameras, hardware decoding)"
        text += f" and hides the {packages[0]} that has it" if packages else ""
        return [Remark(text, _unhide(machine, wheels, packages))]
    if poor:
        text = "this OpenCV has no GStreamer: no CSI cameras, no hardware decoding"
        return [Remark(text, _jetpack(machine))]
    if len(wheels) > 1:
        fix = f"pip uninstall -y {' '.join(wheels)} && pip install {wheels[0]}"
        text = f"{', '.join(wheels)} are all installed, and overwrite each other's files"
        return [Remark(text, fix)]
    return []


def _unhide(machine: Machine, wheels: list[str], packages: list[str]) -> str:
    if not sees_system(machine):
        return NEW_VENV
    fix = f"pip uninstall -y {' '.join(wheels)}"
    return fix if packages else f"{fix}\n{_jetpack(machine)}"
