"""What a Jetson tells of itself: its module, L4T, JetPack and power modes, read from files below a root.

On anything else, and for what is not told, the answer is None.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgevision.system_files import read

__all__ = [
    "board_target",
    "gpu_clock_folder",
    "is_jetson",
    "jetpack_of",
    "jetpack_package",
    "l4t",
    "power_mode",
    "power_modes",
    "release_text",
]

#: L4T → JetPack, from NVIDIA's archive of Jetson Linux releases; the longest beginning that fits counts.
_JETPACKS = {
    "35": "5.1",
    "35.1": "5.0",
    "36.2": "6.0",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "36.5.2": "6.2.3",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
    "39.2.1": "7.2.1",
}
#: Module's part number, as ``compatible`` in the device tree has it → target in ``targets.json``.
_BOARDS = {
    "p3448": "nano",
    "p3668": "xavier-nx",
    "p2888": "agx-xavier",
    "p3767-0000": "orin-nx-16gb",
    "p3767-0001": "orin-nx-8gb",
    "p3767-0003": "orin-nano-8gb",
    "p3767-0004": "orin-nano-4gb",
    "p3767-0005": "orin-nano-8gb",
    "p3701-0000": "agx-orin-32gb",
    "p3701-0004": "agx-orin-32gb",
    "p3701-0005": "agx-orin-64gb",
    "p3701-0008": "agx-orin-64gb",
    "p3834-0000": "thor-t4000",
    "p3834-0008": "thor-t5000",
}

#: The GPU among the devfreq devices: JetPack 6 and 7 on Orin; JetPack 5 on Orin and Xavier; Thor.
_GPUS = ("17000000.gpu", "17000000.ga10b", "17000000.gv11b", "gpu-gpc-0")


def is_jetson(root: Path) -> bool:
    """Whether the system is L4T, or the board's device tree names a Tegra (another system on a Jetson)."""
    tree = read(root / "proc/device-tree/compatible") or ""
    return release_text(root) is not None or "nvidia,tegra" in tree


def release_text(root: Path) -> str | None:
    """The first line of L4T's release file, as it stands: ``# R36 (release), REVISION: 4.0, …``."""
    text = read(root / "etc/nv_tegra_release")
    return text.splitlines()[0] if text else None


def l4t(root: Path) -> str | None:
    """The version of L4T, such as ``36.4.0``."""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release_text(root) or "")
    return f"{found[1]}.{found[2]}" if found else None


def jetpack_package(root: Path) -> str | None:
    """The version of the package ``nvidia-jetpack``, such as ``6.2.1+b38``, where it is installed."""
    status = read(root / "var/lib/dpkg/status") or ""
    entry = re.search(r"^Package: nvidia-jetpack(?:\n.+)*", status, re.MULTILINE)
    if entry is None or "\nStatus: install ok installed\n" not in entry[0]:
        return None  # one that was removed leaves its entry
    found = re.search(r"^Version: (\S+)", entry[0], re.MULTILINE)
    return found[1] if found else None


def jetpack_of(version: str) -> str | None:
    """The JetPack that came with an L4T; None for a release that is not known here."""
    fits = [known for known in _JETPACKS if f"{version}.".startswith(f"{known}.")]
    return _JETPACKS[max(fits, key=len)] if fits else None


def gpu_clock_folder(root: Path) -> Path | None:
    """Where the GPU's governor and clocks are told (kernel.org, ABI/testing/sysfs-class-devfreq)."""
    folders = [root / "sys/class/devfreq" / name for name in _GPUS]
    return next((folder for folder in folders if folder.exists()), None)


def board_target(root: Path) -> str | None:
    """What `edgevision.targets` calls this module, by its part number."""
    parts = read(root / "proc/device-tree/compatible") or ""
    found = re.findall(r"p\d{4}-\d{4}", parts)
    return next((_BOARDS[p] for part in found for p in (part, part[:5]) if p in _BOARDS), None)


def power_mode(root: Path) -> tuple[int, str | None] | None:
    """Number and name of the power mode; nvpmodel keeps it in its status file as ``pmode:0002``."""
    found = re.search(r"pmode:(\d+)", read(root / "var/lib/nvpmodel/status") or "")
    if found is None:
        return None
    mode = int(found[1])
    return mode, power_modes(root).get(mode)


def power_modes(root: Path) -> dict[int, str]:
    """Power modes that nvpmodel is configured with, by number; the numbers mean nothing by themselves."""
    modes = re.findall(
        r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)", read(root / "etc/nvpmodel.conf") or ""
    )
    return {int(mode): name for mode, name in modes}
