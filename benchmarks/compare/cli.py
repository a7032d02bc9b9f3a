"""The verb compare."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["compare"]


@click.command(context_settings={"show_default": False})
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--max-regression",
    metavar="p99=5%,fps=3%",
    help="Exit with 3 if one of these metrics got worse by more: p50, p90, p95, p99, p99.9, mean, fps.",
)
@click.option(
    "--allow-different",
    is_flag=True,
    help="Compare also INVALID records, and other models, machines or configurations; it will say so.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Markdown for a pull request.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def compare(
    base: Path,
    new: Path,
    max_regression: str | None,
    allow_different: bool,
    as_markdown: bool,
    as_json: bool,
) -> int:
    """Compare the records BASE and NEW: is the new one slower, and can that be told?

    Each is what bench wrote: one record, a matrix, a history (.jsonl; several runs of the same thing show how much
    they vary) or a report's folder. Configurations that both have are compared.

    Exit status: 0 done, 1 failed, 2 usage, 3 a regression beyond --max-regression that is real.
    """
    from edgevision.benchmarks.compare.gate import parse_limits
    from edgevision.benchmarks.compare.markdown import report_markdown
    from edgevision.benchmarks.compare.records import read_records
    from edgevision.benchmarks.compare.report_json import report_json
    from edgevision.benchmarks.compare.sides import compare_sides
    from edgevision.benchmarks.compare.text import report_text

    if as_markdown and as_json:
        raise click.UsageError("--markdown and --json: choose one of the two")
    limits = {} if max_regression is None else parse_limits(max_regression)
    report = compare_sides(
        read_records(base, _warn),
        read_records(new, _warn),
        names=(base.name, new.name) if base.name != new.name else (str(base), str(new)),
        limits=limits,
        allow_different=allow_different,
    )
    if as_json:
        click.echo(json.dumps(report_json(report), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(
            report_markdown(report) if as_markdown else report_text(report), nl=not as_markdown
        )
    return report.exit_status


def _warn(text: str) -> None:
    click.echo(text, err=True)
