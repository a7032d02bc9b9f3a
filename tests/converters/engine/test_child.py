"""The builder's process: started so that no signal is lost, told to stop, and never left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.converters.engine import child
from edgevision.converters.engine.order import Request
from edgevision.progress import silent


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    """Of a build that fails by itself, if it comes that far."""
    return Request(
        tmp_path / "m.onnx", ("tensorrt-rtx",), "8.9", {}, {}, None, None, "0" * 64, "", ()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_child_is_started_leaves_none(
    number: int, request_for: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    process = multiprocessing.get_context("spawn").Process
    start = process.start

    def interrupted(self: multiprocessing.Process) -> None:
        os.kill(os.getpid(), number)
        start(self)

    monkeypatch.setattr(process, "start", interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            child.build_in_child(request_for, tmp_path, 60, silent)
    finally:
        signal.signal(number, before)
    assert multiprocessing.active_children() == []
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {number}


def test_sigterm_is_heard_while_the_main_thread_is_in_native_code():
    code = (
        "import os, signal, sys, threading\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"  # before numpy's threads
        "from edgevision.converters.engine.child import _await_sigterm\n"
        "cancelled = threading.Event()\n"
        "thread = threading.Thread(target=_await_sigterm, args=(cancelled,))\n"
        "thread.start()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "thread.join()\n"  # as far as Python's handlers are concerned, that is native code
        "sys.exit(0 if cancelled.is_set() else 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0


class _Told:
    """A process as `_end` sees it: records what is asked of it, in order."""

    pid = 1

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., bool]:
        def called(*_: object) -> bool:
            self.calls.append(name)
            return True

        return called


@pytest.mark.parametrize(
    ("stage", "calls"),
    [
        ("building", ["is_alive", "terminate", "join", "kill", "join"]),
        ("parsing", ["kill", "join"]),
    ],
)
def test_only_what_measures_kernels_is_asked_and_waited_for(stage: str, calls: list[str]):
    process = _Told()
    child._end(process, stage)  # type: ignore[arg-type]
    assert process.calls == calls


def test_a_process_that_cannot_be_started_is_one_clear_error(
    request_for: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def start(_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", start)
    with pytest.raises(child.BackendError, match="no process could be started") as raised:
        child.build_in_child(request_for, tmp_path, 60, silent)
    assert "close other programs" in raised.value.hint
