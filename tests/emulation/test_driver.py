"""The emulated driver against what CUDA documents: order, capture, memory, contexts; each program in its own process."""

from __future__ import annotations

import signal
import subprocess
import textwrap

import driver
import pytest
from driver import Driver, Outcome, Settings

PRELUDE = """
import ctypes, threading
from raw_cuda import *
from raw_cuda import GLOBAL, RELAXED, THREAD_LOCAL
"""


def run(emulated: Driver, code: str, settings: Settings | None = None) -> Outcome:
    """A program on the driver that must end well."""
    outcome = emulated.run(PRELUDE + textwrap.dedent(code), settings)
    assert outcome.returncode == 0, outcome.stderr
    return outcome


def test_a_program_that_cleans_up_leaves_nothing_and_breaks_no_rule(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, here, back, there = Stream(), pinned(100), pinned(100), alloc(100)
        assert set(here) == {0xFF}, "fresh memory reads as NaN"
        here[:] = bytes(range(100))
        assert stream.upload(there, here) == stream.download(back, there) == stream.synchronize() == 0
        assert bytes(back) == bytes(range(100))
        stream.destroy()
        expect(0, "cuMemFree_v2", there)
        expect(0, "cuMemFreeHost", here)
        expect(0, "cuMemFreeHost", back)
        stop()
        """,
    )
    assert (outcome.live, outcome.violations) == ({}, [])
    assert outcome.report["memory"]["device"] == {
        "live": 0, "live_bytes": 0, "peak_bytes": 100, "made": 1,
    }  # fmt: skip
    assert outcome.report["calls"]["cuMemAlloc_v2"] == 1
    assert outcome.report["operations"]["copy"] == 2


def test_what_is_not_given_back_is_counted(emulated):
    outcome = run(emulated, "start(); alloc(10); pinned(20); Stream(); event()")
    assert outcome.live == {
        "device": 1, "pinned": 1, "contexts": 1, "streams": 1, "events": 1, "pushed contexts": 1,
    }  # fmt: skip
    assert outcome.report["primary_context_references"] == 1


def test_pinned_memory_has_another_address_on_the_device(emulated):
    run(
        emulated,
        """
        start()
        here = pinned(64)
        address = made("cuMemHostGetDevicePointer_v2", here, 0)
        assert address != ctypes.addressof(here)
        here[5] = 42
        assert ctypes.c_ubyte.from_address(address + 5).value == 42
        """,
    )


def test_the_sources_keep_to_cudas_declarations_without_a_warning(emulated):
    files = sorted(driver.SOURCES.glob("*.c"))
    checks = ["-fsyntax-only", "-Werror", f"-I{driver.headers()}"]
    done = subprocess.run(["cc", *driver.FLAGS, *checks, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- order


def test_a_copy_is_done_only_when_its_stream_gets_to_it(emulated):
    run(
        emulated,
        """
        start()
        stream, here, there = Stream(), pinned(4), alloc(4)
        gate = Gate(stream)
        assert stream.fill(there, 7, 4) == stream.download(here, there) == 0
        assert set(here) == {0xFF} and call("cuStreamQuery", stream.handle) == 600
        gate.open()
        assert stream.synchronize() == 0 and set(here) == {7}
        """,
    )


def test_streams_are_unordered_until_one_waits_for_an_event_of_the_other(emulated):
    run(
        emulated,
        """
        start()
        first, second, done, there, here = Stream(), Stream(), event(), alloc(4), pinned(4)
        gate = Gate(first)
        first.fill(there, 1, 4)
        expect(0, "cuEventRecord", done, first.handle)
        second.fill(there, 2, 4)
        assert second.synchronize() == 0, "it does not wait for the first"
        expect(0, "cuStreamWaitEvent", second.handle, done, 0)
        second.download(here, there)
        assert call("cuEventQuery", done) == 600 and set(here) == {0xFF}
        gate.open()
        assert second.synchronize() == 0 and set(here) == {1} and call("cuEventQuery", done) == 0
        """,
    )


def test_the_legacy_stream_orders_blocking_streams_and_leaves_others_alone(emulated):
    run(
        emulated,
        """
        start()
        there, here, free = alloc(4), pinned(4), Stream()
        gate = Gate(None)
        expect(0, "cuMemsetD8_v2", there, 9, 4)
        assert free.download(here, there) == free.synchronize() == 0
        assert set(here) == {0xFF}, "a non-blocking stream does not wait for a memset without a stream"
        blocking = Stream(flags=0)
        blocking.download(here, there)
        assert set(here) == {0xFF}
        gate.open()
        assert blocking.synchronize() == 0 and set(here) == {9}
        """,
    )


def test_an_event_measures_the_time_between_two_points_of_a_stream(emulated):
    run(
        emulated,
        """
        start()
        stream, before, after, there, time = Stream(), event(), event(), alloc(4), ctypes.c_float()
        assert call("cuEventElapsedTime_v2", ctypes.byref(time), before, after) == 400, "never recorded"
        expect(0, "cuEventRecord", before, stream.handle)
        stream.fill(there, 1, 4)
        expect(0, "cuEventRecord", after, stream.handle)
        expect(0, "cuEventSynchronize", after)
        expect(0, "cuEventElapsedTime_v2", ctypes.byref(time), before, after)
        assert time.value >= 20, time.value
        """,
        Settings(delay_us="fill=20000"),
    )


# ---- capture and graphs


def test_a_graph_replays_what_was_captured_on_the_data_of_the_day(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, source, result, there = Stream(), pinned(4), pinned(4), alloc(4)
        stream.begin()
        assert stream.upload(there, source) == stream.download(result, there) == 0
        code, graph = stream.end()
        assert code == 0 and set(result) == {0xFF}, "nothing runs while it is captured"
        nodes = ctypes.c_uint64()
        expect(0, "cuGraphGetNodes", graph, None, ctypes.byref(nodes))
        assert nodes.value == 2
        replay = made("cuGraphInstantiateWithFlags", graph, 0)
        expect(0, "cuGraphDestroy", graph)
        for value in range(1, 100):
            source[:] = bytes([value] * 4)
            expect(0, "cuGraphLaunch", replay, stream.handle)
            assert stream.synchronize() == 0 and set(result) == {value}
        expect(0, "cuGraphExecDestroy", replay)
        """,
    )
    assert (
        outcome.report["live_handles"]["graphs"]
        == outcome.report["live_handles"]["graph_execs"]
        == 0
    )
    assert outcome.violations == []


def test_a_graph_keeps_its_addresses_so_a_freed_buffer_breaks_the_context(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, there = Stream(), alloc(4)
        stream.begin()
        stream.fill(there, 1, 4)
        replay = made("cuGraphInstantiateWithFlags", stream.end()[1], 0)
        expect(0, "cuMemFree_v2", there)
        expect(0, "cuGraphLaunch", replay, stream.handle)
        assert stream.synchronize() == 700
        """,
    )
    assert outcome.violations == ["use after free: cuGraphLaunch"]


def test_a_capture_may_fork_to_another_stream_and_must_join_it_again(emulated):
    run(
        emulated,
        """
        start()
        main, side, forked, joined, there = Stream(), Stream(), event(), event(), alloc(8)
        for joins, expected in ((True, 0), (False, 904)):
            main.begin()
            expect(0, "cuEventRecord", forked, main.handle)
            expect(0, "cuStreamWaitEvent", side.handle, forked, 0)
            side.fill(there, 1, 4)
            main.fill(there + 4, 2, 4)
            if joins:
                expect(0, "cuEventRecord", joined, side.handle)
                expect(0, "cuStreamWaitEvent", main.handle, joined, 0)
            code, graph = main.end()
            assert code == expected, code
            assert side.synchronize() == 0, "it is no longer captured"
        """,
    )


FORBIDDEN = {
    "allocation": ('call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 4)', 900),
    "free": ('call("cuMemFree_v2", there)', 900),
    "waiting for the stream": ("stream.synchronize()", 900),
    "waiting for all": ('call("cuCtxSynchronize")', 900),
    "asking an event": ('call("cuEventQuery", point)', 900),
    "a copy that waits": ('call("cuMemcpyDtoH_v2", here, there, 4)', 906),
    "the legacy stream": ('call("cuMemsetD8_v2", there, 0, 4)', 906),
    "an event from outside": ('call("cuStreamWaitEvent", stream.handle, point, 0)', 905),
}


@pytest.mark.parametrize(("act", "expected"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_call_spoils_the_capture_and_the_stream_works_afterwards(
    emulated, act, expected
):
    outcome = run(
        emulated,
        f"""
        start()
        stream, there, here, point = Stream(), alloc(4), pinned(4), event()
        expect(0, "cuEventRecord", point, stream.handle)
        stream.begin()
        code = {act}
        assert code == {expected}, code
        code, graph = stream.end()
        assert (code, graph) == (901, 0), code
        assert stream.fill(there, 3, 4) == stream.download(here, there) == stream.synchronize() == 0
        assert set(here) == {{3}}
        """,
    )
    assert len(outcome.violations) <= 1


def test_another_thread_may_allocate_during_a_thread_local_capture_but_not_a_global_one(emulated):
    run(
        emulated,
        """
        context = start()
        stream, codes = Stream(), []
        def other():
            expect(0, "cuCtxPushCurrent_v2", context)
            codes.append(call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 4))
            expect(0, "cuCtxPopCurrent_v2", None)
        for mode in (THREAD_LOCAL, GLOBAL, RELAXED):
            stream.begin(mode)
            thread = threading.Thread(target=other)
            thread.start(); thread.join()
            codes.append(stream.end()[0])
        assert codes == [0, 0, 900, 901, 0, 0], codes
        """,
    )


def test_a_captured_event_is_no_mark_in_time_unless_recorded_as_external(emulated):
    run(
        emulated,
        """
        start()
        stream, inside, outside, there, time = Stream(), event(), event(), alloc(4), ctypes.c_float()
        stream.begin(RELAXED)
        expect(0, "cuEventRecord", inside, stream.handle)
        expect(0, "cuEventRecordWithFlags", outside, stream.handle, 1)
        stream.fill(there, 1, 4)
        replay = made("cuGraphInstantiateWithFlags", stream.end()[1], 0)
        expect(0, "cuGraphLaunch", replay, stream.handle)
        expect(0, "cuEventSynchronize", outside)
        expect(907, "cuEventSynchronize", inside)
        """,
    )


# ---- memory

MISUSE = {
    "freed twice": ('call("cuMemFree_v2", there) or call("cuMemFree_v2", there)', "double free: cuMemFree_v2"),
    "copied after the free": (
        'call("cuMemFree_v2", there) or stream.upload(there, here)',
        "use after free: cuMemcpyHtoDAsync_v2",
    ),
    "copied past the end": ("stream.upload(there + 1, here)", "out of bounds: cuMemcpyHtoDAsync_v2"),
    "filled past the end": ("stream.fill(there, 0, 9)", "out of bounds: cuMemsetD8Async"),
    "the host's address as the device's": (
        "stream.fill(ctypes.addressof(here), 0, 8)",
        "host address on the device: cuMemsetD8Async",
    ),
    "the device's address as the host's": (
        'call("cuMemcpyDtoHAsync_v2", there, there, 8, stream.handle)',
        "device address on the host: cuMemcpyDtoHAsync_v2",
    ),
    "memory of nobody": ("stream.fill(4096, 0, 8)", "unknown address: cuMemsetD8Async"),
    "freed as the wrong kind": ('call("cuMemFree_v2", ctypes.addressof(here))', "wrong free: cuMemFree_v2"),
    "freed in the middle": ('call("cuMemFree_v2", there + 4)', "wrong free: cuMemFree_v2"),
}  # fmt: skip


@pytest.mark.parametrize(("act", "expected"), MISUSE.values(), ids=MISUSE)
def test_misused_memory_is_refused_and_told(emulated, act, expected):
    outcome = run(
        emulated,
        f"""
        start()
        stream, there, here = Stream(), alloc(8), pinned(8)
        code = {act}
        assert code == 1, code
        """,
    )
    assert outcome.violations == [expected]


def test_memory_freed_under_queued_work_breaks_the_context_as_an_illegal_address(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, there = Stream(), alloc(8)
        gate = Gate(stream)
        stream.fill(there, 1, 8)
        expect(0, "cuMemFree_v2", there)
        gate.open()
        assert stream.synchronize() == 700
        expect(700, "cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 8)
        """,
    )
    assert outcome.violations == ["use after free: cuMemsetD8Async"]


@pytest.mark.parametrize("offset", [-1, 8], ids=["before", "behind"])
def test_a_write_beside_pinned_memory_shows_when_it_is_freed(emulated, offset):
    outcome = run(
        emulated,
        f"""
        start()
        here = pinned(8)
        ctypes.c_ubyte.from_address(ctypes.addressof(here) + {offset}).value = 0
        expect(0, "cuMemFreeHost", here)
        """,
    )
    assert outcome.violations == ["write outside an allocation: cuMemFreeHost"]


def test_pageable_memory_is_copied_but_told(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, there, source, result = Stream(), alloc(4), (ctypes.c_ubyte * 4)(1, 2, 3, 4), (ctypes.c_ubyte * 4)()
        stream.upload(there, source)
        source[:] = bytes(4)
        stream.download(result, there)
        assert list(result) == [1, 2, 3, 4], "CUDA has read, or written, pageable memory when the call returns"
        expect(0, "cuMemHostRegister_v2", source, 4, 0)
        stream.upload(there, source)
        expect(0, "cuMemHostUnregister", source)
        """,
    )
    assert outcome.violations == [
        f"pageable memory in an asynchronous copy: cuMemcpy{way}Async_v2"
        for way in ("DtoH", "HtoD")
    ]


def test_the_device_holds_as_much_memory_as_it_is_said_to(emulated):
    run(
        emulated,
        """
        start()
        alloc(1 << 20)
        expect(2, "cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 1)
        """,
        Settings(device="memory_mb=1"),
    )


# ---- contexts, faults, settings


def test_a_broken_context_answers_everything_with_its_error_and_can_still_be_left(emulated):
    outcome = run(
        emulated,
        """
        start()
        stream, there = Stream(), alloc(4)
        stream.fill(there, 1, 4)
        assert stream.synchronize() == 700
        expect(700, "cuMemFree_v2", there)
        expect(700, "cuStreamDestroy_v2", stream.handle)
        expect(0, "cuCtxPopCurrent_v2", None)
        """,
        Settings(faults="fill:700@1"),
    )
    assert outcome.live["device"] == 1


def test_a_fault_comes_from_the_nth_call_on_or_once(emulated):
    for faults, expected in {
        "cuEventCreate:2@2": [0, 2, 2, 2],
        "cuEventCreate:2@2x1": [0, 2, 0, 0],
        "cuInit:100@1x1,cuEventCreate:999@4": [0, 0, 0, 999],
    }.items():
        run(
            emulated,
            f"""
            call("cuInit", 0)
            start()
            codes = [call("cuEventCreate", ctypes.byref(ctypes.c_uint64()), 0) for _ in range(4)]
            assert codes == {expected}, codes
            """,
            Settings(faults=faults),
        )


def test_a_setting_that_is_not_understood_ends_the_program(emulated):
    for settings in (
        Settings(faults="nonsense"),
        Settings(device="colour=red"),
        Settings(delay_us="x=1"),
    ):
        assert emulated.run("pass", settings).returncode == 70


def test_threads_have_their_own_stack_of_contexts(emulated):
    outcome = run(
        emulated,
        """
        context = start()
        codes = []
        def other():
            codes.append(call("cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 4))
            codes.append(call("cuCtxPopCurrent_v2", None))
        thread = threading.Thread(target=other)
        thread.start(); thread.join()
        assert codes == [201, 201], codes
        stop()
        expect(201, "cuDevicePrimaryCtxRelease_v2", 0)
        expect(201, "cuCtxPushCurrent_v2", context)
        """,
    )
    assert outcome.violations == [
        "context released too often: cuDevicePrimaryCtxRelease_v2",
        "empty context stack: cuCtxPopCurrent_v2",
        "no context: cuMemAlloc_v2",
        "use after destroy: cuCtxPushCurrent_v2",
    ]


def test_memory_left_in_a_destroyed_context_is_told(emulated):
    outcome = run(emulated, "start(); alloc(4); stop()")
    assert outcome.violations == ["memory left in a context: cuDevicePrimaryCtxRelease_v2"]


def test_page_locked_memory_goes_with_its_context(emulated):
    code = "start(); here = pinned(4); assert here[0] == 0xFF; stop(); print('ended', flush=True); here[0]"
    outcome = emulated.run(PRELUDE + code)
    assert (outcome.returncode, outcome.stdout) == (-signal.SIGSEGV, "ended\n")


def test_a_forked_child_cannot_use_the_driver_and_leaves_the_report_alone(emulated):
    outcome = run(
        emulated,
        """
        import os, sys
        start()
        child = os.fork()
        if child == 0:
            sys.exit(call("cuCtxSynchronize"))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        """,
    )
    assert outcome.report["calls"]["cuCtxPushCurrent_v2"] == 1


def test_the_report_and_the_settings_are_at_hand_while_the_program_runs(emulated):
    run(
        emulated,
        """
        import live_cuda
        start()
        before = live_cuda.report()["memory"]["device"]["made"]
        alloc(4)
        assert live_cuda.report()["memory"]["device"]["made"] == before + 1
        live_cuda.set("faults", "cuMemAlloc_v2:2@1")
        expect(2, "cuMemAlloc_v2", ctypes.byref(ctypes.c_uint64()), 1)
        """,
    )


def test_every_code_has_a_text_and_an_unknown_one_too(emulated):
    run(
        emulated,
        """
        text = ctypes.c_char_p()
        for code, words in ((2, b"out of memory"), (700, b"an illegal memory access was encountered")):
            expect(0, "cuGetErrorString", code, ctypes.byref(text))
            assert text.value == words
        expect(1, "cuGetErrorString", 12345, ctypes.byref(text))
        assert text.value
        """,
    )
