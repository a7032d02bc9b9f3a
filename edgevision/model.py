"""A model that is ready to run: a bundle's variant in an engine, with its decoder and task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgevision import registry
from edgevision.backends import BackendOptions, Executed, Session, Variant
from edgevision.bundle import Bundle, open_bundle
from edgevision.choice import Choice, candidates
from edgevision.clock import now_ns
from edgevision.errors import BackendError, DataError, UsageError
from edgevision.frame import Frame, Image
from edgevision.pipeline import Pipeline
from edgevision.results import Result
from edgevision.shaping import check_batch, resized
from edgevision.sources import Source, SourceInfo, make_source
from edgevision.sources._ahead import ahead
from edgevision.tasks import Task

__all__ = ["HINTS", "MOST_THREADS", "Model", "load_variant", "open_model", "opened"]

HINTS = ("latency", "throughput")
#: More than a large server has; each of them costs memory, and with ``throughput`` a slot.
MOST_THREADS = 256


class Model:
    """Runs pictures and streams; made by `edgevision.open`, closed by ``with`` or `close`. One thread at a time.

    Attributes:
        bundle: Where it comes from.
        choice: The variant that runs, and why this one.
        backend: Name of the backend.
        pipeline: The frame's way, with its stamps.
        task: What was asked; draws results.
        load_ms: How long opening took: reading and hashing what is needed, and loading it.
    """

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        session: Session,
        backend: str,
        params: Mapping[str, Any],
    ) -> None:
        variant = choice.variant
        spec = variant.spec
        self.bundle, self.choice, self.backend = bundle, choice, backend
        self._session = session
        self.task: Task = registry.load("tasks", spec.task)()
        decoder = registry.load("decoders", spec.output.decoder)
        settings = {**spec.output.params, **params}
        settings.pop("labels", None)  # the spec's own, which a bundle's parameters cannot replace
        self.pipeline = Pipeline(
            session, spec.input, decoder(labels=spec.labels, **settings), self.task
        )
        self.load_ms = 0.0

    @property
    def session(self) -> Session:
        """The engine's session, for measuring it alone."""
        return self._session

    @property
    def executed(self) -> Executed:
        """What the engine says it executes."""
        return self._session.executed

    @property
    def variant(self) -> Variant:
        return self.choice.variant

    @property
    def labels(self) -> tuple[str, ...]:
        return self.variant.spec.labels

    def __call__(self, image: Image) -> Result:
        """The result for one picture: uint8 ``(H, W, 3)``, blue-green-red, only read."""
        if not isinstance(image, np.ndarray):
            raise DataError(
                "that is no picture",
                received=type(image).__name__,
                expected="a numpy array, uint8 (height, width, 3), blue-green-red",
                hint="cv2.imread returns None for a file that it cannot read",
            )
        with self._session.attach():
            return self.pipeline.once(image)

    def stream(self, source: str | Source) -> Iterator[tuple[Frame, Result]]:
        """Frames and results of a video, a folder or another source; closes the source at the end.

        Yields:
            The frame, valid until the next iteration (``frame.copy()`` keeps it), and its result.
        """
        frames = make_source(source) if isinstance(source, str) else source
        with opened(ahead(frames)) as (ready, _):
            yield from self.pipeline.stream(ready)

    def close(self) -> None:
        """Frees the engine; may be called twice. The model cannot be used afterwards."""
        self._session.close()
        self.pipeline.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def opened(source: str | Source) -> Iterator[tuple[Source, SourceInfo]]:
    """Opens a source (by URI or as an object) and closes it at the end."""
    ready = make_source(source) if isinstance(source, str) else source
    info = ready.open()
    try:
        yield ready, info
    finally:
        ready.close()


def open_model(
    path: str | Path,
    *,
    variant: str | None = None,
    precision: str | None = None,
    backend: str = "auto",
    compute: str | None = None,
    hint: str = "latency",
    threads: int = 0,
    score: float | None = None,
    iou: float | None = None,
    classes: Sequence[str | int] | None = None,
    engine_dir: str | Path | None = None,
    trust_engines: bool | None = None,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
) -> Model:
    """Opens a bundle, or an ONNX file that carries its spec, ready to run.

    Args:
        path: The bundle's folder or the ONNX file.
        variant: Id of the variant; the default is the fastest proven one for this machine, else fp32.
        precision: Considers only variants of this precision.
        backend: Registry name, or ``auto``: the fastest that the bundle was proven with, else ``ort``.
        compute: Precision to really execute in, where the backend has a choice.
        hint: ``latency`` or ``throughput``.
        threads: CPU threads; 0 is all this process may use.
        score: Least score, in place of the bundle's.
        iou: Overlap above which NMS drops a box, in place of the bundle's.
        classes: Only these, by name or id.
        engine_dir: For the backend ``trt``: where engines lie, in place of the bundle's own folder.
        trust_engines: Likewise: whether to load engines that were not built here, which runs their code.
        batch: Rows of the input, where the model leaves them open.
        size: Height and width of the input, likewise.

    Raises:
        EdgevisionError: Something does not fit; the message says what, and what to do.
    """
    started = now_ns()
    bundle = open_bundle(Path(path))
    choices = candidates(
        bundle,
        variant=variant,
        precision=precision,
        backend=backend,
        compute=compute,
        engine_dir=None if engine_dir is None else Path(engine_dir),
    )
    extra = {"engine_dir": engine_dir, "trust_engines": trust_engines}
    told = {key: value for key, value in extra.items() if value is not None}
    given = {"score": score, "iou": iou, "classes": list(classes) if classes is not None else None}
    params = {key: value for key, value in given.items() if value is not None}
    options = BackendOptions(hint, threads, extra=told)
    model = _load_first(bundle, [_shaped(c, batch, size) for c in choices], options, params)
    model.pipeline.open_rows = batch or 1
    model.load_ms = (now_ns() - started) / 1e6
    return model


def _shaped(choice: Choice, batch: int | None, size: tuple[int, int] | None) -> Choice:
    check_batch(choice.variant, batch)
    return replace(choice, variant=resized(choice.variant, size))


def load_variant(
    bundle: Bundle,
    choice: Choice,
    options: BackendOptions,
    *,
    backend: str = "auto",
    params: Mapping[str, Any] | None = None,
) -> Model:
    """Checks a variant's hash and loads it into an engine: with ``auto`` the one it was chosen for."""
    if options.hint not in HINTS:
        raise UsageError(f"there is no hint {options.hint!r}", expected=" or ".join(HINTS))
    if not 0 <= options.threads <= MOST_THREADS:
        raise UsageError(
            "so many threads cannot help",
            received=f"{options.threads} threads",
            expected=f"0 (every core) to {MOST_THREADS}",
        )
    name = choice.backend if backend == "auto" else backend
    if options.compute is None and name == choice.backend:
        options = replace(options, compute=choice.compute)
    started = now_ns()
    if bundle.manifest:
        bundle.check(choice.variant.file.name)
    session = registry.load("backends", name)().open(choice.variant, options)
    try:
        model = Model(bundle, choice, session, name, params or {})
    except BaseException:
        session.close()
        raise
    model.load_ms = (now_ns() - started) / 1e6
    return model


def _load_first(
    bundle: Bundle, choices: Sequence[Choice], options: BackendOptions, params: Mapping[str, Any]
) -> Model:
    """The first that this machine can run; its reason, or the error if there is none, says why not the others."""
    choice, *others = choices
    try:
        return load_variant(bundle, choice, options, params=params)
    except (BackendError, UsageError) as error:
        if not others:
            _, separator, before = choice.reason.partition("; not ")
            if not separator:
                raise
            raise type(error)(
                f"{error.problem}; before that, not {before}",
                received=error.received,
                expected=error.expected,
                hint=error.hint,
            ) from error
        told = f"; not {choice.variant.id} in {choice.backend} ({choice.compute}): {error.problem}"
        if choice.backend == "trt" and error.hint:  # how to build the engine again
            told += f" ({error.hint})"
    others = [replace(other, reason=other.reason + told) for other in others]
    return _load_first(bundle, others, options, params)
