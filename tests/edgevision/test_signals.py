from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from edgevision.signals import Interrupted, Stop, held_back, unwind_on_sigterm


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


def test_ctrl_c_waits_until_a_child_is_started():
    """Also where a thread that does not block it takes it, as one of numpy's does."""
    done, over = [], threading.Event()
    idle = threading.Thread(target=over.wait)
    idle.start()
    try:
        with pytest.raises(KeyboardInterrupt), held_back():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(sum(range(100_000)))
    finally:
        over.set()
        idle.join()
    assert done == [4999950000]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM}


def test_ctrl_c_is_not_lost_where_no_child_could_be_started():
    with pytest.raises(KeyboardInterrupt) as raised, held_back():
        # As when another thread took it, for which it is not blocked.
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
        raise BlockingIOError
    assert isinstance(raised.value.__context__, BlockingIOError)


def test_the_first_child_of_a_process_holds_both_signals_from_its_first_moment(tmp_path):
    """A terminal sends Ctrl-C to the child too, which would print a traceback."""
    (tmp_path / "first.py").write_text(
        "import multiprocessing, signal, sys\n"
        "from edgevision.signals import held_back\n"
        "def held():\n"
        "    names = {s.name for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])}\n"
        "    sys.exit(0 if {'SIGINT', 'SIGTERM'} <= names else 9)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=held)\n"
        "    with held_back():\n"
        "        process.start()\n"
        "    process.join()\n"
        "    sys.exit(process.exitcode)\n"
    )
    done = subprocess.run([sys.executable, "first.py"], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_a_child_that_is_started_meanwhile_hears_only_what_it_lets_through():
    code = """
import os, signal
from edgevision.signals import let_through
os.kill(os.getpid(), signal.SIGINT)
os.kill(os.getpid(), signal.SIGTERM)
print("loaded", flush=True)
let_through(signal.SIGTERM)
print("not this")
"""
    with held_back():
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.communicate()[0] == "loaded\n"
    assert child.returncode == -signal.SIGTERM
