"""Every name of TensorRT that the product uses is there in each version it claims to work with.

The listings in `tests/tensorrt_api` were read from the real modules: TensorRT 10.3.0 (JetPack 6.1), 10.13.3
(JetPack 7.0), 11.4.0 and TensorRT-RTX 1.7.1.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LISTINGS = sorted((ROOT / "tests/tensorrt_api").glob("*.txt"))
FILES = [
    *sorted((ROOT / "converters/engine").glob("*.py")),
    *sorted((ROOT / "edgevision/trt").glob("*.py")),
]
#: What holds the module: ``trt.X``, ``module.X``, ``library.module.X``.
MODULE = {"trt", "module"}
#: Variables that hold TensorRT's objects, by file; every attribute of them is a name of that class.
OBJECTS = {
    "converters/engine/builder.py": {
        "builder": "Builder", "config": "IBuilderConfig", "network": "INetworkDefinition",
        "parser": "OnnxParser", "profile": "IOptimizationProfile", "e": "ParserError",
        "capability": "ComputeCapability", "plan": "IHostMemory",
    },
    "converters/engine/built_facts.py": {
        "network": "INetworkDefinition", "engine": "ICudaEngine", "runtime": "Runtime",
        "inspector": "EngineInspector", "layer": "ILayer", "maker": "ILayer", "tensor": "ITensor",
    },
    "converters/engine/timing_cache.py": {
        "config": "IBuilderConfig", "cache": "ITimingCache", "others": "ITimingCache",
        "serialized": "IHostMemory",
    },
    "edgevision/trt/library.py": {"engine": "ICudaEngine"},
    "edgevision/trt/engine.py": {"runtime": "Runtime", "native": "ICudaEngine"},
    "edgevision/trt/lane.py": {"_context": "IExecutionContext"},
    "edgevision/trt/outputs.py": {"context": "IExecutionContext"},
}  # fmt: skip
#: TensorRT-RTX alone builds for another GPU; that code runs with it alone.
ONLY_RTX = {
    "ComputeCapability", "ComputeCapability.CURRENT", "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}  # fmt: skip
#: Not of the class that the variable usually holds: a JSON tensor, and what Python gives all objects.
PLAIN = {"ITensor.get", "ILayer.get"}
FLOOR = 25


def names_in(listing: Path) -> set[str]:
    """``Class``, ``Class.member`` and ``function``."""
    found, current = set(), ""
    for line in listing.read_text("utf-8").splitlines():
        head = re.match(r"class ([\w.]+)\(|def (\w+)\(", line)
        if head:
            current = head[1] or ""
            found.add(head[1] or head[2])
        elif current and (member := re.match(r"    (?:def )?(\w+)", line)):
            found.add(f"{current}.{member[1]}")
    return found


def chain(node: ast.AST) -> list[str]:
    """``a.b.c`` as a list; empty where it does not begin with a name."""
    if isinstance(node, ast.Attribute):
        before = chain(node.value)
        return [*before, node.attr] if before else []
    return [node.id] if isinstance(node, ast.Name) else []


def used_by(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    objects = OBJECTS.get(path.relative_to(ROOT).as_posix(), {})
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    found = set()
    for node in ast.walk(tree):
        parts = chain(node) if isinstance(node, ast.Attribute) and id(node) not in inner else []
        parts = parts[1:] if parts[:1] == ["self"] else parts
        place = next((i for i, part in enumerate(parts[:-1]) if part in MODULE), None)
        if place is not None and parts[place + 1][0].isupper():
            found.add(".".join(parts[place + 1 :][:2]).removesuffix(".__init__"))
        elif place is not None and parts[place + 1].startswith("init"):
            found.add(parts[place + 1])
        elif len(parts) > 1 and parts[0] in objects:
            found.add(f"{objects[parts[0]]}.{parts[1]}")
    return found - PLAIN


USED = {path: used_by(path) for path in FILES}


def test_the_test_sees_what_the_builder_uses():
    names = set().union(*USED.values())
    assert len(names) > FLOOR
    assert {
        "OnnxParser",
        "BuilderFlag.TF32",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    } <= names
    assert {"IBuilderConfig.set_timing_cache", "Builder.build_serialized_network"} <= names


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_name_that_is_used_exists(path: Path, listing: Path):
    allowed = set() if "rtx" in listing.stem else ONLY_RTX
    assert USED[path] - allowed <= names_in(listing)


def test_what_only_rtx_has_is_only_there():
    for listing in LISTINGS:
        assert (names_in(listing) >= ONLY_RTX) == ("rtx" in listing.stem)


def test_names_that_version_11_took_away_are_known_to_be_gone():
    gone = {"BuilderFlag.FP16", "BuilderFlag.INT8", "ILayer.precision", "OnnxParser.supports_model"}
    by_version = {path.stem: names_in(path) for path in LISTINGS}
    assert gone <= by_version["10.3.0"]
    assert not gone & by_version["11.4.0"]


def test_no_value_of_an_enumeration_is_written_as_a_number():
    # STRONGLY_TYPED is 1 in TensorRT 10 and 0 in 11, where 0 used to be EXPLICIT_BATCH.
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and chain(node.func)[-1:] == ["create_network"]:
                assert "STRONGLY_TYPED" in ast.dump(node)
