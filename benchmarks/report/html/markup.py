"""HTML that is safe by construction: what is no `Markup` is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Markup", "element", "joined"]

#: Elements that have no content and no end.
_VOID = frozenset({"meta", "input", "br", "col"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """One element. A child that is plain text is escaped; None is left out.

    Args:
        name: The tag's name.
        children: Text or `Markup`.
        attributes: A trailing ``_`` is dropped (``class_``), any other becomes ``-``
            (``aria_label``). None and False leave the attribute out, True gives it no value.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in _VOID:
        return Markup(start)
    return Markup(f"{start}{joined(children)}</{name}>")


def joined(parts: Iterable[str | None]) -> Markup:
    """Parts one after the other, each escaped if it is plain text."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else escape(part) for part in parts if part is not None
        )
    )


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    return f' {key}="{escape(f"{value:g}" if isinstance(value, float) else str(value))}"'
