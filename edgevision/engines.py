"""Engines as files: where they lie, which fits this device, and who may load one.

An engine lies beside a small JSON file, its sidecar, with the key it was built under. Nothing here imports TensorRT
or touches a GPU.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from edgevision.built_here import is_built_here
from edgevision.bundle import canonical_json, hash_file
from edgevision.engine_key import DeviceFacts, EngineKey, preflight
from edgevision.errors import BackendError
from edgevision.text import counted, printable
from edgevision.variant import Variant

__all__ = [
    "FOLDER",
    "SIDECAR_SCHEMA",
    "Engine",
    "build_command",
    "engine_stem",
    "engines_folder",
    "find_engine",
    "list_engines",
    "read_engine",
    "variant_sha256",
]

#: In the bundle. It is no part of the bundle's identity, so engines come and go.
FOLDER = "engines"
SIDECAR_SCHEMA = 1
_LARGEST_SIDECAR = 16 * 2**20


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
            received=_unread(folder),
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


def read_engine(engine: Engine, rebuild: str, *, trust: bool = False) -> bytes:
    """The plan, whole and unchanged since it was built. Loading one runs its code.

    Args:
        engine: Which one.
        rebuild: What mends it, for people: with the command that builds it again.
        trust: Take it although it was not built here (``--trust-engines``).

    Raises:
        BackendError: It is missing, damaged, or not from here.
    """
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


def _unread(folder: Path) -> str:
    """Of the engines that `list_engines` passes over, for people; empty where there are none."""
    try:
        count = sum(1 for _ in folder.glob("*.engine")) - len(list_engines(folder))
    except OSError:
        return ""
    if count < 1:
        return ""
    return f"{counted(count, 'engine')} without a sidecar that this version of edgevision reads"


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
