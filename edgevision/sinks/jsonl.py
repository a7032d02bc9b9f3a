"""One line of JSON a frame: ``{"frame": 0, "pts_s": 0.0, "detections": […]}``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from edgevision.errors import OutputError
from edgevision.frame import Frame
from edgevision.results import Result
from edgevision.sinks import Draw, claim
from edgevision.sources import SourceInfo

__all__ = ["JsonlSink", "plugin", "result_line"]

#: How far back the end of the last whole line is looked for.
_LONGEST_LINE = 2**20


def result_line(frame: Frame, result: Result) -> dict[str, Any]:
    """The stable keys of a result line; pictures of a folder also carry their name."""
    line: dict[str, Any] = {"frame": frame.index, "pts_s": round(frame.pts_s, 6)}
    if frame.source:
        line["source"] = frame.source
    return line | result.to_dict()


class JsonlSink:
    """Writes to a file, or to stdout for ``-``."""

    def __init__(self, uri: str, _draw: Draw, force: bool) -> None:
        self._uri, self._force = uri, force
        self._file: TextIO | None = None

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002 - the seam's signature
        if self._uri != "-":
            claim(Path(self._uri), force=self._force)

    def write(self, frame: Frame, result: Result) -> None:
        line = json.dumps(result_line(frame, result), ensure_ascii=False) + "\n"
        with self._told():
            if self._file is None:
                self._file = self._start()
            self._file.write(line)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        with self._told():
            if file is sys.stdout:
                file.flush()
            else:
                file.close()

    def _start(self) -> TextIO:
        if self._uri == "-":
            return sys.stdout
        return Path(self._uri).open("w", encoding="utf-8", errors="backslashreplace")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:  # whoever reads stdout has seen enough
            raise
        except OSError as error:
            if self._uri != "-":
                _drop_partial_line(Path(self._uri))
            raise _failed(self._uri, error) from error


plugin = JsonlSink


def _drop_partial_line(path: Path) -> None:
    """What was written before the disk was full stays usable: whole lines only."""
    with suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _LONGEST_LINE))
        start = file.tell()
        end = file.read().rfind(b"\n") + 1
        if end or not start:
            file.truncate(start + end)


def _failed(uri: str, error: OSError) -> OutputError:
    return OutputError(
        f"{uri} could not be written: {error.strerror}", hint="make room, or choose another place"
    )
