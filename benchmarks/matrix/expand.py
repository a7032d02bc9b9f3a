"""Lists of choices → their combinations → frozen instances, in the order that loads least anew.

What a bundle, a backend or this machine cannot do is found before anything is measured. Backends are asked in
a process of its own, so that no engine's library stays in the memory of the one that waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from edgevision import registry
from edgevision.backends import BackendOptions, Checks
from edgevision.benchmarks.instance import Instance
from edgevision.benchmarks.matrix.failure import error_data
from edgevision.benchmarks.plan import Plan
from edgevision.bundle import Bundle, open_bundle
from edgevision.choice import Choice, candidates
from edgevision.errors import BackendError, EdgevisionError, UsageError
from edgevision.shaping import check_batch, resized

__all__ = ["Resolved", "Wanted", "combinations", "in_order", "resolve_all"]

#: What has to be loaded or compiled anew when it changes, from the most to the least.
_LOADED = ("variant", "backend", "compute", "hint", "threads", "size", "batch")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One combination as it was asked for; None is whatever fits."""

    plan: Plan
    variant: str | None = None
    precision: str | None = None
    backend: str = "auto"
    compute: str | None = None
    batch: int | None = None
    size: tuple[int, int] | None = None
    threads: int = 0
    hint: str = "latency"

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, as an instance says it."""
        data = {key: value for key, value in asdict(self).items() if key != "plan"}
        size = None if self.size is None else list(self.size)
        told = {"scenario": self.plan.scenario, "inference_only": self.plan.inference_only}
        return {**data, "size": size, **told}

    def __str__(self) -> str:
        size = None if self.size is None else f"{self.size[0]}x{self.size[1]}"
        threads = self.threads and f"threads {self.threads}"
        batch = self.batch and f"batch {self.batch}"
        parts = (self.variant, self.precision, self.backend, self.compute, batch, size, threads)
        told = [str(part) for part in parts if part]
        return " · ".join([*told, self.hint, self.plan.scenario])


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of what was wanted.

    Attributes:
        name: Of the bundle.
        identity: Of the bundle.
        instances: What can be measured, with its plan, in the order to do it in.
        skipped: What cannot, each with the error that says why.
    """

    name: str
    identity: str
    instances: list[tuple[Instance, Plan]]
    skipped: list[tuple[Wanted, Mapping[str, str]]]


def combinations(axes: Mapping[str, Sequence[Any] | None], plans: Sequence[Plan]) -> list[Wanted]:
    """Every combination of the lists, one for each plan.

    Args:
        axes: Field of `Wanted` → its values; None or empty leaves it alone.
        plans: One a scenario.
    """
    given = {name: values for name, values in axes.items() if values}
    return [
        Wanted(plan, **dict(zip(given, values, strict=True)))
        for values in product(*given.values())
        for plan in plans
    ]


def resolve_all(
    path: str, wanted: Sequence[Wanted], others: Mapping[str, Any], *_: Any
) -> dict[str, Any]:
    """Asks the bundle and the backends about each combination; JSON-ready, for the parent.

    Raises:
        EdgevisionError: The bundle cannot be opened.
    """
    bundle = open_bundle(Path(path))
    found = [_answer(bundle, one, others) for one in wanted]
    return {"name": bundle.name, "identity": bundle.identity, "found": found}


def _answer(bundle: Bundle, wanted: Wanted, others: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"instance": _resolved(bundle, wanted, others).to_json()}
    except EdgevisionError as error:
        return {"error": error_data(error)}


def in_order(wanted: Sequence[Wanted], answer: Mapping[str, Any]) -> Resolved:
    """The parent's reading of `resolve_all`: no instance twice, those that share what is loaded together."""
    instances: dict[str, tuple[Instance, Plan]] = {}
    skipped: list[tuple[Wanted, Mapping[str, str]]] = []
    for one, found in zip(wanted, answer["found"], strict=True):
        if "error" in found:
            skipped.append((one, found["error"]))
            continue
        instance = Instance.from_json(found["instance"])
        same = instances.setdefault(instance.instance_id, (instance, one.plan))
        if same[0] is not instance:
            skipped.append((one, error_data(UsageError(f"it is the same as {same[0]}"))))
    return Resolved(
        answer["name"], answer["identity"], _least_reloads(list(instances.values())), skipped
    )


def _least_reloads(instances: list[tuple[Instance, Plan]]) -> list[tuple[Instance, Plan]]:
    """Those that share a variant together, within them those that share a backend, and so on."""
    first: dict[tuple[Any, ...], int] = {}

    def place(pair: tuple[Instance, Plan]) -> list[int]:
        values = tuple(getattr(pair[0], name) for name in _LOADED)
        return [first.setdefault(values[: n + 1], len(first)) for n in range(len(values))]

    places = {id(pair): place(pair) for pair in instances}
    return sorted(instances, key=lambda pair: places[id(pair)])


def _resolved(bundle: Bundle, wanted: Wanted, others: Mapping[str, Any]) -> Instance:
    """The first choice that nothing stands against.

    Raises:
        EdgevisionError: There is none; it says why not the best one.
    """
    folder = others.get("engine_dir")
    choices = candidates(
        bundle,
        variant=wanted.variant,
        precision=wanted.precision,
        backend=wanted.backend,
        compute=wanted.compute,
        engine_dir=None if folder is None else Path(folder),
    )
    first, *rest = choices
    try:
        return _frozen(first, wanted, others)
    except (BackendError, UsageError):
        for choice in rest:
            with suppress(BackendError, UsageError):
                return _frozen(choice, wanted, others)
        raise


def _frozen(choice: Choice, wanted: Wanted, others: Mapping[str, Any]) -> Instance:
    variant = choice.variant
    if wanted.precision not in (None, variant.precision):
        raise UsageError(f"{variant.id} is {variant.precision}, not {wanted.precision}")
    check_batch(variant, wanted.batch)
    variant = resized(variant, wanted.size)
    extra = {key: others[key] for key in ("engine_dir", "trust_engines") if others.get(key)}
    options = BackendOptions(wanted.hint, wanted.threads, choice.compute, extra)
    backend = registry.load("backends", choice.backend)()
    compute = choice.compute or variant.precision
    if isinstance(backend, Checks):
        compute = backend.check(variant, options)
    return Instance(
        variant.id,
        variant.precision,
        choice.backend,
        compute,
        wanted.batch,
        wanted.size,
        wanted.threads,
        wanted.hint,
        wanted.plan.scenario,
        wanted.plan.inference_only,
    )
