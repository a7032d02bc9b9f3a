"""Versions as numbers that can be compared."""

from __future__ import annotations

import re

__all__ = ["parsed"]


def parsed(version: str) -> tuple[int, ...]:
    """``"10.3.0.30-1+cuda12.5"`` → ``(10, 3, 0, 30)``; what is no number ends it."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()
