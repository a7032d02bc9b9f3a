"""The engine seam: a backend opens a variant, a session is that variant loaded, a slot is one set of its buffers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.spec import Shape, TensorSpec
from edgevision.variant import Variant

__all__ = ["Backend", "BackendOptions", "Checks", "Executed", "Session", "Slot", "Variant"]


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What the user asked of an engine.

    Attributes:
        hint: ``latency`` (one inference uses all threads) or ``throughput`` (one thread for each of several slots).
        threads: How many CPU threads in all; 0 means every core this process may use.
        compute: Precision to really execute in, such as ``bf16``; None is the engine's exact one.
        extra: Options of one backend only, such as ``{"providers": "cuda"}``.
    """

    hint: str = "latency"
    threads: int = 0
    compute: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Executed:
    """What really runs, read back from the engine.

    Attributes:
        library: Name of the engine.
        version: Its version.
        compute: Precision that it computes in.
        device: What it computes on.
        threads: CPU threads that it uses.
        note: What else to know, such as what it left to the CPU; empty if there is nothing.
    """

    library: str
    version: str
    compute: str
    device: str = "cpu"
    threads: int = 1
    note: str = ""

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        note = f" ({self.note})" if self.note else ""
        return (
            f"{self.library} {self.version}, {self.compute} on {self.device}, "
            f"{self.threads} thread{plural}{note}"
        )


class Slot(Protocol):
    """One set of preallocated buffers: idle → loaded → submitted → idle; one thread at a time."""

    rows: int
    device_ns: tuple[int, int, int] | None
    """What copying in, computing and copying back took on a device in the last run, nanoseconds; None on a CPU."""

    def load(
        self,
        image: Image,
        *,
        row: int = 0,
        region: Affine | None = None,
        input: str | None = None,
        format: str = "bgr",
    ) -> Transform:
        """Writes a picture (or a region of it) into a row of an input tensor; ``format`` is one of the session's."""
        ...

    def put(self, input: str, value: NDArray[Any]) -> None:
        """Copies a whole tensor into another input: state, second inputs, feeds that are no pictures."""
        ...

    def submit(self, rows: int | None = None) -> None:
        """Starts the inference on the first ``rows`` rows (default: all); may block until it is done."""
        ...

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:
        """The outputs by name, the same mapping every time: views that the slot owns, valid until its next load."""
        ...


class Session(Protocol):
    """One variant loaded into an engine."""

    slots: int
    """How many slots keep this session busy under the hint it was opened with."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What the model takes, by name."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What it gives, by name."""
        ...

    @property
    def executed(self) -> Executed:
        """What really runs; it may come to know more with the first frames."""
        ...

    @property
    def formats(self) -> Collection[str]:
        """Formats of frames that slots load as they are: ``bgr``, and what else; all others become ``bgr`` before."""
        ...

    def slot(self, shapes: Mapping[str, Shape] | None = None) -> Slot:
        """New buffers; ``shapes`` gives numbers for symbolic dimensions, by input."""
        ...

    def attach(self) -> AbstractContextManager[None]:
        """Entered once by each thread that uses the session, where an engine wants to know its threads."""
        ...

    def close(self) -> None:
        """Waits for submitted slots and frees everything; may be called twice."""
        ...


class Backend(Protocol):
    """Opens variants. A plug-in is one file with a class like this as ``plugin``."""

    def open(self, variant: Variant, options: BackendOptions) -> Session:
        """Loads a variant.

        Raises:
            DependencyError: The engine's library is not installed.
            BackendError: The engine refuses the model or the options.
        """
        ...


@runtime_checkable
class Checks(Protocol):
    """What a backend may have besides: it says beforehand what `Backend.open` would refuse."""

    def check(self, variant: Variant, options: BackendOptions) -> str:
        """The precision that a variant would be executed in, without loading it.

        Raises:
            BackendError: The engine refuses the options, the variant or this machine.
        """
        ...
