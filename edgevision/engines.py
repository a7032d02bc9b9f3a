"""Engines: what one was built from and for, whether it fits this device, where it lies, and who may load it.

An engine is a TensorRT plan, native code for one kind of device. It lies beside a small JSON file, its sidecar,
with the key it was built under. The key is compared with the device *before* the plan is deserialized, for
TensorRT's own checks come late and may end the process. Nothing here imports TensorRT or touches a GPU.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgevision.built_here import is_built_here
from edgevision.bundle import canonical_json, hash_file
from edgevision.errors import BackendError
from edgevision.text import printable
from edgevision.variant import Variant

__all__ = [
    "FOLDER",
    "SIDECAR_SCHEMA",
    "DeviceFacts",
    "Engine",
    "EngineKey",
    "Verdict",
    "build_command",
    "engine_stem",
    "engines_folder",
    "find_engine",
    "key_for",
    "list_engines",
    "machine_facts",
    "preflight",
    "read_engine",
    "variant_sha256",
]

#: In the bundle. It is no part of the bundle's identity, so engines come and go.
FOLDER = "engines"
SIDECAR_SCHEMA = 1
_LARGEST_SIDECAR = 16 * 2**20
_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine was built from, by what, and for what.

    Attributes:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: Of that library, as it says it.
        cc: Compute capability of the GPU it is for, such as ``8.7``.
        os: ``linux``, as `platform.system` names it, in small letters.
        arch: ``x86_64``, ``aarch64``.
        l4t: Release of Jetson Linux, such as ``36.4.3``; empty where there is none.
        variant_sha256: Of the ONNX file.
        profile: Shapes it takes, as ``input=1x3x64x64`` or ``input=least..best..most``, joined by commas.
    """

    library: str
    version: str
    cc: str
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
        jetson = f", L4T {l4t}" if l4t else ""
        return f"{title} {version} for compute capability {cc}, {system} {arch}{jetson}"


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
        device: What the GPU calls itself, for people.
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
        name = f" ({printable(self.device, 60)})" if self.device else ""
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


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that lies in a folder, as its sidecar describes it. The plan itself is not read.

    Attributes:
        path: The plan; its sidecar has the suffix ``.json``.
        key: What it was built from and for.
        sha256: Of the plan.
        size_bytes: Of the plan.
        variant: Id of the variant.
        built: What the builder reports: inputs, outputs, precisions, layers, options.
    """

    path: Path
    key: EngineKey
    sha256: str
    size_bytes: int
    variant: str
    built: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The sidecar, JSON-ready."""
        return {
            "schema": SIDECAR_SCHEMA,
            "key": asdict(self.key),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            "variant": self.variant,
            "built": dict(self.built),
        }


def preflight(
    key: EngineKey,
    facts: DeviceFacts,
    *,
    variant_sha256: str | None = None,
    profile: str | None = None,
) -> Verdict:
    """Whether an engine with this key may be loaded here. A pure function.

    1. Another GPU, operating system or processor: ``wrong device``. No rebuild makes it fit this engine's device.
    2. Another library, or another version of it: ``wrong version``. Plans are not portable between versions.
    3. Another release of Jetson Linux, another ONNX file or other shapes: ``rebuild needed``.

    Args:
        key: Of the engine.
        facts: Of the device.
        variant_sha256: Of the ONNX file that is to run; None leaves it out.
        profile: Shapes that are needed, as in the key; None leaves them out.
    """
    for name, title in (("cc", "compute capability"), ("os", "system"), ("arch", "processor")):
        if getattr(key, name) != getattr(facts, name):
            return Verdict("wrong device", _differs(title, key, facts, name))
    for name, title in (("library", "library"), ("version", "version")):
        if getattr(key, name) != getattr(facts, name):
            return Verdict("wrong version", _differs(title, key, facts, name))
    if key.l4t != facts.l4t:
        return Verdict("rebuild needed", _differs("Jetson Linux", key, facts, "l4t"))
    if variant_sha256 not in (None, key.variant_sha256):
        return Verdict("rebuild needed", "it was built from another ONNX file")
    if profile not in (None, key.profile):
        shapes = printable(key.profile, 400)
        return Verdict("rebuild needed", f"it takes {shapes}, and {profile} is needed")
    return Verdict("ok")


def engines_folder(bundle: Path, engine_dir: Path | None = None) -> Path:
    """Where the engines of a bundle (its folder, or one ONNX file) lie: beside its models, or in ``engine_dir``."""
    if engine_dir is not None:
        return engine_dir
    return (bundle if bundle.is_dir() else bundle.parent) / FOLDER


def engine_stem(key: EngineKey, variant_id: str) -> str:
    """The name of an engine's files without suffix; the same key gives the same name.

    ``int8-trt.tensorrt-10.3.0.sm87.1f0c2a9be3d4``. It stays in its folder, whatever a single ONNX file calls
    its variant.
    """
    name, version = (re.sub(r"[^A-Za-z0-9._-]", "_", text) for text in (variant_id, key.version))
    digest = hashlib.sha256(canonical_json(asdict(key))).hexdigest()[:12]
    return f"{name.lstrip('.')}.{key.library}-{version}.sm{key.cc.replace('.', '')}.{digest}"


def list_engines(folder: Path) -> list[Engine]:
    """Every engine of a folder that has a sidecar, by name. What is damaged, a link or newer is passed over."""
    try:
        sidecars = sorted(folder.glob("*.json"))
    except OSError:
        return []
    found = (_read_sidecar(path) for path in sidecars)
    return [engine for engine in found if engine is not None]


def find_engine(
    bundle: Path, variant: Variant, facts: DeviceFacts, engine_dir: Path | None = None
) -> Engine:
    """The engine of a variant that fits this device; the one built last where there are several.

    Args:
        bundle: The bundle's folder (``variant.file.parent``), or the ONNX file.
        variant: What is to run.
        facts: Of the device.
        engine_dir: Where engines lie, in place of the bundle's own folder.

    Raises:
        BackendError: There is none, or none fits; with the way out.
    """
    folder = engines_folder(bundle, engine_dir)
    here = [engine for engine in list_engines(folder) if engine.variant == variant.id]
    wanted = variant_sha256(variant)
    judged = [(preflight(e.key, facts, variant_sha256=wanted), e) for e in here]
    fitting = [engine for verdict, engine in judged if verdict.ok]
    if fitting:
        return max(fitting, key=lambda engine: (_modified(engine.path), engine.path.name))
    way_out = f"{build_command(bundle, variant, engine_dir)} builds one; --backend ort runs without"
    if not judged:
        raise BackendError(
            f"there is no engine of {variant.id} in {folder}",
            expected=f"one for {facts}",
            hint=way_out,
        )
    verdict, engine = min(judged, key=lambda pair: _WORST.index(pair[0].status))
    raise BackendError(
        f"the engine of {variant.id} does not fit this device: {verdict.status}, {verdict.reason}",
        received=f"{printable(engine.path.name)}: {engine.key}",
        expected=str(facts),
        hint=way_out,
    )


def read_engine(engine: Engine, *, trust: bool = False) -> bytes:
    """The plan, whole and unchanged since it was built. Loading one runs its code.

    Args:
        engine: Which one.
        trust: Take it although it was not built here (``--trust-engines``).

    Raises:
        BackendError: It is missing, damaged, or not from here.
    """
    variant = printable(engine.variant, 64)
    rebuild = f"build it again: edgevision build BUNDLE --variant {variant} --force"
    if engine.path.is_symlink():
        raise BackendError(f"the engine {engine.path} is a link", hint=rebuild)
    try:
        plan = engine.path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"the engine {engine.path} cannot be read: {error.strerror}", hint=rebuild
        ) from error
    found = hashlib.sha256(plan).hexdigest()
    if found != engine.sha256:
        raise BackendError(
            f"the engine {engine.path} is not the one its sidecar describes",
            received=f"{len(plan):,} bytes, SHA-256 {found[:16]}…",
            expected=f"{engine.size_bytes:,} bytes, {engine.sha256[:16]}…",
            hint=rebuild,
        )
    if not trust and not is_built_here(found):
        raise BackendError(
            f"the engine {engine.path} was not built here",
            received="a plan that this user did not build on this machine: loading it runs its code",
            expected="one from 'edgevision build' by this user",
            hint="build it here; or --trust-engines, if you know who built it",
        )
    return plan


def machine_facts(
    library: str, version: str, cc: str, *, l4t: str = "", device: str = ""
) -> DeviceFacts:
    """The facts of this machine; what only a driver or TensorRT can tell is given.

    Args:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: Its ``__version__``.
        cc: Compute capability, such as ``8.7``.
        l4t: Release of Jetson Linux; empty where there is none.
        device: Name of the GPU.
    """
    system, arch = platform.system().lower(), platform.machine().lower()
    return DeviceFacts(library, version, cc, system, arch, l4t, device)


def key_for(facts: DeviceFacts, sha256: str, profile: str) -> EngineKey:
    """The key of an engine that is built of an ONNX file with these facts.

    Args:
        facts: Of the device it is for.
        sha256: Of the ONNX file.
        profile: As in the key.
    """
    told = {name: value for name, value in asdict(facts).items() if name != "device"}
    return EngineKey(**told, variant_sha256=sha256, profile=profile)


def build_command(bundle: Path, variant: Variant, engine_dir: Path | None = None) -> str:
    """What to type to build an engine of a variant for this device, quoted for a shell."""
    named = (
        bundle if variant.sha256 else variant.file
    )  # a file that is in no bundle is built by its own name
    words = ["edgevision", "build", str(named), "--variant", variant.id]
    words += ["--engine-dir", str(engine_dir)] if engine_dir is not None else []
    return shlex.join(words)


def variant_sha256(variant: Variant) -> str:
    """Of its ONNX file: the manifest's, which opening compares, else read from the file."""
    return variant.sha256 or hash_file(variant.file)


#: From the nearest miss to the farthest.
_WORST = ("rebuild needed", "wrong version", "wrong device")


def _differs(title: str, key: EngineKey, facts: DeviceFacts, name: str) -> str:
    built, here = (getattr(one, name) or "none" for one in (key, facts))
    return f"{title}: built for {printable(built, 40)}, here is {printable(here, 40)}"


def _read_sidecar(path: Path) -> Engine | None:
    plan = path.with_suffix(".engine")
    try:
        found = path.lstat()  # a pipe would be read for ever
        plain = stat.S_ISREG(found.st_mode) and stat.S_ISREG(plan.lstat().st_mode)
        if not plain or found.st_size > _LARGEST_SIDECAR:
            return None
        data = json.loads(path.read_bytes())
        if data["schema"] != SIDECAR_SCHEMA:
            return None
        texts = {name: data["key"][name] for name in (f.name for f in fields(EngineKey))}
        if not all(isinstance(text, str) for text in (*texts.values(), data["sha256"])):
            return None
        size, variant, built = int(data["size_bytes"]), str(data["variant"]), data.get("built", {})
        return Engine(
            plan,
            EngineKey(**texts),
            data["sha256"],
            size,
            variant,
            built if isinstance(built, dict) else {},
        )
    except (ArithmeticError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
