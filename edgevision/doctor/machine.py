"""What probes may look at: files below a root, answers of libraries, and who is asking. Tests make their own."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgevision import jetson
from edgevision.doctor.ask import Answer
from edgevision.system_files import in_container, read

__all__ = ["Machine"]

#: PCI: vendor NVIDIA; class 3 is a display controller (VGA or 3D).
_NVIDIA, _DISPLAY = "0x10de", "0x03"
#: CUresult of a driver on a machine without a GPU: success, a stub, no device, not a driver of ours to call.
_NO_GPU = (0, 34, 100, 500)
#: Device files that the CUDA driver opens: of a card, of Orin's GPU.
_GPU_NODES = ("dev/nvidiactl", "dev/nvidia0", "dev/nvmap", "dev/nvgpu/igpu0/ctrl")


@dataclass(frozen=True)
class Machine:
    """The machine and the user to be examined.

    Attributes:
        root: Where the file system begins.
        answers: Of libraries, by the name of the question.
        folders: What the user's files lie in: name → folder, or None where there can be none.
        arch: The processor's architecture.
        kernel: Its release.
        access: As `os.access`.
    """

    root: Path = Path("/")
    answers: Mapping[str, Answer] = field(default_factory=dict)
    folders: Mapping[str, Path | None] = field(default_factory=dict)
    arch: str = field(default_factory=platform.machine)
    kernel: str = field(default_factory=platform.release)
    access: Callable[[Path, int], bool] = os.access

    def answer(self, name: str) -> Answer:
        """What a library said; one that was not asked is an error of its own."""
        return self.answers.get(name) or Answer({}, missing=True, error="it was not asked")

    @cached_property
    def jetson(self) -> bool:
        return jetson.is_jetson(self.root)

    @cached_property
    def container(self) -> bool:
        return bool(in_container(self.root))

    @cached_property
    def gpu(self) -> bool:
        """Whether there is a GPU of NVIDIA's, usable or not."""
        answer = self.answer("cuda")
        broken = not answer.missing and answer.facts.get("error") not in _NO_GPU
        return self.jetson or bool(self.gpu_nodes) or self._card or bool(self.devices) or broken

    @cached_property
    def devices(self) -> list[Mapping[str, object]]:
        """What the CUDA driver lists."""
        found = self.answer("cuda").facts.get("devices")
        return found if isinstance(found, list) else []

    @cached_property
    def gpu_nodes(self) -> list[Path]:
        """The GPU's device files that are there."""
        return [self.root / node for node in _GPU_NODES if (self.root / node).exists()]

    @cached_property
    def _card(self) -> bool:
        cards = (self.root / "sys/bus/pci/devices").glob("*")
        return any(
            read(card / "vendor") == _NVIDIA and (read(card / "class") or "").startswith(_DISPLAY)
            for card in cards
        )

    @cached_property
    def distribution(self) -> str:
        """The system's id, such as ``ubuntu`` (os-release(5)); empty where it is not told."""
        text = read(self.root / "etc/os-release") or ""
        found = re.search(r'^ID="?([\w.-]+)', text, re.MULTILINE)
        return found[1] if found else ""

    @cached_property
    def packages(self) -> dict[str, str]:
        """Debian packages that are installed, with their versions (dpkg(1))."""
        text = read(self.root / "var/lib/dpkg/status") or ""
        found = {}
        for paragraph in text.split("\n\n"):
            if "\nStatus: install ok installed\n" in f"{paragraph}\n":
                fields = dict(re.findall(r"^(Package|Version): (\S+)", paragraph, re.MULTILINE))
                found[fields.get("Package", "")] = fields.get("Version", "")
        return found

    @cached_property
    def distributions(self) -> Mapping[str, str]:
        """Python distributions that this Python sees, of those that matter here."""
        found = self.answer("python").facts.get("distributions")
        return found if isinstance(found, Mapping) else {}
