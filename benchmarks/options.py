"""The options of ``bench``. Several values of one are joined by commas: all combinations are measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgevision.benchmarks.plan import Plan

    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType

__all__ = ["AXES", "Listed", "Size", "matrix_options", "plans_of", "scenario_options"]

#: The options that expand to a matrix besides the scenario, by parameter.
AXES = (
    "variant",
    "precision",
    "backend",
    "compute",
    "batch",
    "size",
    "threads",
    "hint",
)
_LARGEST_SIDE = 16384
_LARGEST_BATCH = 1024
_MOST_THREADS = 256


class Size(_Type):
    """``HxW``, or one number for both, as ``(height, width)``."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,5})(?:[x×X](\d{1,5}))?", str(value))
        if found is None:
            self.fail(f"{value!r} is no size: height x width, such as 480x640, or 640", param, ctx)
        height, width = int(found[1]), int(found[2] or found[1])
        if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
            self.fail(f"a side is 1 to {_LARGEST_SIDE} pixels", param, ctx)
        return height, width


class _Scenario(_Type):
    """The name of a scenario; what there is is imported only when one is named."""

    name = "scenario"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from edgevision.benchmarks.plan import SCENARIO_NAMES

        if value not in SCENARIO_NAMES:
            self.fail(f"{value!r} is none of {', '.join(SCENARIO_NAMES)}", param, ctx)
        return str(value)


class Listed(_Type):
    """Values of one type, joined by commas, as a tuple without repeats.

    Args:
        kind: The type of each value.
    """

    def __init__(self, kind: _Type) -> None:
        self.kind = kind
        self.name = f"{kind.name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(parts):
            self.fail(
                f"{value!r} has an empty part: values are joined by single commas", param, ctx
            )
        return tuple(dict.fromkeys(self.kind.convert(part, param, ctx) for part in parts))


def matrix_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What runs and how, each option a list; the result's options come from `edgevision.commands`."""
    text = Listed(click.STRING)
    options = [
        click.option("--precision", type=text, help="Variants of this precision: fp32, int8, …"),
        click.option("--variant", type=text, help="The variant with this id."),
        click.option(
            "--backend", type=text, default="auto", show_default=True, help="Engine: auto, ort, …"
        ),
        click.option(
            "--compute",
            type=text,
            help="Precision to really execute in, where the engine has a choice.",
        ),
        click.option(
            "--batch",
            type=Listed(click.IntRange(1, _LARGEST_BATCH)),
            metavar="N",
            help="Rows of the input, where the model leaves them open.",
        ),
        click.option(
            "--size",
            type=Listed(Size()),
            metavar="HxW",
            help="Size of the input, where the model leaves it open.",
        ),
        click.option(
            "--threads",
            type=Listed(click.IntRange(0, _MOST_THREADS)),
            default="0",
            metavar="N",
            help="CPU threads; 0 is every core.",
        ),
        click.option(
            "--hint",
            type=Listed(click.Choice(["latency", "throughput"])),
            default="latency",
            show_default=True,
            metavar="latency|throughput",
            help="One inference on all threads, or several at once on one thread each.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def scenario_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How work is sent, how much of it, and what single scenarios are told."""
    options = [
        click.option(
            "--scenario",
            type=Listed(_Scenario()),
            default="single-stream",
            show_default=True,
            metavar="NAME",
            help="How work is sent: single-stream, multi-stream, server, offline or camera.",
        ),
        click.option(
            "--inference-only", is_flag=True, help="Time only the engine, on one loaded frame."
        ),
        click.option(
            "--duration",
            type=click.FloatRange(0),
            default=10.0,
            show_default=True,
            metavar="S",
            help="Run for at least so many seconds …",
        ),
        click.option(
            "--min-queries",
            type=click.IntRange(1),
            metavar="N",
            help="… and at least so many queries: 100, or what the scenario's percentile needs.",
        ),
        click.option(
            "--warmup",
            type=click.IntRange(0),
            default=10,
            show_default=True,
            metavar="N",
            help="Queries that come first and are not counted.",
        ),
        click.option(
            "--cooldown",
            type=click.IntRange(0),
            metavar="N",
            help="Queries that come last and are not counted.",
        ),
        click.option(
            "--samples-per-query",
            type=int,
            metavar="N",
            help="multi-stream: frames in a query (8).",
        ),
        click.option(
            "--target-qps",
            type=float,
            metavar="F",
            help="server: arrivals a second; left out: the highest rate that is valid is searched.",
        ),
        click.option(
            "--latency-bound",
            "latency_bound_ms",
            type=float,
            metavar="MS",
            help="server: what the p99 must not exceed.",
        ),
        click.option("--seed", type=int, metavar="N", help="server, camera: of the arrivals (1)."),
        click.option(
            "--fps", type=float, metavar="F", help="camera: frames a second of each (30)."
        ),
        click.option("--cameras", type=int, metavar="N", help="camera: how many of them (1)."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def plans_of(
    scenarios: Sequence[str], inference_only: bool, given: Mapping[str, Any]
) -> list[Plan]:
    """A plan for each scenario; an option that only some of them understand goes to those.

    Raises:
        UsageError: A plan cannot be run, or no scenario understands an option.
    """
    from edgevision.benchmarks.plan import OPTIONS, Plan

    known = {name for scenario in scenarios for name in OPTIONS[scenario]}
    others = {name for options in OPTIONS.values() for name in options} - known
    return [
        Plan.of(
            scenario,
            inference_only=inference_only,
            **{
                name: value
                for name, value in given.items()
                # One that belongs to none of them is refused by the plan itself.
                if name in others or name not in known or name in OPTIONS[scenario]
            },
        )
        for scenario in scenarios
    ]
