"""Floors against what others measured on Jetsons: each figure lies above its floor, and within eight times of it.

The networks are drawn from their published architectures (`conftest.py`), with the published totals.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from edgevision.benchmarks.estimate.cost import read_network
from edgevision.benchmarks.estimate.layers import layers_of
from edgevision.benchmarks.estimate.machine import machine_of_target
from edgevision.benchmarks.estimate.roofline import floor_on


class Published(NamedTuple):
    """A measured figure: milliseconds of one picture, on a target in a mode."""

    target: str
    mode: str
    network: str
    precision: str
    ms: float
    batch: int = 1
    dla: bool = False


DOCS = Path(__file__).resolve().parents[3] / "docs/estimate.md"
#: Batch, and whether the DLAs help.
OFFLINE = {"single": (1, False), "offline": (64, True)}
SIDES = {"resnet50": 224, "yolo11n": 640}
#: ResNet-50: NVIDIA's results in MLPerf Inference, edge: single-stream is the p90 of one picture; offline is the
#: rate of GPU and both DLAs, in batches. YOLO11n: Ultralytics' guide to NVIDIA Jetson, which does not say in which
#: mode the Orin NX ran, so it has to hold in both.
FIGURES = [
    Published("agx-orin-64gb", "MAXN", "resnet50", "int8", 0.640),
    Published("agx-orin-64gb", "MAXN", "resnet50", "int8", 1000 / 6424, 64, True),
    Published("orin-nx-16gb", "25W", "resnet50", "int8", 1.082),
    Published("orin-nx-16gb", "25W", "resnet50", "int8", 1000 / 2641, 64, True),
    Published("agx-xavier", "MAXN", "resnet50", "int8", 1.834),
    Published("xavier-nx", "MAXN", "resnet50", "int8", 2.437),
    Published("orin-nx-16gb", "25W", "yolo11n", "int8", 4.37),
    Published("orin-nx-16gb", "MAXN_SUPER", "yolo11n", "int8", 4.37),
    Published("orin-nano-8gb", "MAXN_SUPER", "yolo11n", "fp16", 4.91),
    Published("orin-nano-8gb", "MAXN_SUPER", "yolo11n", "int8", 3.91),
]


def floor_ms_of(drawn, figure):
    """The floor of one picture, milliseconds."""
    side = SIDES[figure.network]
    # MLPerf feeds int8, Ultralytics float32; nothing else of the networks depends on it.
    options = {"fed": "int8"} if figure.network == "resnet50" else {}
    path = drawn(figure.network, **options)
    network = read_network(path, {"image": (figure.batch, 3, side, side)})
    machine = machine_of_target(figure.target, dla=figure.dla)
    floor = floor_on(layers_of(network, figure.precision), machine.mode(figure.mode))
    assert floor.compulsory_s <= floor.seconds
    return 1e3 * floor.seconds / figure.batch


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f"{f.target}-{f.network}-{f.ms:.2f}ms")
def test_a_published_figure_is_above_its_floor_and_within_eight_times(drawn, figure):
    floor_ms = floor_ms_of(drawn, figure)
    assert floor_ms < figure.ms < 8 * floor_ms


def table():
    """The rows of the documentation's table, as the figures they are of and the two numbers they tell."""
    page = DOCS.read_text(encoding="utf-8")
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[5].replace(".", "").isdigit():
            target, mode = cells[0].split(", ")
            network, how = cells[1].split(", ")
            shown = Published(target, mode, network, cells[2], float(cells[4]), *OFFLINE[how])
            yield shown, cells[3], cells[5]


def test_the_documentation_shows_what_comes_out(drawn):
    shown = {figure: (floor, ratio) for figure, floor, ratio in table()}
    expected = {}
    for figure in FIGURES:
        floor_ms = floor_ms_of(drawn, figure)
        expected[figure._replace(ms=round(figure.ms, 3))] = (
            f"{floor_ms:.3f}",
            f"{figure.ms / floor_ms:.1f}",
        )
    assert shown == expected
