"""How busy all cores are, by ``/proc/stat`` (proc(5))."""

from __future__ import annotations

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import BaseSensor, Machine

__all__ = ["SERIES", "Sensor"]

SERIES = ("cpu_percent", "steal_percent")
#: user, nice, system, idle, iowait, irq, softirq, steal; guests' time behind them is in user's already.
_COUNTED = 8
_IDLE, _IOWAIT, _STEAL = 3, 4, 7


class Sensor(BaseSensor):
    """``cpu_percent``: 100 is all cores busy. ``steal_percent``: what a hypervisor gave to others meanwhile."""

    units = dict.fromkeys(SERIES, "% of all cores")

    def __init__(self, machine: Machine) -> None:
        self._file = opened(machine.root / "proc/stat", machine.root)
        self._before = self._ticks()

    def read(self) -> dict[str, float | None]:
        now = self._ticks()
        passed = [after - before for after, before in zip(now, self._before, strict=True)]
        total = sum(passed)
        if total <= 0:
            return {}
        self._before = now
        # Idle time may step back a little between two reads (proc(5)).
        idle = max(0, passed[_IDLE] + passed[_IOWAIT])
        return {
            "cpu_percent": 100 * max(0, total - idle) / total,
            "steal_percent": 100 * max(0, passed[_STEAL]) / total,
        }

    def _ticks(self) -> list[int]:
        fields = self._file.text().split("\n", 1)[0].split()[1 : 1 + _COUNTED]
        if len(fields) != _COUNTED:
            raise ValueError("/proc/stat does not begin with the sum over all cores")
        return [int(field) for field in fields]
