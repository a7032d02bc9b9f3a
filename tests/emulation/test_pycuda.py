"""The real pycuda on the emulated driver: what it makes of the driver's answers, and how its processes end."""

from __future__ import annotations

import signal
import textwrap

import pytest
from driver import Driver, Outcome, Settings

PRELUDE = """
import numpy as np, pycuda.driver as cuda
def begin():
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    return context
"""


def run(emulated: Driver, code: str, settings: Settings | None = None) -> Outcome:
    return emulated.run(PRELUDE + textwrap.dedent(code), settings)


def test_pinned_to_device_to_pinned_ends_with_nothing_live(emulated_pycuda):
    outcome = run(
        emulated_pycuda,
        """
        context = begin()
        assert context.get_device().name() == "emulated Orin" and context.get_device().compute_capability() == (8, 7)
        stream, before, after = cuda.Stream(1), cuda.Event(), cuda.Event()
        here = cuda.pagelocked_empty(1000, np.float32)
        assert np.isnan(here).all()
        here[:] = np.arange(1000)
        there, result = cuda.mem_alloc(here.nbytes), cuda.pagelocked_empty(1000, np.float32)
        before.record(stream)
        cuda.memcpy_htod_async(there, here, stream)
        cuda.memcpy_dtoh_async(result, there, stream)
        after.record(stream)
        stream.synchronize()
        assert (result == np.arange(1000)).all() and after.time_since(before) >= 0
        there.free(); here.base.free(); result.base.free()
        del stream, before, after
        context.pop()
        del context
        """,
        Settings(device="name=emulated Orin;cc=8.7"),
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (outcome.live, outcome.violations) == ({}, [])


def test_every_symbol_that_pycuda_refers_to_exists(emulated_pycuda):
    outcome = emulated_pycuda.run(
        "import pycuda.driver", environment={"LD_BIND_NOW": "1", "PYTHONNOUSERSITE": "1"}
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.report == {}, "importing it calls nothing"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("cuMemAlloc_v2:2@1", "MemoryError"), ("cuMemAlloc_v2:2@1x1", "nothing")],
    ids=["lasting", "once"],
)
def test_pycuda_tries_again_when_memory_is_out_once(emulated_pycuda, fault, expected):
    outcome = run(
        emulated_pycuda,
        """
        context = begin()
        try:
            there = cuda.mem_alloc(8)
        except cuda.MemoryError:
            print("MemoryError")
        else:
            there.free()
            print("nothing")
        context.pop()
        """,
        Settings(faults=fault),
    )
    assert (outcome.returncode, outcome.stdout.strip()) == (0, expected)


@pytest.mark.parametrize(
    ("code", "raised"), [(700, "LogicError"), (719, "LaunchError"), (999, "Error")]
)
def test_an_error_on_the_device_is_raised_by_the_next_wait(emulated_pycuda, code, raised):
    outcome = run(
        emulated_pycuda,
        """
        context = begin()
        stream = cuda.Stream(1)
        there = cuda.mem_alloc(8)
        cuda.memset_d8_async(there, 1, 8, stream)
        try:
            stream.synchronize()
        except cuda.Error as error:
            print(type(error).__name__)
        context.pop()
        """,
        Settings(faults=f"fill:{code}@1"),
    )
    assert (outcome.returncode, outcome.stdout.strip()) == (0, raised)
    assert "a clean-up operation failed" in outcome.stderr, "even frees fail"


def test_a_context_left_on_the_stack_aborts_the_process(emulated_pycuda):
    outcome = run(emulated_pycuda, "context = begin()")
    assert outcome.returncode == -signal.SIGABRT
    assert "context stack was not empty" in outcome.stderr


def test_two_threads_share_the_primary_context(emulated_pycuda):
    outcome = run(
        emulated_pycuda,
        """
        import threading
        context = begin()
        def work(value):
            context.push()
            stream, here = cuda.Stream(1), cuda.pagelocked_empty(64, np.uint8)
            there = cuda.mem_alloc(64)
            for _ in range(50):
                cuda.memset_d8_async(there, value, 64, stream)
                cuda.memcpy_dtoh_async(here, there, stream)
                stream.synchronize()
                assert (here == value).all()
            there.free(); here.base.free()
            del stream, here
            cuda.Context.pop()
            done.append(value)
        done = []
        threads = [threading.Thread(target=work, args=(value,)) for value in (1, 2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        context.pop()
        assert sorted(done) == [1, 2]
        del context
        """,
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (outcome.live, outcome.violations) == ({}, [])
