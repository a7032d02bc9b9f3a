"""Machines for the sampler: file systems, each unpacked from one text file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.benchmarks.sampling.sensors import BaseSensor, Machine, open_sensors
from edgevision.benchmarks.sampling.timeline import Timeline

_MACHINES = Path(__file__).with_name("machines")


class Board:
    """A machine's files, which a test may change between two readings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        """Into the same file, as the kernel does it: whoever has it open sees it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def machine(self) -> Machine:
        return Machine(self.root, os.getpid())

    def sensor(self, name: str) -> BaseSensor:
        """One sensor, opened on its own."""
        found, missing = open_sensors(self.machine(), (name,))
        assert found, missing
        return found[0]

    def missing(self, name: str) -> dict[str, str]:
        """Why a sensor is not there."""
        found, missing = open_sensors(self.machine(), (name,))
        assert not found
        return missing


@pytest.fixture
def board(tmp_path: Path) -> Callable[[str], Board]:
    """``board("orin-nano")``: that machine, unpacked."""

    def unpack(name: str) -> Board:
        text = (_MACHINES / f"{name}.txt").read_text(encoding="utf-8")
        parts = re.split(r"^=== (\S+)\n", text, flags=re.MULTILINE)[1:]
        made = Board(tmp_path / name)
        for path, content in zip(parts[::2], parts[1::2], strict=True):
            made.write(path, content)
        return made

    return unpack


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``refused("energy_uj")``: files of that name may not be read, also not by root, who runs tests in containers."""

    def refuse(name: str) -> None:
        opened = os.open

        def open_unless_refused(path: str, *more: int, **named: int) -> int:
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, *more, **named)

        monkeypatch.setattr(os, "open", open_unless_refused)

    return refuse


@pytest.fixture
def planted() -> Callable[..., Timeline]:
    """Makes a timeline: times, series by name with a value for each; ``power`` is a list of lists of rails."""

    def make(
        times: list[float],
        series: dict[str, list[float | None]],
        *,
        power: list[list[str]] | None = None,
        interval_s: float = 0.1,
        jumps: list[tuple[float, float]] | None = None,
        missing: dict[str, str] | None = None,
    ) -> Timeline:
        assert all(len(values) == len(times) for values in series.values())
        return {
            "interval_s": interval_s,
            "counted_s": times[-1],
            "t_s": list(times),
            "series": {name: {"unit": "", "values": values} for name, values in series.items()},
            "missing": missing or {},
            "power": [
                {"source": f"sensor {n}", "rails": rails} for n, rails in enumerate(power or [])
            ],
            "wall_jumps": [{"t_s": t, "jump_s": jump} for t, jump in jumps or []],
            "sampler": {"cpu_percent": 0.5, "rss_mb": 14.0, "samples": len(times)},
        }

    return make
