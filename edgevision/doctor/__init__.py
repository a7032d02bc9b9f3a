"""`edgevision doctor`: is everything here that edgevision needs, and if not, which command mends it.

A **probe** is one file with a function ``probe(machine) -> Finding``; the table in `checkup` lists them. Probes read
files below ``machine.root`` and the answers of libraries, which were asked in processes of their own (`ask`).
They change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "Remark"]


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to mend or to better.

    Attributes:
        text: What is wrong, on one line.
        fix: The command, or commands on lines of their own, that mend it.
        advice: It works as it is, but could be better; no reason to fail.
    """

    text: str
    fix: str
    advice: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Attributes:
        summary: For people, on one line.
        facts: JSON-ready; None for what is not told.
        remarks: What to do about it.
        present: False for what is neither here nor needed.
        known: False if the probe could not find out.
    """

    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    present: bool = True
    known: bool = True

    @property
    def state(self) -> str:
        """``problem``, ``advice``, ``unknown``, ``none`` or ``ok``, the worst that holds."""
        if any(not remark.advice for remark in self.remarks):
            return "problem"
        if self.remarks:
            return "advice"
        if not self.known:
            return "unknown"
        return "ok" if self.present else "none"
