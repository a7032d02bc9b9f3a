"""How far a build is, from the nested phases that TensorRT's progress monitor tells of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Phases"]

_WHOLE = 100


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """One share out of nested phases: each step of a phase holds the phases that begin during it.

    Args:
        tell: Told percent done, and 100. It never goes back.
        cancelled: Once it is set, `step` says so to TensorRT.
    """

    def __init__(self, tell: Callable[[int, int], None], cancelled: threading.Event) -> None:
        self._tell, self._cancelled = tell, cancelled
        self._open: dict[str, _Phase] = {}
        self._shown = -1
        self._lock = threading.Lock()  # TensorRT may call from several threads

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside ``parent``."""
        with self._lock:
            self._open[name] = _Phase(parent, max(steps, 1))
            self._show()

    def step(self, name: str, step: int) -> bool:
        """A step of a phase is done; False asks TensorRT to give up."""
        with self._lock:
            phase = self._open.get(name)
            if phase is not None:
                phase.done = min(step + 1, phase.steps)
            self._show()
        return not self._cancelled.is_set()

    def finish(self, name: str) -> None:
        """A phase is over."""
        with self._lock:
            self._open.pop(name, None)

    def _show(self) -> None:
        percent = min(int(self._share(None) * _WHOLE), _WHOLE - 1)
        if percent > self._shown:
            self._shown = percent
            self._tell(percent, _WHOLE)

    def _share(self, parent: str | None) -> float:
        inside = [(n, p) for n, p in self._open.items() if p.parent == parent]
        if not inside:
            return 0.0
        shares = [(p.done + self._share(n) * (p.done < p.steps)) / p.steps for n, p in inside]
        return min(max(shares), 1.0)
