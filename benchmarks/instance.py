"""One configuration, frozen: the choices that make two measurements comparable or not, and their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgevision.bundle import canonical_json
from edgevision.text import redacted

if TYPE_CHECKING:
    from edgevision.benchmarks.terms import Plan
    from edgevision.model import Model

__all__ = ["Instance", "of_model", "plan_data", "request_id"]

_DIGITS = 12
_TERMS = ("duration_s", "min_queries", "warmup", "percentile")
#: Choices of `edgevision.model.open_model` that are no part of an instance, and change what is measured.
_OTHER_CHOICES = ("classes", "engine_dir", "iou", "score")


@dataclass(frozen=True, slots=True)
class Instance:
    """What is measured, all choices made.

    Attributes:
        variant: Id of the variant.
        precision: Of its graph.
        backend: Registry name, never ``auto``.
        compute: Precision that the backend is asked to execute in.
        batch: Rows of the input; None is the model's own.
        size: Height and width of the input; None is the model's own.
        threads: CPU threads asked for; 0 is every core.
        hint: ``latency`` or ``throughput``.
        scenario: How work is sent.
        inference_only: Whether only the engine is timed.
    """

    variant: str
    precision: str
    backend: str
    compute: str
    batch: int | None = None
    size: tuple[int, int] | None = None
    threads: int = 0
    hint: str = "latency"
    scenario: str = "single-stream"
    inference_only: bool = False

    @property
    def instance_id(self) -> str:
        """12 hexadecimal digits of the SHA-256 of the choices as canonical JSON."""
        return _digest(self._choices())

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, with the ``instance_id``."""
        return {**self._choices(), "instance_id": self.instance_id}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Instance:
        """The inverse of `to_json`."""
        known = {name: data[name] for name in cls.__slots__}
        size = known["size"]
        return cls(**{**known, "size": None if size is None else tuple(size)})

    def __str__(self) -> str:
        """Its choices in one line, those left alone left out."""
        parts = [self.variant, self.backend]
        if self.compute != self.precision:
            parts.append(self.compute)
        if self.batch is not None:
            parts.append(f"batch {self.batch}")
        if self.size is not None:
            parts.append(f"{self.size[0]}x{self.size[1]}")
        if self.threads:
            parts.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        scenario = self.scenario + ("-inference-only" if self.inference_only else "")
        return " · ".join([*parts, self.hint, scenario])

    def _choices(self) -> dict[str, Any]:
        data = asdict(self)
        return {**data, "size": None if self.size is None else list(self.size)}


def of_model(model: Model, plan: Plan, choices: Mapping[str, Any]) -> Instance:
    """The instance that an open model is, whoever chose its parts."""
    variant, compute = model.variant, model.choice.compute
    if compute is None:
        # Of an int8 graph what is asked for is int8, whatever the engine then makes of it. An engine that
        # computes nothing says so in words.
        told = model.executed.compute
        compute = variant.precision if variant.precision == "int8" or " " in told else told
    size = choices.get("size")
    return Instance(
        variant.id,
        variant.precision,
        model.backend,
        compute,
        choices.get("batch"),
        None if size is None else (int(size[0]), int(size[1])),
        choices.get("threads", 0),
        choices.get("hint", "latency"),
        plan.scenario,
        plan.inference_only,
    )


def plan_data(plan: Plan) -> dict[str, Any]:
    """The terms that every scenario has, JSON-ready."""
    return {name: getattr(plan, name) for name in _TERMS}


def request_id(
    instance: Mapping[str, Any],
    plan: Plan,
    source: str | None,
    identity: str,
    choices: Mapping[str, Any],
) -> str:
    """The same for two runs that were asked the same of the same bundle.

    Args:
        instance: As `Instance.to_json` gives it.
        plan: What to run.
        source: URI of the frames; None is the bundle's golden ones.
        identity: Of the bundle.
        choices: What `edgevision.model.open_model` took.
    """
    others = {name: _plain(choices.get(name)) for name in _OTHER_CHOICES}
    return _digest(
        {
            "instance": dict(instance),
            "plan": {**plan_data(plan), **plan.options()},
            "source": None if source is None else redacted(source),
            "bundle": identity,
            "options": others,
        }
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | list) else str(value)


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(data)).hexdigest()[:_DIGITS]
