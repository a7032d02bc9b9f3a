"""Ways to send work to a model, each of which returns what every single query took.

What is measured is what ships: the pipeline's own stamps, while it runs as it does for ``run``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.camera import camera
from edgevision.benchmarks.scenarios.driving import Call
from edgevision.benchmarks.scenarios.inference_only import engine_alone
from edgevision.benchmarks.scenarios.measurement import MakeSource, Measurement, Tell
from edgevision.benchmarks.scenarios.multi_stream import multi_stream
from edgevision.benchmarks.scenarios.offline import counted, offline
from edgevision.benchmarks.scenarios.server import server
from edgevision.benchmarks.scenarios.single_stream import judged, single_stream
from edgevision.benchmarks.terms import StopSign
from edgevision.model import Model

__all__ = ["SCENARIOS", "MakeSource", "Measurement", "Scenario", "Tell"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to send work.

    Attributes:
        end_to_end: Drives the shipping pipeline over the source.
        alone: Drives the engine alone; None where that makes no sense.
    """

    end_to_end: Callable[[Call], Measurement]
    alone: Callable[[Call], Measurement] | None = None

    def run(
        self,
        model: Model,
        make_source: MakeSource,
        plan: Plan,
        stop: StopSign,
        tell: Tell | None = None,
    ) -> Measurement:
        """Runs a plan on an open model; a `Plan` asks for the engine alone only where that can be had.

        Raises:
            EdgevisionError: The model or the source failed before the first query; later it makes
                the run invalid.
        """
        chosen = self.alone if plan.inference_only and self.alone else self.end_to_end
        return chosen(Call(model, make_source, plan, stop, tell))


def _alone_judged(call: Call) -> Measurement:
    return judged(call, engine_alone(call))


def _alone_counted(call: Call) -> Measurement:
    return counted(engine_alone(call))


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "single-stream": Scenario(single_stream, _alone_judged),
        "multi-stream": Scenario(multi_stream, _alone_judged),
        "server": Scenario(server),
        "offline": Scenario(offline, _alone_counted),
        "camera": Scenario(camera),
    }
)
