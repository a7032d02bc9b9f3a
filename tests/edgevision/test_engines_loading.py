"""What TensorRT says and does not give: its log by thread, its constructors, and the way to another engine."""

from __future__ import annotations

import shlex
import threading
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevision.engine_key import EngineKey
from edgevision.engines import Engine
from edgevision.errors import BackendError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.trt.engine import _rebuild
from edgevision.trt.library import Log
from edgevision.variant import Variant

KEY = EngineKey("tensorrt", "10.3.0", "8.7", "", "linux", "aarch64", "", "a" * 64, "x=1")
Severity = Enum("Severity", ["ERROR", "WARNING"])


class ILogger:
    """As TensorRT's, which calls `log` of what is derived from it."""

    def __init__(self) -> None: ...


@pytest.fixture
def log() -> Log:
    return Log(SimpleNamespace(ILogger=ILogger))


def elsewhere(log: Log, *lines: str) -> None:
    """Says so in another thread."""
    thread = threading.Thread(target=lambda: [log.logger.log(Severity.ERROR, ln) for ln in lines])
    thread.start()
    thread.join()


def test_each_thread_reads_what_was_said_in_it(log: Log):
    elsewhere(log, "there")
    log.logger.log(Severity.WARNING, "not worth it")
    log.logger.log(Severity.ERROR, "here")
    assert log.take() == "here"
    assert log.take() == "TensorRT does not say why"


def test_a_builder_reads_what_tensorrt_said_in_threads_of_its_own(log: Log):
    elsewhere(log, "first", "second")
    assert log.take(of_all_threads=True) == "first"
    assert log.take(of_all_threads=True) == "TensorRT does not say why"


def test_a_complaint_that_others_push_out_meanwhile_is_still_told(
    log: Log, monkeypatch: pytest.MonkeyPatch
):
    log.logger.log(Severity.ERROR, "mine")
    entries = tuple(log._lines)
    # What other threads say between looking and removing.
    monkeypatch.setattr(log, "_lines", _Pushed(entries))
    assert log.take() == "mine"


class _Pushed(tuple[tuple[int, str], ...]):
    def remove(self, entry: object) -> None:
        raise ValueError(f"{entry} is not in deque")


@pytest.mark.parametrize("nothing", [TypeError("factory function returned nullptr"), None])
def test_a_constructor_that_gives_nothing_is_told_with_what_the_log_says(
    log: Log, nothing: TypeError | None
):
    def make() -> None:
        log.logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
        if nothing is not None:
            raise nothing

    with pytest.raises(BackendError, match="TensorRT refuses a builder") as raised:
        log.made("a builder", make)
    assert "error: 35" in raised.value.received
    assert "doctor" in raised.value.hint


def test_what_a_constructor_gives_is_given(log: Log):
    assert log.made("a builder", lambda: 7) == 7


@pytest.mark.parametrize("folder", ["engines", "my engines"])
def test_an_engine_is_built_again_where_it_lies(folder: str, tmp_path: Path):
    spec = ModelSpec("detect", InputSpec(), OutputSpec("yolov8"))
    bundle = tmp_path / "x.evb"
    bundle.mkdir()
    variant = Variant("fp16", "fp16", bundle / "fp16.onnx", spec, "a" * 64)
    where = bundle / folder if folder == "engines" else tmp_path / folder
    words = shlex.split(_rebuild(Engine(where / "e.engine", KEY, "0" * 64, 4, "fp16"), variant))
    command = words[words.index("edgevision") :]
    elsewhere = [] if folder == "engines" else ["--engine-dir", str(where)]
    assert command == [
        *("edgevision", "build", str(bundle), "--variant", "fp16"),
        *elsewhere,
        "--force",
    ]
