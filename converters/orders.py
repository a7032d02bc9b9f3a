"""From options, as the command line or a list file gives them, to orders: one for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.bundle import MANIFEST
from edgevision.converters.conversion import Order
from edgevision.converters.readers.child import Limits
from edgevision.converters.settings import Overrides
from edgevision.errors import OutputError, UsageError

__all__ = ["Job", "job_for", "jobs_for", "order_for"]

#: Options that say how the model is run.
_OVERRIDES = tuple(Overrides.__dataclass_fields__)
#: Options that list words with commas between them → the order's field.
_WORDS = {"bake": "bake", "precision": "precisions", "target": "targets"}


@dataclass(frozen=True, slots=True)
class Job:
    """One of several conversions.

    Attributes:
        name: Of its bundle, without ``.evb``.
        order: What is wanted.
    """

    name: str
    order: Order


def order_for(model: Path, output: Path, options: Mapping[str, Any]) -> Order:
    """An order from options by their names in Python."""
    rest = dict(options)
    overrides = Overrides(**{name: rest.pop(name) for name in _OVERRIDES})
    words: dict[str, Any] = {field: _words(rest.pop(option)) for option, field in _WORDS.items()}
    limits = Limits(rest.pop("reader_seconds"), rest.pop("reader_memory"))
    cache = not rest.pop("no_cache")
    return Order(model, output, overrides, limits=limits, cache=cache, **words, **rest)


def job_for(model: Path, folder: Path, options: Mapping[str, Any], name: str = "") -> Job:
    """One of several: its bundle lies in the folder and is called like the model, unless it has another name."""
    called = name or model.stem
    return Job(called, order_for(model, folder / f"{called}.evb", options))


def jobs_for(jobs: Sequence[Job], folder: Path) -> Sequence[Job]:
    """The jobs, once it is known that each has a place of its own.

    Raises:
        UsageError: Two bundles would have the same name.
        OutputError: The folder is something else already, or cannot be made.
    """
    taken: dict[str, Job] = {}
    for job in jobs:
        other = taken.setdefault(job.name.casefold(), job)
        if other is not job:
            raise UsageError(
                f"two models would become {job.order.output}",
                received=f"{other.order.model} and {job.order.model}",
                expected="models whose names differ in more than their folder and suffix",
                hint='rename one, or give it a name of its own in a --list file: name = "…"',
            )
    if (folder / MANIFEST).exists():
        raise OutputError(
            f"{folder} is a bundle",
            expected="with several models, a folder for one bundle each",
            hint="choose another path for --output",
        )
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OutputError(
            f"{folder} cannot be made: there is no folder {folder.parent}",
            hint="make the folder first",
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder} is no folder, and cannot become one: {error.strerror}",
            hint="choose another path for --output",
        ) from error
    return jobs


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
