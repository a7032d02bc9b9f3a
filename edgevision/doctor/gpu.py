"""Probes of NVIDIA's driver and of what compiles kernels for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import R_OK, W_OK
from typing import Any

from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.doctor.versions import parsed
from edgevision.system_files import read

__all__ = ["probe_cuda", "probe_driver"]

#: What the driver must be able to do: TensorRT 10.3 is built for CUDA 12, its wheels "cu13" for 13.
_LEAST_CUDA, _CU13 = 12000, 13000
_LEAST_CC = (7, 5)
_GROUPS = "sudo usermod -aG video,render $USER  # then log out and in again"
_PORTABLE = "edgevision run --backend ort …  # runs without the GPU"


def probe_driver(machine: Machine) -> Finding:
    """The driver's version, and the GPUs that it lists when asked through CUDA."""
    answer = machine.answer("cuda")
    facts = {
        "version": _version(machine),
        "cuda": _cuda_text(answer.facts.get("driver_version")),
        "library": answer.facts.get("library"),
        "error": answer.facts.get("error"),
        "visible_devices": answer.facts.get("visible_devices"),
        "devices": list(machine.devices),
    }
    if machine.devices:
        names = ", ".join(_device_text(device) for device in machine.devices)
        version = f" · driver {facts['version']}" if facts["version"] else ""
        return Finding(
            f"{names}{version} · CUDA {facts['cuda']}",
            facts,
            tuple(_outdated(machine, answer.facts)),
        )
    if not machine.gpu:
        return Finding("no GPU of NVIDIA's", facts, present=False)
    said = answer.error or str(answer.facts.get("error_text") or answer.facts.get("error") or "")
    return Finding(f"a GPU that CUDA cannot use: {said}", facts, (_no_driver(machine, said),))


def _version(machine: Machine) -> str | None:
    """Of the kernel's module; Orin's is another one, and tells it in its own file."""
    module = read(machine.root / "sys/module/nvidia/version")
    text = read(machine.root / "proc/driver/nvidia/version") or ""
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return module or (found[1] if found else None)


def _cuda_text(version: object) -> str | None:
    """12060 → ``12.6``, as cuDriverGetVersion codes it."""
    return f"{version // 1000}.{version % 1000 // 10}" if isinstance(version, int) else None


def _device_text(device: Mapping[str, Any]) -> str:
    return f"{device.get('name')} (compute capability {device.get('compute_capability')})"


def _outdated(machine: Machine, facts: Mapping[str, Any]) -> list[Remark]:
    remarks = []
    version = facts.get("driver_version")
    wheels = [n for n in machine.distributions if n.startswith("tensorrt") and "cu13" in n]
    least, why = (_CU13, f"{wheels[0]} needs") if wheels else (_LEAST_CUDA, "TensorRT 10.3 needs")
    if isinstance(version, int) and version < least:
        text = f"the driver knows CUDA {_cuda_text(version)}; {why} {least // 1000}.0"
        remarks.append(Remark(text, _install_driver(machine)))
    newest = max(parsed(str(d.get("compute_capability"))) for d in machine.devices)
    if newest < _LEAST_CC:
        text = "engines need a GPU of compute capability 7.5 (Turing) or later"
        remarks.append(Remark(text, _PORTABLE))
    return remarks


def _no_driver(machine: Machine, said: str) -> Remark:
    """The likeliest reason why CUDA does not start, from the outside in."""
    answer = machine.answer("cuda")
    facts = answer.facts
    status, library = facts.get("error"), str(facts.get("library") or "")
    closed = [n for n in machine.gpu_nodes if not machine.access(n, R_OK | W_OK)]
    if status == 34 or "/stubs/" in library:  # CUDA_ERROR_STUB_LIBRARY
        return Remark(
            f"the loader finds a stub in place of the driver: {library}",
            "unset LD_LIBRARY_PATH  # or take the folder 'stubs' out of it",
        )
    hidden = facts.get("visible_devices")
    if status in (0, 100) and hidden is not None:  # CUDA_ERROR_NO_DEVICE
        text = f"CUDA_VISIBLE_DEVICES={hidden} hides the GPU"
        return Remark(text, "unset CUDA_VISIBLE_DEVICES")
    if closed:
        nodes = ", ".join(f"/{node.relative_to(machine.root)}" for node in closed)
        return Remark(f"this user may not use the GPU: no access to {nodes}", _GROUPS)
    if status == 803:  # CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        return Remark("the driver was updated and its old module still runs", "sudo reboot")
    if machine.container and (answer.missing or status in (0, 100)):
        how = "--runtime nvidia" if machine.jetson else "--gpus all"
        return Remark("the GPU is not in this container", f"docker run {how} …")
    if status or not (answer.missing or facts):
        version = f" {_version(machine)}" if _version(machine) else ""
        fix = "sudo reboot" if machine.jetson else "sudo modprobe nvidia_uvm || sudo reboot"
        fix += "  # on the host, outside the container" if machine.container else ""
        return Remark(f"the driver{version} is here, but CUDA does not start: {said}", fix)
    return Remark("the driver is not installed", _install_driver(machine))


def _install_driver(machine: Machine) -> str:
    if machine.jetson:
        return "sudo apt update && sudo apt install --reinstall nvidia-l4t-cuda && sudo reboot"
    if machine.distribution == "ubuntu":
        return "sudo ubuntu-drivers install && sudo reboot"
    return "sudo apt install nvidia-driver && sudo reboot"


def probe_cuda(machine: Machine) -> Finding:
    """The toolkit, and what compiles the pre-processing kernel: nvcc, or NVRTC as a library."""
    toolkit, compilers = _toolkit(machine), machine.answer("compilers").facts.get("compilers") or []
    facts = {"toolkit": toolkit, "compilers": list(compilers)}
    parts = [f"toolkit {toolkit}"] if toolkit else []
    parts += [str(compiler["name"]) for compiler in compilers]
    if parts or machine.gpu:
        text = ", ".join(parts) or "no compiler for CUDA"
        return Finding(text, facts, _uncompilable(machine, compilers))
    return Finding("no compiler for CUDA; only a GPU needs it", facts, present=False)


def _toolkit(machine: Machine) -> str | None:
    text = read(machine.root / "usr/local/cuda/version.json") or ""
    found = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', text)
    return found[1] if found else None


def _uncompilable(machine: Machine, compilers: Sequence[Mapping[str, Any]]) -> tuple[Remark, ...]:
    """A driver loads nothing that a compiler of a later CUDA made; the same major version is fine."""
    version = machine.answer("cuda").facts.get("driver_version")
    major = version // 1000 if isinstance(version, int) else None
    fitting = [c for c in compilers if major is None or parsed(str(c["version"]))[:1] <= (major,)]
    if not machine.gpu or fitting:
        return ()
    text = "neither nvcc nor NVRTC: the pre-processing kernel cannot be compiled"
    if compilers:
        names = ", ".join(str(compiler["name"]) for compiler in compilers)
        text = f"the compilers ({names}) are newer than the driver's CUDA {_cuda_text(version)}"
    return (Remark(text, _compiler(machine, version)),)


def _compiler(machine: Machine, version: object) -> str:
    if machine.jetson:
        text = (_cuda_text(version) or "").replace(".", "-")
        return f"sudo apt install {f'cuda-nvcc-{text}' if text else 'nvidia-jetpack'}"
    newer = isinstance(version, int) and version >= _CU13
    return f"pip install {'nvidia-cuda-nvrtc' if newer else 'nvidia-cuda-nvrtc-cu12'}"
