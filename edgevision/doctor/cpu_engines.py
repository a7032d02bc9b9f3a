"""Probes of the engines that run on any processor: onnxruntime, which everything falls back to, and OpenVINO."""

from __future__ import annotations

from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.doctor.versions import parsed

__all__ = ["probe_onnxruntime", "probe_openvino"]

_BUILDS = ("onnxruntime", "onnxruntime-gpu")
_LEAST_ORT, _LEAST_OPENVINO = (1, 18), (2024, 6)


def probe_onnxruntime(machine: Machine) -> Finding:
    """Its version and the providers it was built with; whether those for GPUs load is not tried."""
    answer = machine.answer("onnxruntime")
    version, providers = answer.facts.get("version"), answer.facts.get("providers") or []
    builds = [name for name in _BUILDS if name in machine.distributions]
    facts = {"version": version, "providers": list(providers), "distributions": builds}
    if not version:
        text = "not installed" if answer.missing else f"fails: {answer.error}"
        # The extra brings pip's OpenCV, which would hide JetPack's.
        fix = "pip install onnxruntime" if machine.jetson else "pip install 'edgevision[run]'"
        if not answer.missing:
            fix = "pip install --force-reinstall --no-cache-dir onnxruntime"
        return Finding(text, facts, (Remark(f"onnxruntime: {text}", fix),))
    found = []
    if len(builds) > 1:
        both = (
            "onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files"
        )
        wanted = "onnxruntime-gpu" if machine.gpu else "onnxruntime"
        fix = f"pip uninstall -y {' '.join(_BUILDS)} && pip install {wanted}"
        found.append(Remark(both, fix))
    if parsed(str(version)) < _LEAST_ORT:
        fix = f"pip install --upgrade '{builds[0] if builds else 'onnxruntime'}>=1.18'"
        found.append(Remark(f"onnxruntime {version} is too old: 1.18 is the least", fix))
    names = ", ".join(str(name).removesuffix("ExecutionProvider") for name in providers)
    return Finding(f"{version} ({names})", facts, tuple(found))


def probe_openvino(machine: Machine) -> Finding:
    """An extra: its version and the devices that it lists."""
    answer = machine.answer("openvino")
    version, devices = answer.facts.get("version"), answer.facts.get("devices") or []
    facts = {"version": version, "devices": list(devices)}
    if version:
        remarks: tuple[Remark, ...] = ()
        if parsed(str(version)) < _LEAST_OPENVINO:
            fix = "pip install --upgrade 'edgevision[openvino]'"
            remarks = (Remark(f"OpenVINO {version} is too old: 2024.6 is the least", fix),)
        # Its version goes on with the build and the branch.
        return Finding(f"{str(version).partition('-')[0]} ({', '.join(devices)})", facts, remarks)
    if answer.missing:
        return Finding("not installed; an extra", facts, present=False)
    fix = "pip install --force-reinstall --no-cache-dir openvino  # or: pip uninstall openvino"
    return Finding(
        f"fails: {answer.error}", facts, (Remark(f"OpenVINO does not load: {answer.error}", fix),)
    )
