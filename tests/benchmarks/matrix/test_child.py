"""A child is asked to stop through its pipe alone, from its very start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgevision.benchmarks.matrix.child import Ended, in_child
from edgevision.benchmarks.matrix.expand import resolve_all


def asked(model_file: Path, sign: SimpleNamespace) -> Ended:
    """Some work of a module that a child can import."""
    return in_child(resolve_all, (str(model_file), (), {}), sign, silence_s=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_that_reaches_a_child_while_python_starts_is_not_its_end(
    number: signal.Signals, model_file: Path, sign: SimpleNamespace
) -> None:
    """Ctrl-C goes to the whole process group: a configuration must not be called a crash for it."""

    def send_at_once() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.001)
        os.kill(children[0].pid or 0, number)

    sender = threading.Thread(target=send_at_once)
    sender.start()
    ended = asked(model_file, sign)
    sender.join()
    assert ended.result is not None, ended.words
    assert ended.result["name"] == "tiny"


def test_signals_of_the_parent_are_as_they_were(model_file: Path, sign: SimpleNamespace) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    asked(model_file, sign)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
