"""What is ordered from a conversion, what is made of it, and all that its reports are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevision.backends import Variant
from edgevision.converters.calibration import Data
from edgevision.converters.int8.candidates import Trial
from edgevision.converters.int8.schemes import SCHEMES
from edgevision.converters.prove import Proof
from edgevision.converters.readers import Read
from edgevision.converters.readers.child import Limits
from edgevision.converters.settings import Overrides
from edgevision.converters.validation import Validation
from edgevision.frame import Image
from edgevision.spec import ModelSpec

__all__ = ["TARGETS", "Conversion", "Engine", "Made", "Order", "for_gpus"]

#: The INT8 schemes that there are, as ``--target`` takes them.
TARGETS = tuple(SCHEMES)


def for_gpus(variant_id: str) -> bool:
    """Whether a variant is written for TensorRT, proven or not: its speed on a CPU says nothing."""
    return variant_id == "fp16" or variant_id.endswith("-trt")


@dataclass(frozen=True, slots=True)
class Order:
    """What the user wants.

    Attributes:
        model: An ONNX file, or one of another format that there is a reader for.
        output: The bundle's folder.
        overrides: How the model is run, where the user says so.
        precisions: Besides fp32, which is always there: ``int8``, ``fp16``.
        targets: Of `TARGETS`.
        calibration: A video or a folder of pictures; needed for int8, and to prove fp16.
        samples: At most so many pictures to calibrate on, and as many to prove on.
        least: Agreement with fp32 that passes.
        random_calibration: Calibrate on noise; what comes of it is not proven.
        validation: Labelled pictures: the task's own metric decides, in place of the agreement.
        max_drop: What a variant may lose of that metric.
        golden: A source of golden frames, ``synthetic`` or ``none``.
        opset: Least opset of what is written.
        bake: What the graph is to do by itself: ``input``, ``nms``.
        keep_passing: Write a bundle of the variants that passed when others did not.
        force: Replace a bundle that exists.
        cache: Use the user's cache of calibrations.
        factory: ``module:function`` that makes the network, where the file holds weights only.
        limits: What a reader of another format may use.
    """

    model: Path
    output: Path
    overrides: Overrides = field(default_factory=Overrides)
    precisions: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("x86",)
    calibration: Path | None = None
    samples: int = 200
    least: float = 0.95
    random_calibration: bool = False
    validation: Path | None = None
    max_drop: float = 0.01
    golden: str = "synthetic"
    opset: int = 17
    bake: tuple[str, ...] = ()
    keep_passing: bool = False
    force: bool = False
    cache: bool = True
    factory: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Made:
    """One variant, and all that is known of it.

    Attributes:
        variant: Its file lies in the staging folder.
        proof: None for fp32, the reference, and where there were no pictures to prove on.
        quantized: What became of each node, for reports; None for fp32.
        trials: Recipes that were tried, with their agreement on the selection pictures.
        written: What reading the file back found.
    """

    variant: Variant
    proof: Proof | None = None
    quantized: dict[str, Any] | None = None
    trials: Sequence[Trial] = ()
    written: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``pass``, ``fail``, ``insufficient``, ``not proven`` or, for fp32, ``reference``."""
        if self.proof is not None:
            return self.proof.verdict
        return "reference" if self.quantized is None else "not proven"

    @property
    def passed(self) -> bool:
        """Whether it may stand in the bundle; what is not proven may, and no machine takes it by itself."""
        return self.verdict not in ("fail", "insufficient")

    @property
    def for_gpus(self) -> bool:
        """See `for_gpus`."""
        return for_gpus(self.variant.id)


@dataclass(slots=True)
class Engine:
    """One way to run a variant besides onnxruntime.

    Attributes:
        variant: Id of the variant.
        backend: Registry name.
        compute: Precision that it executes in.
        proof: Its agreement with fp32 in onnxruntime; None until it is proven.
        timing: ``latency_ms`` and ``speedup``, the ratio to fp32 in onnxruntime; empty until measured.
    """

    variant: str
    backend: str
    compute: str
    proof: Proof | None = None
    timing: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``fp32/openvino/bf16``, as ``timings.json`` has it."""
        return f"{self.variant}/{self.backend}/{self.compute}"


@dataclass(slots=True)
class Conversion:
    """Everything that a report is made of.

    Attributes:
        timings: Variant → ``latency_ms``, ``speedup`` over fp32 and ``speedup_vs_original``.
        original: The same of the file as it came, or ``problem``: why it could not be measured.
        validation: Labelled pictures, where there are any.
    """

    order: Order
    read: Read
    spec: ModelSpec
    changes: list[str]
    made: list[Made]
    data: Data | None
    timings: dict[str, dict[str, Any]]
    golden: list[Image]
    engines: list[Engine] = field(default_factory=list)
    original: dict[str, Any] = field(default_factory=dict)
    validation: Validation | None = None

    @property
    def passed(self) -> bool:
        return all(m.passed for m in self.made)

    @property
    def rejected(self) -> bool:
        """Whether there is to be no bundle."""
        return not self.passed and not self.order.keep_passing
