"""One line of JSON a frame: ``{"frame": 0, "pts_s": 0.0, "detections": […]}``."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

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
    """Writes to a file, or to stdout for ``-``. Each line is there, whole, as soon as its frame is done."""

    def __init__(self, uri: str, _draw: Draw, force: bool) -> None:
        self._uri, self._force = uri, force
        self._file: FileIO | None = None
        self._whole = 0  # bytes of whole lines

    def open(self, info: SourceInfo) -> None:  # noqa: ARG002 - the seam's signature
        if self._uri != "-":
            claim(Path(self._uri), force=self._force)

    def write(self, frame: Frame, result: Result) -> None:
        line = json.dumps(result_line(frame, result), ensure_ascii=False) + "\n"
        data = line.encode(errors="backslashreplace")
        if self._uri == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        try:
            self._append(data)
        except OSError as error:
            self.close()
            raise OutputError(
                f"{self._uri} could not be written: {error.strerror}",
                hint="make room, or choose another place",
            ) from error

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # nothing is buffered that closing could lose
                file.close()

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = FileIO(self._uri, "w")
        if self._file.write(data) != len(data):
            self._file.truncate(
                self._whole
            )  # what was written before stays usable: whole lines only
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(data)


plugin = JsonlSink
