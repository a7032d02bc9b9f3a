"""A backend without an engine, for tests of all that surrounds one: deterministic, slow or failing on request.

It reads the inputs and outputs from the ONNX file's header, computes nothing, and fills the outputs with a
number that depends on the inputs, or with arrays that the test hands in. It always says that it is fake.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Executed, Variant
from edgevision.backends._slot import FORMATS, InputBuffers, closed
from edgevision.errors import BackendError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.onnx_header import read_header
from edgevision.spec import Shape
from edgevision.tensors import concrete_shape

__all__ = ["FakeBackend", "plugin"]

Outputs = Callable[[Mapping[str, NDArray[Any]], int], Mapping[str, NDArray[Any]]]


class FakeBackend:
    """Options in ``extra``: ``outputs`` (inputs, run's number → arrays), ``delay_s``, ``fail_at`` (run's number)."""

    def open(self, variant: Variant, options: BackendOptions) -> FakeSession:
        return FakeSession(variant, options)

    def check(self, variant: Variant, options: BackendOptions) -> str:
        return options.compute or variant.precision


plugin = FakeBackend


class FakeSession:
    """Counts its runs over all slots."""

    def __init__(self, variant: Variant, options: BackendOptions) -> None:
        header = read_header(variant.file)
        self.inputs = MappingProxyType({t.name: t for t in header.inputs})
        self.outputs = MappingProxyType({t.name: t for t in header.outputs})
        self.executed = Executed("fake", "0", "none: this backend computes nothing", "nowhere")
        self.slots = max(1, options.threads) if options.hint == "throughput" else 1
        self.formats = FORMATS
        self.spec = variant.spec.input
        self.extra = dict(options.extra or {})
        self.runs = 0
        self.closed = False

    def slot(self, shapes: Mapping[str, Shape] | None = None) -> FakeSlot:
        if self.closed:
            raise closed()
        return FakeSlot(self, shapes or {})

    def attach(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self.closed = True


class FakeSlot:
    """Runs at once when it is submitted."""

    device_ns: tuple[int, int, int] | None = None

    def __init__(self, session: FakeSession, shapes: Mapping[str, Shape]) -> None:
        self._session = session
        self._inputs = InputBuffers(session.spec, session.inputs, shapes)
        self.rows = self._inputs.rows
        self._arrays = {
            name: np.zeros(concrete_shape(tensor, None), tensor.dtype)
            for name, tensor in session.outputs.items()
        }
        self._results = MappingProxyType(self._arrays)

    def load(
        self,
        image: Image,
        *,
        row: int = 0,
        region: Affine | None = None,
        input: str | None = None,
        format: str = "bgr",
    ) -> Transform:
        return self._inputs.load(image, row=row, region=region, input=input, format=format)

    def put(self, input: str, value: NDArray[Any]) -> None:
        self._inputs.put(input, value)

    def submit(self, rows: int | None = None) -> None:  # noqa: ARG002 - the seam's signature
        session = self._session
        if session.closed:
            raise closed()
        self._inputs.submitting()
        number, session.runs = session.runs, session.runs + 1
        time.sleep(session.extra.get("delay_s", 0.0))
        if session.extra.get("fail_at") == number:
            self._inputs.waiting()
            raise BackendError(f"the fake engine failed at run {number}, as it was told")
        outputs: Outputs | None = session.extra.get("outputs")
        if outputs is not None:
            self._arrays.update(outputs(self._inputs.arrays, number))
            return
        mean = np.mean([array.mean() for array in self._inputs.arrays.values()])
        for array in self._arrays.values():
            array.fill(mean)

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:  # noqa: ARG002
        self._inputs.waiting()
        return self._results
