"""Lines for a terminal: at most 100 columns, foreign text made safe to show."""

from __future__ import annotations

import textwrap

from edgevision.text import printable

__all__ = ["WIDTH", "named", "wrapped"]

WIDTH = 100
#: Characters of one text: what is longer is in the record.
_LONGEST = 600


def wrapped(text: str, first: str = "", *, hang: int = 4) -> list[str]:
    """A text as lines.

    Args:
        text: Any.
        first: Stands before the first line; the others begin below the text behind it.
        hang: Where the others begin if there is no ``first``.
    """
    return textwrap.wrap(
        printable(text, _LONGEST),
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * (len(first) or hang),
        break_on_hyphens=False,
    )


def named(name: str, text: str, column: int) -> list[str]:
    """A name, and beside it, from that column on, a text; the name alone if there is none."""
    return wrapped(text, f"{name:<{column}}") or [name]
