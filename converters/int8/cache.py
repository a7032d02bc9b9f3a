"""Keeps what was measured on calibration frames in the user's cache, so that the same frames need not run again.

A file's name says what was measured on what (the graph, the pictures, how they become tensors, the scheme) and with
what (versions, processor, our own code); so does the file, and what does not fit together is measured anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import onnx

from edgevision.bundle import canonical_json
from edgevision.converters.int8.calibrate import Calibration
from edgevision.converters.int8.calibration_file import (
    UnfitError,
    from_bytes,
    read_facts,
    to_bytes,
)
from edgevision.converters.provenance import kernel_features, tool_versions
from edgevision.user_cache import user_cache
from edgevision.whole_file import write_whole

__all__ = ["CalibrationCache", "Entry", "open_cache"]

_SUFFIX = ".calibration"
#: What all files together may take; the ones that were not used for longest go.
_ROOM_BYTES = 2 << 30
#: Where the numbers are made, in our own code.
_MEASURING = ("edgevision.converters.int8", "edgevision.converters.graph")
_LOADING = (("edgevision", "preprocess.py"), ("edgevision.converters", "pictures.py"))

Facts = Mapping[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class CalibrationCache:
    """The calibrations on some pictures.

    Attributes:
        folder: Where they lie.
        pictures: What tells these pictures, and what is made of them, from others; JSON with plain types.
        say: Told in a line what was found, and what could not be done.
    """

    folder: Path
    pictures: Facts
    say: Say

    def entry(
        self, model: onnx.ModelProto, *, scheme: str, rounding: bool, exclude: Collection[str]
    ) -> Entry:
        """The place of one calibration; arguments as for `calibrate`."""
        measured = {
            "graph": _graph_digest(model),
            "pictures": self.pictures,
            "method": {"scheme": scheme, "rounding": rounding, "exclude": sorted(exclude)},
        }
        with_what = {
            "tools": tool_versions(),
            "cpu_features": kernel_features(),
            "code": _code_digest(),
        }
        facts = json.loads(canonical_json({"measured": measured, "with": with_what}))
        return Entry(self.folder, facts, self.say)


@dataclass(frozen=True)
class Entry:
    """One calibration in the cache, or the place for it.

    Attributes:
        folder: Of the cache.
        facts: ``measured`` and ``with``, as in the file.
        say: See `CalibrationCache`.
    """

    folder: Path
    facts: Facts
    say: Say

    @property
    def file(self) -> Path:
        what, how = (_name(self.facts[part]) for part in ("measured", "with"))
        return self.folder / f"{what}-{how}{_SUFFIX}"

    def load(self) -> Calibration | None:
        """What is there; None if there is nothing, or nothing that can be used, and then it was said why."""
        file = self.file
        try:
            measured = from_bytes(file.read_bytes(), self.facts)
            os.utime(file)  # the last to be used is the last to go
        except FileNotFoundError:
            self._tell_of_stale()
            return None
        except UnfitError as reason:
            self.say(f"a calibration in the cache is not used: {reason}")
            return None
        except OSError as error:
            self.say(f"the calibration in the cache cannot be read: {error.strerror}")
            return None
        self.say("the calibration is taken from the cache")
        return measured

    def store(self, measured: Calibration) -> None:
        """Puts it there, whole or not at all; where that is not possible, says so."""
        try:
            write_whole(self.file, to_bytes(measured, self.facts))
            _make_room(self.folder, self.file)
        except OSError as error:
            self.say(f"the calibration cannot be kept in the cache: {error.strerror}")

    def _tell_of_stale(self) -> None:
        """Says what has changed since the same was measured last."""
        what = _name(self.facts["measured"])
        found = [f for f in self.folder.glob(f"{what}-*{_SUFFIX}") if f.is_file()]
        with suppress(OSError, UnfitError):
            if found:
                newest = max(found, key=lambda file: file.stat().st_mtime)
                then = read_facts(newest.read_bytes()).get("with")
                changed = _changed(then if isinstance(then, dict) else {}, self.facts["with"])
                self.say(f"a calibration in the cache is out of date: {changed}")


def open_cache(pictures: Facts, say: Say) -> CalibrationCache | None:
    """The user's; None, and a line that says so, if there can be none.

    Args:
        pictures: See `CalibrationCache`.
        say: See `CalibrationCache`.
    """
    folder = user_cache("calibration")
    if folder is None:
        say("calibrations are not cached: the user's cache folder cannot be written to")
        return None
    return CalibrationCache(folder, pictures, say)


def _graph_digest(model: onnx.ModelProto) -> str:
    """Of all that is computed, without the metadata."""
    digest = hashlib.sha256()
    for part in (model.graph, *model.opset_import, *model.functions):
        digest.update(part.SerializeToString(deterministic=True))
    return digest.hexdigest()


@cache
def _code_digest() -> str:
    """Of the sources that measure: between two releases the version does not tell them apart."""
    folders = [resources.files(package) for package in _MEASURING]
    files = [f for folder in folders for f in folder.iterdir() if f.name.endswith(".py")]
    files += [resources.files(package) / name for package, name in _LOADING]
    digest = hashlib.sha256()
    for name, text in sorted((str(f), f.read_bytes()) for f in files):
        digest.update(Path(name).name.encode() + b"\0" + hashlib.sha256(text).digest())
    return digest.hexdigest()


def _name(facts: Facts) -> str:
    return hashlib.sha256(canonical_json(facts)).hexdigest()[:32]


def _changed(then: Facts, now: Facts) -> str:
    """``onnxruntime 1.30.0 then, 1.31.1 now``, or what else is different."""
    tools = then.get("tools")
    tools = tools if isinstance(tools, dict) else {}
    found = [
        f"{name} {tools.get(name, 'unknown')} then, {version} now"
        for name, version in now["tools"].items()
        if tools.get(name) != version
    ]
    if then.get("cpu_features") != now["cpu_features"]:
        found.append("it was measured on another kind of processor")
    return "; ".join(found) or "edgevision's own code has changed"


def _make_room(folder: Path, newest: Path) -> None:
    """Removes what was not used for longest, also what a killed process left behind."""
    found = []
    for file in (f for f in folder.iterdir() if f.is_file()):
        with suppress(FileNotFoundError):  # another process may have been faster
            state = file.stat()
            found.append((file == newest, state.st_mtime_ns, state.st_size, file))
    used = 0
    for _, _, size, file in sorted(found, reverse=True):
        used += size
        if used > _ROOM_BYTES:
            file.unlink(missing_ok=True)
