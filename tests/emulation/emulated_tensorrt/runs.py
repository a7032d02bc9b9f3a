"""Runs that are given to streams: each is a number that the driver hands back when it is its turn, in graphs too."""

from __future__ import annotations

import ctypes
import time
from typing import Any

from emulated_tensorrt.arithmetic import computed, write
from emulated_tensorrt.cuda import call
from emulated_tensorrt.ledger import before_the_end, violation

__all__ = ["Activity", "forget", "give", "noted"]

_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
#: Number → activity, session, inputs and outputs. Graphs may start them again.
_runs: dict[int, tuple[Activity, Any, Any, Any]] = {}


class Activity:
    """What a run on a stream's thread may touch of its context, so that it never is the one to free that."""

    running = freed = False


def noted(activity: Activity, session: Any, inputs: Any, outputs: Any) -> int:
    """The number of a run."""
    number = len(_runs) + 1
    _runs[number] = (activity, session, inputs, outputs)
    return number


def forget(number: int) -> None:
    """The run's context is freed: what starts it now is a violation."""
    _runs[number] = (_runs[number][0], None, (), ())


def give(number: int, stream: int) -> int:
    """Puts a run behind what the stream was given; the driver's CUresult."""
    return call(
        "cuLaunchHostFunc", ctypes.c_void_p(stream), _run_on_stream, ctypes.c_void_p(number)
    )


@_HOST_FUNCTION
def _run_on_stream(number: int) -> None:
    activity, session, inputs, outputs = _runs[number]
    if activity.freed:
        violation("a run was started after its execution context was freed")
        return
    if activity.running:
        violation("an execution context ran twice at a time")
    activity.running = True
    try:
        found = computed(session, inputs)
        for name, address, shape in outputs:
            if found[name].shape != shape:
                violation(f"{name} has the shape {found[name].shape}, not {shape}")
            write(address, found[name])
    except Exception as error:  # it has no way through the driver
        violation(f"a run failed: {error}")
    finally:
        activity.running = False


def _wait() -> None:
    """After a lost GPU nobody waited for what was under way, and a thread in Python when Python ends aborts."""
    while any(activity.running for activity, *_ in _runs.values()):
        time.sleep(0.001)


before_the_end.append(_wait)
