"""Options of ``bench --vs``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = ["VS", "bench_in_turns", "vs_asked", "vs_options"]

#: The parameters, by name.
VS = ("vs", "vs_variant", "vs_backend", "vs_compute", "max_regression")
#: Two models at a time, and often on a noisy machine: it takes longer than one alone.
_DURATION_S = 60.0


def vs_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds them to a command."""
    options = [
        click.option(
            "--vs",
            type=click.Path(path_type=Path),
            metavar="MODEL",
            help="Compare with this one: short blocks of both take turns, so that noise hits both. --report DIR then "
            f"holds both records and the comparison; --duration is {_DURATION_S:g} s of both together.",
        ),
        click.option("--vs-variant", metavar="ID", help="The other one's variant."),
        click.option("--vs-backend", metavar="B", help="The other one's backend."),
        click.option("--vs-compute", metavar="P", help="Precision that the other one executes in."),
        click.option(
            "--max-regression",
            metavar="p99=5%,fps=3%",
            help="With --vs: exit with 3 if the other one is really worse by more.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def vs_asked(given: Mapping[str, Any]) -> bool:
    """Whether two are to take turns.

    Raises:
        click.UsageError: A bound is set, and there is nothing to compare with.
    """
    two = any(given[name] is not None for name in VS[:-1])
    if given["max_regression"] is not None and not two:
        raise click.UsageError("--max-regression needs another model to compare with: --vs MODEL")
    return two


def bench_in_turns(
    model: Path,
    source: str | None,
    plans: list[Any],
    axes: Mapping[str, Any],
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    places: tuple[Path | None, Path | None],
    *,
    force: bool,
    as_json: bool,
) -> int:
    """Runs ``bench MODEL --vs OTHER``; returns the exit status.

    Args:
        model: The base.
        source: URI of the frames; None is the base's golden frames.
        plans: One a scenario.
        axes: Option → its values.
        options: Further choices of `edgevision.model.open_model`.
        given: The parameters in `VS`.
        places: Where the comparison's JSON and the folder of all files go.
        force: Whether files that exist may be overwritten.
        as_json: Whether the comparison is shown as JSON.

    Raises:
        click.UsageError: Several configurations were asked for.
    """
    from dataclasses import replace

    from edgevision.benchmarks.compare.gate import parse_limits
    from edgevision.benchmarks.compare.vs import Duel, bench_vs

    if len(plans) > 1 or any(len(values or ()) > 1 for values in axes.values()):
        raise click.UsageError("--vs compares one configuration with one other")
    plan, context = plans[0], click.get_current_context()
    if context.get_parameter_source("duration") is click.core.ParameterSource.DEFAULT:
        plan = replace(plan, duration_s=_DURATION_S)
    others = {
        name: given[f"vs_{name}"]
        for name in ("variant", "backend", "compute")
        if given[f"vs_{name}"] is not None
    }
    single = {name: values[0] if values else None for name, values in axes.items()}
    duel = Duel(
        base=model,
        new=given["vs"] or model,
        source=source,
        plan=plan,
        choices={**single, **options},
        new_choices=others,
        limits={} if given["max_regression"] is None else parse_limits(given["max_regression"]),
        output=places[0],
        report=places[1],
        force=force,
    )
    return bench_vs(duel, as_json=as_json)
