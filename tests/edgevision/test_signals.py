from __future__ import annotations

import os
import signal

import pytest

from edgevision.signals import Interrupted, Stop, unwind_on_sigterm


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_noted_the_second_unwinds(number, status):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as ended, Stop() as stop:
        assert (stop.number, stop.exit_code) == (0, 0)
        os.kill(os.getpid(), number)
        assert (stop.number, stop.exit_code) == (number, status)
        os.kill(os.getpid(), number)
    assert ended.value.exit_code == status
    assert isinstance(ended.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before


def test_sigterm_unwinds_so_that_finally_runs():
    before, cleaned = signal.getsignal(signal.SIGTERM), []
    try:
        unwind_on_sigterm()
        with pytest.raises(Interrupted) as ended:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                cleaned.append(True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (ended.value.exit_code, cleaned) == (143, [True])
