"""Matches the classes of labelled data with a model's, by name."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from edgevision.errors import DataError
from edgevision.text import printable

__all__ = ["known_names", "match_names"]

_SHOWN = 5


def match_names(names: Iterable[str], labels: Sequence[str], where: str) -> dict[str, int]:
    """The model's class id for each name.

    A name is a label's when they are equal, else when they are but for case, spaces, ``_`` and ``-``.

    Args:
        names: Of the classes of the data that have something labelled.
        labels: The model's, by class id.
        where: What holds the names, for the message.

    Raises:
        DataError: A name is no label or could be several; the message has the closest labels.
    """
    candidates = _candidates(names, labels)
    wrong = [_described(name, ids, labels) for name, ids in candidates.items() if len(ids) != 1]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(
            f"{where}: classes of the data that the model does not have: {len(wrong)}",
            received="; ".join(wrong[:_SHOWN]) + more,
            expected=_some(labels),
            hint="rename the classes of the data, or give the model's names with --labels",
        )
    found = {name: ids[0] for name, ids in candidates.items()}
    _refuse_two_of_one(found, labels, where)
    return found


def known_names(names: Iterable[str], labels: Sequence[str]) -> frozenset[int]:
    """The model's class ids of those names that match exactly one label; others are left out."""
    found = _candidates(names, labels).values()
    return frozenset(ids[0] for ids in found if len(ids) == 1)


def _candidates(names: Iterable[str], labels: Sequence[str]) -> dict[str, list[int]]:
    """Name → class ids of the labels that it could be."""
    exact, alike = _table(labels, str), _table(labels, _plain)
    return {name: exact.get(name) or alike.get(_plain(name), []) for name in dict.fromkeys(names)}


def _refuse_two_of_one(found: dict[str, int], labels: Sequence[str], where: str) -> None:
    """Two names of the data for one label: spelled differently, so perhaps they were meant to differ."""
    times = Counter(found.values())
    for class_id, count in times.items():
        if count > 1:
            names = ", ".join(repr(printable(n, 40)) for n, i in found.items() if i == class_id)
            raise DataError(
                f"{where}: several classes of the data match one label of the model",
                received=names,
                expected=f"one class for {printable(labels[class_id], 40)!r}",
                hint="rename or merge them",
            )


def _table(labels: Sequence[str], key: Callable[[str], str]) -> dict[str, list[int]]:
    table: dict[str, list[int]] = {}
    for class_id, label in enumerate(labels):
        table.setdefault(key(label), []).append(class_id)
    return table


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold()


def _described(name: str, ids: Sequence[int], labels: Sequence[str]) -> str:
    shown = repr(printable(name, 40))
    if ids:
        return f"{shown} (the model has it {len(ids)} times)"
    spelled = {_plain(label): label for label in labels}
    close = difflib.get_close_matches(_plain(name)[:100], spelled, n=2, cutoff=0.5)
    near = " or ".join(repr(printable(spelled[key], 40)) for key in close)
    return f"{shown} (closest: {near})" if near else shown


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(printable(label, 40) for label in labels[:10])
    return f"{shown}, … ({len(labels)} labels)" if len(labels) > 10 else shown
