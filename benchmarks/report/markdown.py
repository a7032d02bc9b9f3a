"""Records as Markdown, for a repository or a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgevision.benchmarks.report.rows import cells, distinct, ranked
from edgevision.benchmarks.report.table import common, notes
from edgevision.text import printable

__all__ = ["markdown_text"]

#: What Markdown would take for markup, or for HTML.
_MARKUP = re.compile(r"([\\`*_\[\]<>|#~&$])")


def markdown_text(
    records: Sequence[Mapping[str, Any]], title: str, skipped: Sequence[tuple[str, str]] = ()
) -> str:
    """A page: the table, what to know of its rows, what was left out, the machine, and what was timed.

    Args:
        records: At least one.
        title: The page's first line.
        skipped: What could not be measured, and why.
    """
    records = ranked(records)
    columns = distinct(records)
    rows = [cells(record, columns) for record in records]
    lines = [f"# {_plain(title)}", "", _plain(common(records)), ""]
    lines += _row(["#", *(column.title for column in columns)])
    lines += [
        "|"
        + "|".join(
            " ---: " if right else " --- "
            for right in [True, *(c.digits is not None for c in columns)]
        )
        + "|"
    ]
    for number, row in enumerate(rows, 1):
        lines += _row([str(number), *row])
    lines += _list("To know", [f"{which}: {text}" for which, text in notes(records)])
    lines += _list("Not measured", [f"{what}: {why}" for what, why in skipped])
    lines += _list("Timed", sorted({_boundary(record) for record in records}))
    lines += _list("Machine", _machines(records))
    return "\n".join(lines) + "\n"


def _row(texts: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(_plain(text) for text in texts) + " |"]


def _list(title: str, texts: Sequence[str]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {_plain(text)}" for text in texts)] if texts else []


def _boundary(record: Mapping[str, Any]) -> str:
    boundary = record["boundary"]
    if "timed" not in boundary:
        return str(boundary["kind"])
    return f"{boundary['kind']}: {boundary['timed']}. Not timed: {boundary['not_timed']}"


def _machines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a machine, or state of its software, that records were made on."""
    return list(dict.fromkeys(_machine(record["environment"]) for record in records))


def _machine(environment: Mapping[str, Any]) -> str:
    cpu, system = environment.get("cpu") or {}, environment.get("os") or {}
    libraries = environment.get("libraries") or {}
    cores = [str(cpu[key]) for key in ("cores_usable", "cores") if cpu.get(key) is not None]
    told = [
        environment.get("board"),
        cpu.get("name"),
        f"{' of '.join(cores)} cores" if cores else None,
        f"governor {', '.join(sorted(set(cpu['governor'])))}" if cpu.get("governor") else None,
        system.get("name"),
        system.get("kernel"),
        (environment.get("jetson") or {}).get("power_mode"),
        *(f"{name} {version}" for name, version in libraries.items() if version),
    ]
    return ", ".join(str(part) for part in told if part)


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text, 600))
