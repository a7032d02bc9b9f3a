"""Probes of the device itself and, on a Jetson, of its JetPack."""

from __future__ import annotations

import re

from edgevision import jetson
from edgevision.device import cpu_count, cpu_name
from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.doctor.versions import parsed
from edgevision.system_files import os_name, read

__all__ = ["probe_device", "probe_jetpack"]

#: The first L4T whose TensorRT (10.3, of JetPack 6.1) takes what is built here, and the first to upgrade from by apt.
_LEAST_L4T, _LEAST_APT = (36, 4), (36, 2)


def probe_device(machine: Machine) -> Finding:
    """Board, system, processor, and which target of `edgevision targets` it is."""
    root = machine.root
    board = read(root / "proc/device-tree/model") or read(root / "sys/class/dmi/id/product_name")
    target = jetson.board_target(root)
    facts = {
        "board": board,
        "target": target,
        "os": os_name(root),
        "kernel": machine.kernel,
        "arch": machine.arch,
        "container": machine.container,
        "cpu": _cpu(machine),
        "cores_usable": cpu_count(),
    }
    parts = [board or _cpu(machine), facts["os"], machine.arch]
    parts += ["in a container"] if machine.container else []
    parts += [f"target {target}"] if target else []
    return Finding(" · ".join(str(part) for part in parts if part), facts)


def _cpu(machine: Machine) -> str:
    text = read(machine.root / "proc/cpuinfo") or ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else cpu_name()


def probe_jetpack(machine: Machine) -> Finding:
    """L4T and JetPack; of a release that is not known here, what it says of itself."""
    root = machine.root
    if not machine.jetson:
        return Finding(
            "not a Jetson", {"l4t": None, "jetpack": None, "release": None}, present=False
        )
    version, release = jetson.l4t(root), jetson.release_text(root)
    package = jetson.jetpack_package(root)
    name = package or (jetson.jetpack_of(version) if version else None)
    facts = {"l4t": version, "jetpack": name, "package": package, "release": release}
    if version is None:
        if machine.container and release is None:
            return Finding(
                "a Jetson's container without L4T's release file",
                facts,
                (Remark(f"{_NO_RELEASE}, so engines cannot be keyed to it", _MOUNT, advice=True),),
            )
        return Finding(f"unknown: {release or 'no ' + _RELEASE_FILE}", facts, known=False)
    known = f"JetPack {name}" if name else "a JetPack not known here"
    text = f"{known} (L4T {version})" if name else f"{known}: {release}"
    return Finding(text, facts, _too_old(version))


_RELEASE_FILE = "/etc/nv_tegra_release"
_NO_RELEASE = f"{_RELEASE_FILE} is not in the container"
_MOUNT = f"docker run --runtime nvidia -v {_RELEASE_FILE}:{_RELEASE_FILE}:ro …"


def _too_old(version: str) -> tuple[Remark, ...]:
    number = parsed(version)
    if number >= _LEAST_L4T:
        return ()
    fix = (
        "sudo sed -i 's/r36\\.[0-9]*/r36.4/' /etc/apt/sources.list.d/nvidia-l4t-apt-source.list\n"
        "sudo apt update && sudo apt dist-upgrade && sudo reboot\n"
        "sudo apt install nvidia-jetpack"
        if number >= _LEAST_APT
        else "sdkmanager  # on a host PC: flash JetPack 6.1 or later; Xavier and Nano have none"
    )
    return (Remark(f"L4T {version} brings TensorRT 8: engines need JetPack 6.1 or later", fix),)
