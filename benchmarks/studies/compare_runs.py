"""How often `edgevision compare` is right of whole runs, each of which has a level of its own.

    python benchmarks/studies/compare_runs.py [--draws 150] [--spread 1,2,4,6] [--runs 1:1,…] [--days 0]

Processes of the same thing lie in different places in memory, and find other clocks, temperatures and neighbours. So
each run here is calm within (2 % from query to query, 700 queries) and its level is drawn from a normal distribution:
`--spread` is its standard deviation in percent. With `--days` all runs of one side also share a level of that spread,
as runs do that were made in a row on one day, and those of the other side on another.

False alarms: of so many compares of the same thing, those in which any metric is said to be slower or faster. Gates:
those in which `--max-regression p50=5%,p99=5%,fps=3%` fails. Found: those in which a slowdown of every query of the new
side by `--planted` is said to be slower. Floor: the noise floor of the median, in the middle of all compares.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from edgevision.benchmarks.compare import apart
from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.gate import judge_all
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.benchmarks.compare.series import Series

QUERIES = 700
WITHIN = 0.02
#: Runs of the base and of the new side.
DESIGNS = "1:1,2:2,3:3,5:1,10:1,5:5"
GATE = {"p50": 0.05, "p99": 0.05, "fps": 0.03}
_METRICS = list(METRICS.values())


@dataclass(frozen=True, slots=True)
class Machine:
    """By how much levels vary, as standard deviations of natural logarithms: of runs, and of all runs of a side."""

    runs: float
    days: float

    def side(self, runs: int, slower: float, rng: np.random.Generator) -> list[Series]:
        """Runs of one thing, around 10 ms."""
        day = rng.normal(0, self.days)
        return [
            self._run(slower * math.exp(day + rng.normal(0, self.runs)), rng) for _ in range(runs)
        ]

    @staticmethod
    def _run(level: float, rng: np.random.Generator) -> Series:
        latency = 1e7 * level * np.exp(rng.normal(0, WITHIN, QUERIES))
        return Series(latency, latency)


def compared(
    machine: Machine, design: tuple[int, int], slower: float, rng: np.random.Generator
) -> list[Estimate]:
    """One comparison of runs apart from each other."""
    base, new = machine.side(design[0], 1.0, rng), machine.side(design[1], slower, rng)
    return apart.estimate_apart(base, new, _METRICS, rng)


def row(
    machine: Machine, design: tuple[int, int], planted: float, draws: int, rng: np.random.Generator
) -> tuple[int, int, int, float]:
    """False alarms, gates that failed, slowdowns found, and the median's floor."""
    same = [compared(machine, design, 1.0, rng) for _ in range(draws)]
    worse = [compared(machine, design, planted, rng) for _ in range(draws)]
    return (
        sum(any(e.verdict in ("slower", "faster") for e in one) for one in same),
        sum(any(r.outcome == "failed" for r in judge_all(one, GATE)) for one in same),
        sum(any(e.verdict == "slower" for e in one) for one in worse),
        math.expm1(float(np.median([one[0].floor for one in same]))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--spread", default="1,2,4,6", help="percent, joined by commas")
    parser.add_argument("--runs", default=DESIGNS, help="of the base : of the new side, …")
    parser.add_argument("--days", type=float, default=0.0, help="percent")
    parser.add_argument("--planted", type=float, default=1.05)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    apart._DRAWS = 200  # levels decide here, not the ends of the intervals
    designs = [
        (int(a), int(b)) for a, _, b in (one.partition(":") for one in arguments.runs.split(","))
    ]
    rng = np.random.default_rng(arguments.seed)
    print(f"of {arguments.draws} compares each; found: {arguments.planted - 1:+.0%}")
    print(
        f"{'spread':>8}{'runs':>8}{'false alarms':>14}{'gates':>8}{'found':>8}{'floor of p50':>14}"
    )
    for spread in map(float, arguments.spread.split(",")):
        machine = Machine(spread / 100, arguments.days / 100)
        for design in designs:
            false, gates, found, floor = row(
                machine, design, arguments.planted, arguments.draws, rng
            )
            runs = f"{design[0]} : {design[1]}"
            print(
                f"{spread:>6.0f} %{runs:>8}{false:>14}{gates:>8}{found:>8}{floor:>13.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
