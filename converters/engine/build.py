"""From a bundle's variant to an engine beside it: checked, built in a child, read back, and put in place whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgevision.built_here import is_built_here, remember
from edgevision.bundle import Bundle, hash_file, open_bundle
from edgevision.converters.bundle_writer import json_text
from edgevision.converters.engine.builder import PLAN
from edgevision.converters.engine.built_facts import LAYERS
from edgevision.converters.engine.child import build_in_child
from edgevision.converters.engine.library import expected_library
from edgevision.converters.engine.lint import check_lint, lint
from edgevision.converters.engine.order import Asked, BuildOrder, Built, Request
from edgevision.converters.engine.profiles import profile_text, ranges_for
from edgevision.converters.engine.read_back import asked_of, check_built
from edgevision.converters.engine.targets import BuildTarget, build_target
from edgevision.converters.engine.working_folder import one_at_a_time, working_folder
from edgevision.converters.graph import onnx_file
from edgevision.converters.graph.index import nodes_in
from edgevision.engine_key import EngineKey
from edgevision.engines import (
    Engine,
    engine_stem,
    engines_folder,
    list_engines,
    variant_sha256,
)
from edgevision.errors import BundleError, OutputError, UsageError
from edgevision.onnx_header import read_header
from edgevision.progress import Progress
from edgevision.text import printable
from edgevision.user_cache import user_cache
from edgevision.variant import Variant
from edgevision.whole_file import write_whole

__all__ = ["build", "variant_for"]

_SIDECAR = "sidecar.json"


def build(order: BuildOrder, progress: Progress) -> Built:
    """Builds an engine.

    1. What can be known at once is: the target, the variant, whether the folder can be written.
    2. The file is compared with its hash and linted.
    3. A child builds it, within the time limit.
    4. What it built is compared with what was asked.
    5. The plan, then its sidecar go to their place; a reader sees a whole engine, or none.

    Args:
        order: What is asked.
        progress: Told how far it is.

    Raises:
        EdgevisionError: Something stands against it; nothing is left half-written.
    """
    target = build_target(order.target)
    bundle = open_bundle(order.bundle)
    variant = variant_for(bundle, order.variant)
    folder = engines_folder(bundle.path, order.engine_dir)
    with working_folder(folder) as working:
        if bundle.manifest:
            bundle.check(variant.file.name)
        header = read_header(variant.file)
        ranges = ranges_for(header.inputs, variant.spec.input, order.shapes, order.batch)
        asked, operators = _checked(variant, target)
        progress.say(f"{bundle.name}: {variant.id} for {target.name}")
        profile = profile_text(header.inputs, ranges)
        request = _request(order, target, variant, ranges, operators, profile, folder)
        facts = build_in_child(request, working, order.seconds, progress)
        check_built(asked, facts, variant.id)
        built = _in_place(folder, working, variant, facts)
    if not is_built_here(built.engine.sha256):
        progress.say(
            "this user's folder for state ($XDG_STATE_HOME, else ~/.local/state) cannot be written or is full, "
            "so 'run' needs --trust-engines for this engine"
        )
    return built


def variant_for(bundle: Bundle, variant_id: str | None) -> Variant:
    """The variant that was asked for, else what is made for TensorRT: int8, then fp16, then fp32.

    Raises:
        UsageError: There is no variant of the name that was asked for.
        BundleError: None is made for TensorRT.
    """
    told = "one of: " + ", ".join(bundle.variants)
    hint = "convert the model again with --precision int8,fp16 --target trt"
    if variant_id is not None:
        if variant_id in bundle.variants:
            return bundle.variants[variant_id]
        raise UsageError(
            f"there is no variant {variant_id!r} in {bundle.path}", expected=told, hint=hint
        )
    named = str(bundle.manifest.get("default", {}).get("trt", ""))
    for one in (named, "int8-trt", "fp16", "fp32"):
        if one in bundle.variants:
            return bundle.variants[one]
    if len(bundle.variants) == 1:
        return next(iter(bundle.variants.values()))
    raise BundleError(
        f"no variant in {bundle.path} is made for TensorRT",
        expected=f"int8-trt, fp16 or fp32; or name {told} (--variant)",
        hint=hint,
    )


def _request(
    order: BuildOrder,
    target: BuildTarget,
    variant: Variant,
    ranges: Mapping[str, Any],
    operators: Mapping[str, str],
    profile: str,
    folder: Path,
) -> Request:
    taken = () if order.force else tuple(engine.key for engine in list_engines(folder))
    return Request(
        model=variant.file.resolve(),
        libraries=target.libraries,
        cc=target.cc,
        ranges=ranges,
        operators=operators,
        workspace_mib=order.workspace_mib,
        timing_cache=user_cache("timings") if order.timing_cache else None,
        variant_sha256=variant_sha256(variant),
        profile=profile,
        taken=taken,
    )


def _checked(variant: Variant, target: BuildTarget) -> tuple[Asked, dict[str, str]]:
    """What the file asks for, and its operators. The model itself is not kept: the builder needs the memory."""
    model = onnx_file.load(variant.file)
    check_lint(lint(model, expected_library(target.libraries)), variant.id)
    return asked_of(model), _operators(model)


def _operators(model: Any) -> dict[str, str]:
    """Standard operators, each with the first node of it."""
    found: dict[str, str] = {}
    for node in nodes_in(model.graph):
        if node.domain in ("", "ai.onnx"):
            found.setdefault(node.op_type, node.name or next(iter(node.output), "?"))
    return found


def _in_place(folder: Path, working: Path, variant: Variant, facts: dict[str, Any]) -> Built:
    key = EngineKey(**facts["key"])
    path = folder / f"{engine_stem(key, variant.id)}.engine"
    told = ("device", "network", "engine", "seconds", "timing_cache")
    built = {name: facts[name] for name in told}
    try:
        plan = working / PLAN
        engine = Engine(path, key, hash_file(plan), plan.stat().st_size, variant.id, built)
        # All that needs room is written before anything is replaced, and the note before there is an engine.
        write_whole(working / _SIDECAR, json_text(engine.to_dict()).encode(), mode=0o644)
        plan.chmod(0o644)
        _to_disk(plan)
        remember(engine.sha256)
        with one_at_a_time(folder):
            _replace(folder, working, path)
    except OSError as error:
        raise OutputError(
            f"{printable(str(path), 1000)} cannot be written: {error.strerror}",
            hint="make room there, and see who owns it; --engine-dir puts engines somewhere else",
        ) from error
    return Built(engine, facts)


def _replace(folder: Path, working: Path, path: Path) -> None:
    """Three renames; whatever stops them leaves no engine rather than half of one."""
    sidecar, layers = path.with_suffix(".json"), folder / f"{path.stem}.layers.txt"
    sidecar.unlink(missing_ok=True)
    try:
        (working / PLAN).replace(path)
        if (working / LAYERS).exists():
            (working / LAYERS).replace(layers)
        else:  # that of an earlier build says nothing of this one
            layers.unlink(missing_ok=True)
        (working / _SIDECAR).replace(sidecar)
    except BaseException:
        if not sidecar.exists():
            with suppress(OSError):
                path.unlink(missing_ok=True)
                layers.unlink(missing_ok=True)
        raise


def _to_disk(path: Path) -> None:
    """Else a power cut may leave the new name with nothing in it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
