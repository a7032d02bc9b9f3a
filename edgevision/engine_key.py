"""An engine's key, the facts of a device, and whether the one fits the other. Nothing here reads an engine.

An engine is a TensorRT plan, native code for one kind of device. Its key is compared with the device *before* the
plan is deserialized, for TensorRT's own checks come late and may end the process.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass

from edgevision.text import counted, printable

__all__ = [
    "DeviceFacts",
    "EngineKey",
    "Verdict",
    "device_text",
    "key_for",
    "machine_facts",
    "preflight",
]

_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
#: Its engines are compiled on the device, so that one runs on every GPU of its compute capability.
_PORTABLE = "tensorrt-rtx"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine was built from, by what, and for what.

    Attributes:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: Of that library, as it says it.
        cc: Compute capability of the GPU it is for, such as ``8.7``.
        device: The model of GPU, as `device_text` writes it; empty where any of that compute capability will do.
        os: ``linux``, as `platform.system` names it, in small letters.
        arch: ``x86_64``, ``aarch64``.
        l4t: Release of Jetson Linux, such as ``36.4.3``; empty where there is none.
        variant_sha256: Of the ONNX file.
        profile: Shapes it takes, as ``input=1x3x64x64`` or ``input=least..best..most``, joined by commas.
    """

    library: str
    version: str
    cc: str
    device: str
    os: str
    arch: str
    l4t: str
    variant_sha256: str
    profile: str

    def __str__(self) -> str:
        # It may come from a foreign sidecar: nothing of it may look like a line of ours.
        version, cc, system, arch, l4t = (
            printable(text, 40) for text in (self.version, self.cc, self.os, self.arch, self.l4t)
        )
        title = _TITLES.get(self.library, printable(self.library, 40))
        device = f" ({printable(self.device, 80)})" if self.device else ""
        jetson = f", L4T {l4t}" if l4t else ""
        return f"{title} {version} for compute capability {cc}{device}, {system} {arch}{jetson}"


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What an engine's key is compared with.

    Attributes:
        library: The library at hand: ``tensorrt`` or ``tensorrt-rtx``.
        version: Its version, as it says it.
        cc: Compute capability of the GPU, such as ``8.7``.
        os: As in `EngineKey`.
        arch: Likewise.
        l4t: Likewise.
        device: The model of GPU, as `device_text` writes it; empty where it is not at hand.
    """

    library: str
    version: str
    cc: str
    os: str
    arch: str
    l4t: str = ""
    device: str = ""

    def __str__(self) -> str:
        jetson = f", L4T {self.l4t}" if self.l4t else ""
        name = f" ({printable(self.device, 80)})" if self.device else ""
        title = _TITLES.get(self.library, self.library)
        return f"{title} {self.version} on compute capability {self.cc}{name}, {self.os} {self.arch}{jetson}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine may be loaded.

    Attributes:
        status: ``ok``, ``rebuild needed``, ``wrong device`` or ``wrong version``.
        reason: What differs, for people; empty where nothing does.
    """

    status: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def preflight(key: EngineKey, facts: DeviceFacts, *, variant_sha256: str | None = None) -> Verdict:
    """Whether an engine with this key may be loaded here. A pure function.

    1. Another GPU, operating system or processor: ``wrong device``.
    2. Another library, or another version of it: ``wrong version``. Plans are not portable between versions.
    3. Another release of Jetson Linux, or another ONNX file: ``rebuild needed``.

    Whether a shape is within the profile shows where buffers are made for it.

    Args:
        key: Of the engine.
        facts: Of the device.
        variant_sha256: Of the ONNX file that is to run; None leaves it out.
    """
    for name, title in (("cc", "compute capability"), ("os", "system"), ("arch", "processor")):
        if getattr(key, name) != getattr(facts, name):
            return Verdict("wrong device", _differs(title, key, facts, name))
    if key.device not in ("", facts.device):
        return Verdict("wrong device", _differs("GPU", key, facts, "device"))
    for name, title in (("library", "library"), ("version", "version")):
        if getattr(key, name) != getattr(facts, name):
            return Verdict("wrong version", _differs(title, key, facts, name))
    if key.l4t != facts.l4t:
        return Verdict("rebuild needed", _differs("Jetson Linux", key, facts, "l4t"))
    if variant_sha256 not in (None, key.variant_sha256):
        return Verdict("rebuild needed", "it was built from another ONNX file")
    return Verdict("ok")


def machine_facts(
    library: str, version: str, cc: str, *, l4t: str = "", device: str = ""
) -> DeviceFacts:
    """The facts of this machine; what only a driver or TensorRT can tell is given.

    Args:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: Its ``__version__``.
        cc: Compute capability, such as ``8.7``.
        l4t: Release of Jetson Linux; empty where there is none.
        device: The model of GPU, as `device_text` writes it.
    """
    system, arch = platform.system().lower(), platform.machine().lower()
    return DeviceFacts(library, version, cc, system, arch, l4t, device)


def device_text(name: str, multiprocessors: int) -> str:
    """A model of GPU: ``Orin, 16 multiprocessors``.

    An AGX Orin and an Orin Nano both call themselves Orin, and a Jetson's power modes switch multiprocessors off;
    TensorRT chooses kernels, and how many blocks of them run at once, for those that it finds.

    Args:
        name: What the driver calls it.
        multiprocessors: How many are switched on.
    """
    return f"{name}, {counted(multiprocessors, 'multiprocessor')}"


def key_for(facts: DeviceFacts, sha256: str, profile: str) -> EngineKey:
    """The key of an engine that is built of an ONNX file with these facts.

    Args:
        facts: Of the device it is for.
        sha256: Of the ONNX file.
        profile: As in the key.
    """
    told = asdict(facts) | ({"device": ""} if facts.library == _PORTABLE else {})
    return EngineKey(**told, variant_sha256=sha256, profile=profile)


def _differs(title: str, key: EngineKey, facts: DeviceFacts, name: str) -> str:
    built, here = (getattr(one, name) or "none" for one in (key, facts))
    return f"{title}: built for {printable(built, 80)}, here is {printable(here, 80)}"
