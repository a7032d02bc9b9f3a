"""What is alive, and what a caller got wrong; both are written to a file when the program ends."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["Counted", "before_the_end", "live", "violation", "violations"]

violations: list[str] = []
#: Objects that are alive, by kind.
live = {"runtime": 0, "engine": 0, "context": 0}
#: Called before the report is written.
before_the_end: list[Callable[[], None]] = []


def violation(text: str) -> None:
    """Notes what the real library forbids, or answers with undefined behaviour."""
    violations.append(text)


class Counted:
    """An object that is counted while it is alive."""

    _kind = ""

    def _born(self) -> None:
        live[self._kind] += 1

    def _dead(self) -> None:
        live[self._kind] -= 1


def _report() -> None:
    for step in before_the_end:
        step()
    path = os.environ.get("EMULATED_TENSORRT_REPORT")
    if path:
        Path(path).write_text(json.dumps({"violations": violations, "live": live}))


atexit.register(_report)
