"""Numbers as people read them: enough digits to compare, no more, and a dash where there is none."""

from __future__ import annotations

__all__ = ["NONE", "bare", "digits", "percent", "quantity"]

NONE = "—"


def digits(value: float) -> str:
    """About four significant digits, never an exponent: ``0.0123``, ``1.235``, ``98.76``, ``12,346``."""
    size = abs(value)
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    if 0 < size < 0.1:
        places = 4
    return f"{value:,.{places}f}"


def bare(value: float | None) -> str:
    """A number for a column whose head has the unit."""
    return NONE if value is None else digits(value)


def quantity(value: float | None, unit: str) -> str:
    """``12.35 ms``, with a space that does not break."""
    return NONE if value is None else f"{digits(value)}\u00a0{unit}"


def percent(share: float) -> str:
    """A share from 0 to 1: ``93.3 %``."""
    return f"{100 * share:.1f}\u00a0%"
