"""Run passes over a graph: each says when it applies and what it did, and is undone where it does harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from edgevision.converters.graph.index import bodies, captured
from edgevision.errors import EdgevisionError, ModelError

__all__ = ["Outcome", "Pass", "PassError", "run_passes"]


class PassError(Exception):
    """Raised by a pass that cannot do what it is for; the message says why."""


class Pass:
    """One change to a graph.

    Attributes:
        name: What it is about, for people: ``batch norms``.
        indispensable: The model is of no use without it, so a fault in it is an error; any other
            pass is undone.
    """

    name = ""
    indispensable = False

    def obstacle(self, model: onnx.ModelProto) -> str | None:  # noqa: ARG002 - for those who ask
        """Why there is nothing to do for this model, or None."""
        return None

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """The changed model, which may be ``model`` itself, and a sentence for each change."""
        raise NotImplementedError

    def broken(self, model: onnx.ModelProto) -> str | None:  # noqa: ARG002
        """What the changed model should have, and has not; or None."""
        return None

    def undone(self, reason: str) -> str:
        """The sentence that says so, if it was undone."""
        return f"left out a pass ({self.name}): {reason}"

    def error(self, reason: str) -> ModelError:
        """What the user is told if this pass is indispensable and at fault."""
        return ModelError(
            f"cleaning went wrong at: {self.name}",
            received=reason,
            hint="this is a fault in edgevision: please report it with the model",
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a model.

    Attributes:
        model: The changed model.
        changes: A sentence for each change, and for each pass that was undone.
        undone: Name of each pass that was undone → why.
        idle: Name of each pass with nothing to do → why.
    """

    model: onnx.ModelProto
    changes: list[str] = field(default_factory=list)
    undone: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)


class _FaultError(Exception):  # never leaves this file
    def __init__(self, at: Pass, reason: str) -> None:
        super().__init__(reason)
        self.at, self.reason = at, reason


def run_passes(
    model: onnx.ModelProto,
    passes: Sequence[Pass],
    fault: Callable[[onnx.ModelProto], str | None] = lambda _: None,
) -> Outcome:
    """Apply ``passes`` in their order, without those that do harm.

    A pass does harm if it fails, leaves a graph that is not wired up, breaks its own promise, or
    brings on a ``fault``. Undoing it means to start again without it. ``fault`` is asked once, at
    the end; only where it finds something are the passes halved until the guilty one is found.

    Args:
        model: Not changed.
        passes: Their names are unique.
        fault: What is wrong with a changed model, or None; the model given has none.

    Raises:
        ModelError: An indispensable pass does harm.
    """
    undone: dict[str, str] = {}
    while True:
        found = _judged(model, passes, undone, fault)
        if isinstance(found, Outcome):
            return found
        if found.at.indispensable:
            raise found.at.error(found.reason) from found.__cause__
        undone[found.at.name] = found.reason


def _judged(
    model: onnx.ModelProto,
    passes: Sequence[Pass],
    undone: Mapping[str, str],
    fault: Callable[[onnx.ModelProto], str | None],
) -> Outcome | _FaultError:
    """What the passes that are not undone make of the model, or which of them is at fault."""
    try:
        outcome = _attempt(model, passes, undone)
        reason = fault(outcome.model)
        if reason is None:
            return outcome
        return _FaultError(_guilty(model, passes, undone, fault), reason)
    except _FaultError as found:
        return found


def _attempt(model: onnx.ModelProto, passes: Sequence[Pass], undone: Mapping[str, str]) -> Outcome:
    work = onnx.ModelProto()
    work.CopyFrom(model)
    changes: list[str] = []
    idle: dict[str, str] = {}
    for each in passes:
        if each.name in undone:
            changes.append(each.undone(undone[each.name]))
            continue
        obstacle = each.obstacle(work)
        if obstacle is not None:
            idle[each.name] = obstacle
            continue
        work, sentences = _applied(each, work)
        changes += sentences
    return Outcome(work, changes, dict(undone), idle)


def _applied(each: Pass, work: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    try:
        changed, sentences = each.change(work)
        reason = each.broken(changed) or next(_loose_ends(changed.graph), None)
    except PassError as exc:
        raise _FaultError(each, str(exc)) from exc
    except EdgevisionError as exc:
        if each.indispensable:
            raise  # it says better than we could what is wrong with the model
        raise _FaultError(each, str(exc).splitlines()[0]) from exc
    except Exception as exc:  # whatever a pass cannot cope with, the model can do without it
        raise _FaultError(
            each, f"{type(exc).__name__}: {' '.join(str(exc).split())[:200]}"
        ) from exc
    if reason is not None:
        raise _FaultError(each, reason)
    return changed, sentences


def _guilty(
    model: onnx.ModelProto,
    passes: Sequence[Pass],
    undone: Mapping[str, str],
    fault: Callable[[onnx.ModelProto], str | None],
) -> Pass:
    """The pass that brings the fault on: enabled one after the other, it is the first to do so.

    The indispensable ones are enabled first, the last of them before the others: it declares what
    they use.
    """
    needed = [p for p in reversed(passes) if p.indispensable]
    order = [*needed, *(p for p in passes if not p.indispensable and p.name not in undone)]
    good, bad = 0, len(order)
    while bad - good > 1:
        middle = (good + bad) // 2
        enabled = {p.name for p in order[:middle]}
        part = [p for p in passes if p.name in enabled]
        if fault(_attempt(model, part, undone).model) is None:
            good = middle
        else:
            bad = middle
    return order[bad - 1]


def _loose_ends(graph: onnx.GraphProto) -> Iterator[str]:
    """What is read before it is made, or made twice."""
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {""}
    known |= {t.values.name for t in graph.sparse_initializer}
    local = {name for node in graph.node for body in bodies(node) for name in _own(body)}
    for node in graph.node:
        inside = [n for n in captured(node) if n not in local]
        yield from (
            f"{n!r} is read before it is made" for n in [*node.input, *inside] if n not in known
        )
        yield from (f"{n!r} is made twice" for n in node.output if n and n in known)
        known.update(node.output)
    yield from (f"nothing makes the output {v.name!r}" for v in graph.output if v.name not in known)


def _own(body: onnx.GraphProto) -> Iterator[str]:
    """Names that a body defines itself, those of bodies in it included."""
    yield from (v.name for v in body.input)
    yield from (t.name for t in body.initializer)
    for node in body.node:
        yield from node.output
        for inner in bodies(node):
            yield from _own(inner)
