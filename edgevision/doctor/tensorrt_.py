"""Probes of TensorRT and of pycuda, by which it is driven."""

from __future__ import annotations

from edgevision.doctor import Finding, Remark
from edgevision.doctor.ask import Answer
from edgevision.doctor.machine import Machine
from edgevision.doctor.python import NEW_VENV
from edgevision.doctor.versions import parsed

__all__ = ["probe_pycuda", "probe_tensorrt"]

_LEAST = (10, 3)
_APT = "python3-libnvinfer"


def probe_tensorrt(machine: Machine) -> Finding:
    """TensorRT or TensorRT-RTX as this Python imports it, and what JetPack installed."""
    answer, rtx = machine.answer("tensorrt"), machine.answer("tensorrt_rtx")
    version, apt = answer.facts.get("version"), machine.packages.get(_APT)
    facts = {
        "version": version,
        "file": answer.facts.get("file"),
        "package": apt,
        "rtx_version": rtx.facts.get("version"),
    }
    remarks = tuple(_wrong(machine, answer, rtx))
    texts = [str(version)] if version else []
    texts += [f"TensorRT-RTX {facts['rtx_version']}"] if facts["rtx_version"] else []
    if texts:
        return Finding(", ".join(texts), facts, remarks)
    if not machine.gpu and answer.missing:
        return Finding("not installed; only a GPU needs it", facts, present=False)
    return Finding("not installed" if answer.missing else f"fails: {answer.error}", facts, remarks)


def _wrong(machine: Machine, answer: Answer, rtx: Answer) -> list[Remark]:
    version, apt = str(answer.facts.get("version", "")), machine.packages.get(_APT, "")
    if version and parsed(version) < _LEAST:
        text = f"TensorRT {version} is too old: 10.3 is the least"
        return [Remark(text, _newer(machine))]
    if version and apt and parsed(apt)[:3] != parsed(version)[:3]:
        return [
            Remark(
                f"pip's TensorRT {version} hides JetPack's {apt}: engines and libraries do not fit together",
                "pip uninstall -y tensorrt tensorrt-cu12 tensorrt-cu13",
            )
        ]
    if version or (not machine.gpu and answer.missing) or rtx.facts:
        return []
    if not answer.missing:
        return [Remark(f"TensorRT does not load: {answer.error}", _install(machine))]
    if apt:
        return [
            Remark(f"JetPack's TensorRT {apt} is here, but this Python does not see it", NEW_VENV)
        ]
    return [Remark("TensorRT is not installed", _install(machine))]


def _newer(machine: Machine) -> str:
    if machine.jetson:
        return "sudo apt update && sudo apt install nvidia-jetpack  # of JetPack 6.1 or later"
    return "pip install --upgrade 'tensorrt>=10.3'"


def _install(machine: Machine) -> str:
    if machine.jetson:
        return "sudo apt update && sudo apt install nvidia-jetpack"
    return "pip install --upgrade 'tensorrt>=10.3'"


def probe_pycuda(machine: Machine) -> Finding:
    """Its native part, which is compiled against one driver and one Python."""
    answer = machine.answer("pycuda")
    facts = {"version": answer.facts.get("version"), "file": answer.facts.get("file")}
    if facts["version"]:
        return Finding(str(facts["version"]), facts)
    if not machine.gpu and answer.missing:
        return Finding("not installed; only a GPU needs it", facts, present=False)
    if answer.missing:
        text = "pycuda is not installed"
        return Finding("not installed", facts, (Remark(text, _pycuda(machine)),))
    if (
        not machine.devices and "libcuda" in answer.error
    ):  # a driver that is wanted is missed by its own probe
        return Finding("installed; loads only with a driver", facts, present=False)
    fix = "pip install --force-reinstall --no-cache-dir --no-binary pycuda pycuda"
    remark = Remark(f"pycuda does not load: {answer.error}", fix)
    return Finding(f"fails: {answer.error}", facts, (remark,))


def _pycuda(machine: Machine) -> str:
    """It comes as source, and is compiled with the toolkit's headers."""
    pip = "pip install 'edgevision[jetson]'  # compiles for minutes"
    if (machine.root / "usr/local/cuda/bin/nvcc").exists():
        return f"export PATH=/usr/local/cuda/bin:$PATH\n{pip}"
    toolkit = "nvidia-jetpack" if machine.jetson else "nvidia-cuda-toolkit"
    return f"sudo apt install {toolkit} g++ python3-dev\n{pip}"
