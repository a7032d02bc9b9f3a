"""Engines for the emulated TensorRT: a plan and its sidecar, as ``edgevision build`` leaves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import emulated_tensorrt

from edgevision.built_here import remember
from edgevision.engine_key import EngineKey, machine_facts
from edgevision.engines import Engine, engine_stem, variant_sha256
from edgevision.variant import Variant

__all__ = ["write_engine"]


def write_engine(
    variant: Variant,
    folder: Path,
    *,
    version: str = "10.3.0",
    profiles: dict[str, Sequence[Sequence[int]]] | None = None,
    trusted: bool = True,
    **key: Any,
) -> Path:
    """Writes the engine of a variant for the emulated device; keywords replace parts of its key.

    Args:
        variant: Which.
        folder: Where; made.
        version: Of TensorRT.
        profiles: Input → least, best and most shape, for inputs with open dimensions.
        trusted: Whether it counts as built here.
    """
    plan = emulated_tensorrt.serialized(
        variant.file.read_bytes(), version=version, profiles=profiles
    )
    facts = machine_facts(key.get("library", "tensorrt"), version, "8.7")
    made = EngineKey(
        facts.library, version, facts.cc, "", facts.os, facts.arch, "", variant_sha256(variant), ""
    )
    made = replace(made, **key)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{engine_stem(made, variant.id)}.engine"
    sha256 = hashlib.sha256(plan).hexdigest()
    path.write_bytes(plan)
    engine = Engine(path, made, sha256, len(plan), variant.id)
    path.with_suffix(".json").write_text(json.dumps(engine.to_dict()))
    if trusted:
        remember(sha256)
    return path
