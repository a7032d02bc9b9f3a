"""One line of JSON a frame: ``{"frame": 0, "pts_s": 0.0, "detections": […]}``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from edgevision.errors import OutputError
from edgevision.frame import Frame
from edgevision.results import Result
from edgevision.sinks import Draw, claim
from edgevision.sources import SourceInfo

__all__ = ["JsonlSink", "plugin", "result_line"]


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
        if self._uri == "-":
            self._file = sys.stdout
            return
        claim(Path(self._uri), force=self._force)
        self._file = Path(self._uri).open("w", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def write(self, frame: Frame, result: Result) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(result_line(frame, result), ensure_ascii=False) + "\n")
        except OSError as error:
            raise _failed(self._uri, error) from error

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.flush()
            if file is not sys.stdout:
                file.close()
        except OSError as error:
            raise _failed(self._uri, error) from error


plugin = JsonlSink


def _failed(uri: str, error: OSError) -> OutputError:
    return OutputError(
        f"{uri} could not be written: {error.strerror}", hint="make room, or choose another place"
    )
