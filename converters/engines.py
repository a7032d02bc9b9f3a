"""Proves the variants in every other engine that this machine can run, so that ``auto`` may choose it."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.choice import unsound
from edgevision.converters.conversion import Engine, Made
from edgevision.converters.judge import Judge
from edgevision.converters.prove import load
from edgevision.errors import BackendError, UsageError
from edgevision.model import Model

__all__ = ["open_engine", "other_engines"]

#: Engine, and the precisions that it may execute a graph of each precision in.
_WAYS = (("openvino", "fp32", ("fp32", "bf16")), ("openvino", "int8", ("int8",)))


def other_engines(made: Sequence[Made], judge: Judge) -> list[Engine]:
    """Every (variant, engine, precision) besides onnxruntime that opens here, with its agreement with fp32.

    An engine that is not installed, that the processor is no match for or that refuses the model is left
    out: nothing was asked of it. One that disagrees is listed with its verdict.

    Args:
        made: fp32 first; variants written for another kind of machine are not tried.
        judge: Gives the verdicts.
    """
    if not judge.decides:
        return []
    found = []
    for variant, backend, compute in _triples(made):
        engine = Engine(variant.variant.id, backend, compute)
        try:
            candidate = judge.load(variant.variant, backend=backend, compute=compute)
        except (BackendError, UsageError):  # DependencyError is one of them
            continue
        with candidate:
            engine.proof = judge.prove(candidate, f"{engine.name}: proving")
        found.append(engine)
    return found


def open_engine(engine: Engine, made: Made) -> Model:
    """The variant in that engine.

    Raises:
        BackendError: The engine is not installed, or refuses the model.
        UsageError: It cannot execute in that precision here.
    """
    return load(made.variant, backend=engine.backend, compute=engine.compute)


def _triples(made: Sequence[Made]) -> list[tuple[Made, str, str]]:
    return [
        (one, backend, compute)
        for one in made
        for backend, precision, computes in _WAYS
        for compute in computes
        if one.variant.precision == precision
        and one.verdict in ("pass", "reference")
        and not one.for_gpus
        and not unsound(one.variant)
    ]
