"""The one tree of errors that edgevision raises on purpose.

    EdgevisionError                exit 1   base: received / expected / what to do next
    ├── UsageError                 exit 2   the call itself makes no sense (options, arguments)
    ├── ModelError                 exit 1   a model file that cannot be read, checked or rewritten
    │   └── StoppedError           exit 1   a model that took too long or too much memory to be tried
    ├── SpecError                  exit 1   a preset, config, decoder or label list that does not fit
    ├── BundleError                exit 1   a bundle that is damaged, unsafe or too new
    ├── DataError                  exit 1   images, videos, calibration data
    ├── OutputError                exit 1   a place that cannot be written, or that holds something already
    ├── BackendError               exit 1   an engine that failed or cannot honour a request
    │   └── DependencyError        exit 1   a library that is not installed; names the extra
    └── GateError                  exit 3   everything ran, and the answer is no (agreement, golden, regression)

A foreign exception never reaches the user: it is wrapped with ``raise … from exc``.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BundleError",
    "DataError",
    "DependencyError",
    "EdgevisionError",
    "GateError",
    "ModelError",
    "OutputError",
    "SpecError",
    "StoppedError",
    "UsageError",
]


class EdgevisionError(Exception):
    """What went wrong, in the three parts a user needs.

    Args:
        problem: One line: what failed, and on what.
        received: What was found; left out when the problem already says it.
        expected: What would have been right.
        hint: What to do next.
    """

    exit_code = 1

    def __init__(
        self, problem: str, *, received: str = "", expected: str = "", hint: str = ""
    ) -> None:
        self.problem, self.received, self.expected, self.hint = problem, received, expected, hint
        lines = [problem]
        for title, text in (("received", received), ("expected", expected), ("try", hint)):
            if text:
                lines.append(f"  {title + ':':<10}{text}")
        super().__init__("\n".join(lines))


class UsageError(EdgevisionError):
    """The call makes no sense as written."""

    exit_code = 2


class ModelError(EdgevisionError):
    """A model file that cannot be read, checked or rewritten."""


class StoppedError(ModelError):
    """A model that took too long or too much memory; another try would do the same."""


class SpecError(EdgevisionError):
    """A preset, config, decoder or label list that does not fit the model."""


class BundleError(EdgevisionError):
    """A bundle that is damaged, unsafe to open or written by a newer version."""


class DataError(EdgevisionError):
    """Images, videos or calibration data that cannot be used."""


class OutputError(EdgevisionError):
    """An output that cannot be written, or that exists already."""


class BackendError(EdgevisionError):
    """An engine that failed, or that cannot honour what was asked."""


class DependencyError(BackendError):
    """A library that is not installed."""


class GateError(EdgevisionError):
    """Everything ran, and the answer is no."""

    exit_code = 3
