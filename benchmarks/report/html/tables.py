"""Tables that scroll sideways on a narrow screen and are read out well."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.figures import NONE
from edgevision.benchmarks.report.html.markup import Markup, element

__all__ = ["linked", "pairs", "row_head", "swatch", "table"]


def swatch(entry: Entry) -> Markup:
    """Number and colour of a record, as its lines have them."""
    return element("b", entry.tag, class_=f"tag {entry.kind}")


def linked(entry: Entry) -> Markup:
    """Its name, leading to its own part of the page if it has one."""
    href = f"#run{entry.number}" if entry.drawn else None
    return element("a", entry.name, href=href)


def row_head(entry: Entry) -> Markup:
    """A record's number and name, with a link to its own part of the page."""
    verdict = element("small", entry.label, class_=f"badge {entry.verdict}")
    return element(
        "span", swatch(entry), " ", linked(entry), " ", verdict if entry.reason else None
    )


def table(
    caption: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wide: int | None = None,
    silent: bool = False,
) -> Markup:
    """A table; the first cell of a row is its head.

    Args:
        caption: What it shows.
        heads: One for each column.
        rows: Text or `Markup`; a column in which every cell begins like a number is set as one.
        wide: The column that takes the room that is left.
        silent: The caption is for those who listen: a heading says the same to those who look.
    """
    kinds = [_kind(n, [row[n] for row in rows], wide) for n in range(len(heads))]
    top = [
        element("th", head, scope="col", class_=kind)
        for head, kind in zip(heads, kinds, strict=True)
    ]
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(
                element("td", cell, class_=kind)
                for cell, kind in zip(row[1:], kinds[1:], strict=True)
            ),
        )
        for row in rows
    ]
    whole = element(
        "table",
        element("caption", caption, class_="silent" if silent else None),
        element("thead", element("tr", *top)),
        element("tbody", *body),
    )
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_label=caption)


def pairs(items: Sequence[tuple[str, str]]) -> Markup:
    """Names and what they are."""
    return element(
        "dl",
        *(part for name, value in items for part in (element("dt", name), element("dd", value))),
    )


def _kind(column: int, cells: Sequence[str], wide: int | None) -> str | None:
    if column == wide:
        return "wide"
    numbers = column > 0 and all(
        cell[:1].isdigit() or cell[:1] in ("", "−", NONE) for cell in cells
    )
    return "number" if numbers and any(cells) else None
