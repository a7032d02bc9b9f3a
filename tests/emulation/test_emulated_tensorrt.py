"""The emulated TensorRT offers only names that the real ones have, in every version that it plays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from emulated_tensorrt.context import Context
from emulated_tensorrt.engine import Engine
from emulated_tensorrt.module import SMALL
from emulated_tensorrt.runtime import Runtime

LISTINGS = Path(__file__).parents[1] / "tensorrt_api"
CLASSES = {
    "Runtime": Runtime,
    "ICudaEngine": Engine,
    "IExecutionContext": Context,
}


def listed(path: Path) -> dict[str, set[str]]:
    """Class → names in it."""
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"class ([\w.]+)\(", line):
            inside = found.setdefault(match[1], set())
        elif match := re.match(r" +(?:def )?(\w+)", line):
            inside.add(match[1])
    return found


@pytest.mark.parametrize("path", sorted(LISTINGS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_name_is_one_of_the_real_module(path: Path) -> None:
    real = listed(path)
    for name, emulated in CLASSES.items():
        offered = {n for n in vars(emulated) if not n.startswith("_")}
        assert offered
        assert offered <= real[name], name
    for name, members in SMALL.items():
        assert set(members) <= real[name], name
    assert {"IOutputAllocator", "ILogger"} <= set(real)
    assert "\ndef init_libnvinfer_plugins(logger: " in path.read_text(encoding="utf-8")
