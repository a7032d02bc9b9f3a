"""Probe of cameras: which there are, and whether this user may open them. None is opened."""

from __future__ import annotations

import os
from typing import Any

from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.system_files import number, read
from edgevision.text import printable

__all__ = ["probe"]

_ARGUS = "usr/sbin/nvargus-daemon"
_ARGUS_SOCKET = "tmp/argus_socket"


def probe(machine: Machine) -> Finding:
    """V4L2 devices (kernel.org, userspace-api/media/v4l); on a Jetson also NVIDIA's camera service."""
    cameras = _cameras(machine)
    csi = [camera for camera in cameras if camera["csi"]]
    facts = {"devices": cameras, "argus": (machine.root / _ARGUS_SOCKET).exists()}
    if not cameras:
        return Finding("none", facts, present=False)
    text = ", ".join(f"{c['device']} {printable(c['name'], 30)}" for c in cameras)
    remarks = [*_missing(cameras), *_closed(cameras)]
    if csi and (machine.root / _ARGUS).exists() and not facts["argus"]:
        text_argus = "NVIDIA's camera service does not run, which CSI cameras need"
        remarks.append(Remark(text_argus, "sudo systemctl restart nvargus-daemon"))
    return Finding(text, facts, tuple(remarks))


def _cameras(machine: Machine) -> list[dict[str, Any]]:
    """One entry a camera: its first node. The others carry metadata (index ≥ 1)."""
    folders = (machine.root / "sys/class/video4linux").glob("video*")
    found = sorted(folders, key=lambda path: (len(path.name), path.name))
    return [_camera(machine, path.name) for path in found if not number(path / "index")]


def _camera(machine: Machine, name: str) -> dict[str, Any]:
    node = machine.root / "dev" / name
    title = read(machine.root / "sys/class/video4linux" / name / "name") or ""
    return {
        "device": f"/dev/{name}",
        "name": title,
        "csi": title.startswith("vi-output"),  # as the driver of a Jetson's camera input names them
        "exists": node.exists(),
        "accessible": node.exists() and machine.access(node, os.R_OK | os.W_OK),
    }


def _missing(cameras: list[dict[str, Any]]) -> list[Remark]:
    names = [camera["device"] for camera in cameras if not camera["exists"]]
    if not names:
        return []
    options = " ".join(f"--device {name}" for name in names)
    return [Remark(f"{', '.join(names)} is not in this container", f"docker run {options} …")]


def _closed(cameras: list[dict[str, Any]]) -> list[Remark]:
    names = [c["device"] for c in cameras if c["exists"] and not c["accessible"]]
    if not names:
        return []
    fix = "sudo usermod -aG video $USER  # then log out and in again"
    return [Remark(f"this user may not open {', '.join(names)}", fix)]
