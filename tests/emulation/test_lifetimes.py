"""Who ends first: threads, generators, sessions and slots in any order, also by the collector, also while others work."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Settings
from program import Gpu

HANDED_ON = """
import sys, threading
from scenes import frames, on_gpu
model = on_gpu(sys.argv[1])
stream = model.stream(frames(sys.argv[2], 6))
found = []
for _ in range(4):  # as run_in_executor does: each frame in a thread of its own
    thread = threading.Thread(target=lambda: found.append(next(stream)[0].index))
    thread.start()
    thread.join()
{end}
print(found)
"""


@pytest.mark.parametrize(
    "end", ["stream.close(); model.close()", "del stream; model.close()", "model.close()", ""]
)
def test_a_stream_may_be_handed_from_thread_to_thread(
    gpu: Gpu, squares: Path, test_data: Path, end: str
) -> None:
    ended = gpu.run(HANDED_ON.replace("{end}", end), squares, test_data / "video/carphone.mp4")
    assert ended.outcome.returncode == 0, ended.err
    assert ended.out.strip() == "[0, 1, 2, 3]"
    ended.clean()


@pytest.mark.parametrize("order", ["session, slot", "slot, session"])
def test_a_session_and_its_slots_that_are_garbage_together_are_freed_in_any_order(
    gpu: Gpu, squares: Path, order: str
) -> None:
    """As after an exception that is kept: the collector calls finalizers in an order of its own."""
    code = """
import sys
from scenes import on_gpu, square
model = on_gpu(sys.argv[1])
session, slot = model.session, model.session.slot()
slot.load(square(2)); slot.submit(); slot.wait()
for one in ({order}):
    one._free()
"""
    ended = gpu.run(code.replace("{order}", order), squares)
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


WHILE_IT_RUNS = """
import sys, threading
from edgevision.errors import BackendError
from scenes import on_gpu, square, tell
model, told, started = on_gpu(sys.argv[1]), [], threading.Event()

def camera():
    try:
        while True:
            assert model(square(2)).scores.max() > 0.9
            started.set()
    except BackendError as error:
        told.append(error.problem)

thread = threading.Thread(target=camera)
thread.start()
started.wait(60)
model.close()
thread.join()
tell(told=told)
"""


def test_a_model_may_be_closed_while_another_thread_uses_it(gpu: Gpu, squares: Path) -> None:
    ended = gpu.run(WHILE_IT_RUNS, squares, settings=Settings(delay_us="300"))
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()
    assert ended.told == {"told": ["the model is closed"]}


#: What a daemon thread is in, again and again, when the program ends.
BUSY = {
    "a call": "model(square(2)); started.set()",
    "a stream": "\n        for _ in model.stream(Squares()): started.set()",
    "an attachment": "\n        with model.session.attach():\n            while started.set() is None: pass",
    "opening": "on_gpu(sys.argv[1]).close(); started.set()",
    "a slot of its own": "s = model.session.slot(); s.load(square(2)); s.submit(); s.wait(); started.set()",
}


@pytest.mark.parametrize("busy", BUSY)
def test_a_program_may_end_whatever_a_daemon_thread_does_on_the_gpu(
    gpu: Gpu, squares: Path, busy: str
) -> None:
    """Python ends such a thread where it is, and pycuda the process if that is in the context."""
    code = """
import sys, threading
from edgevision.errors import BackendError
from scenes import on_gpu, square
class Squares:  # pictures without end; OpenCV's threads would have ends of their own
    live, problems = True, []
    open = cancel = close = lambda self: None
    def read(self, into):
        into.image = square(2)
        return True
sys.setswitchinterval(1e-5)
model, started = on_gpu(sys.argv[1]), threading.Event()
def camera():
    while True:
        {busy}
def until_the_end():
    try:
        camera()
    except BackendError:
        while True:
            pass
threading.Thread(target=until_the_end, daemon=True).start()
started.wait(60)
"""
    code = code.replace("{busy}", BUSY[busy])
    ended = gpu.run(code, squares, settings=Settings(delay_us="300"))
    assert (ended.outcome.returncode, ended.err) == (0, "")
    assert ended.outcome.violations == []
    assert ended.tensorrt["violations"] == []
    assert ended.outcome.report["context_stack_depth"] == 0
    # Outputs that the thread was reading stay for it; nothing else does.
    assert ended.outcome.live.keys() <= {"contexts", "pinned"}


@pytest.mark.parametrize(
    "last", ["pass", "model.session._context.attached().__enter__()"], ids=["idle", "interrupted"]
)
def test_a_program_may_end_although_the_gpu_hangs(gpu: Gpu, squares: Path, last: str) -> None:
    code = """
import sys, threading
from edgevision.cuda import context
from scenes import on_gpu, report, square
context._PATIENCE_NS = 10**8
model = on_gpu(sys.argv[1])
threading.Thread(target=model, args=(square(2),), daemon=True).start()
while not report()["calls"].get("cuEventSynchronize"):
    pass
{last}
print("ended")
"""
    code = code.replace("{last}", last)
    hangs = Settings(delay_us="kernel=600000000")
    ended = gpu.run(code, squares, settings=hangs, timeout_s=60)
    assert (ended.outcome.returncode, ended.out, ended.err) == (0, "ended\n", "")


@pytest.mark.parametrize(
    "reader",
    [
        "atexit.register(lambda: seen.append(float(kept[0].max())))",
        "atexit.register(time.sleep, 0.2)\nthreading.Thread(target=reads_on, daemon=True).start()",
    ],
    ids=["at exit", "a thread"],
)
def test_outputs_that_are_kept_can_be_read_to_the_end_of_the_program(
    gpu: Gpu, squares: Path, reader: str
) -> None:
    """Page-locked memory goes with the context: it would be read where there is none any more."""
    code = """
import atexit, sys, threading, time
kept, seen = [], []
def reads_on():
    while True:
        if kept:
            seen.append(float(kept[0].max()))
atexit.register(lambda: print(max(seen) > 0.9))
{reader}
from scenes import on_gpu, square
model = on_gpu(sys.argv[1])
slot = model.session.slot()
slot.load(square(2))
slot.submit()
kept.append(slot.wait()["output0"])
"""
    ended = gpu.run(code.replace("{reader}", reader), squares)
    assert ended.outcome.returncode == 0, ended.err
    assert ended.out.strip() == "True"
    assert ended.outcome.violations == []
    assert ended.outcome.report["context_stack_depth"] == 0
    assert "PyCUDA" not in ended.err


def test_outputs_that_any_thread_keeps_are_freed_where_they_go(gpu: Gpu, squares: Path) -> None:
    """pycuda frees its page-locked memory in the thread that made the context only, and in others warns."""
    code = """
import sys, threading
from scenes import on_gpu, report, square, tell
live = lambda: report()["memory"]["pinned"]["live"]
model, kept, lives = on_gpu(sys.argv[1]), [], []
def camera():
    slot = model.session.slot()
    slot.load(square(2))
    slot.submit()
    kept.append(slot.wait()["output0"])
def in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
in_a_thread(camera)
model.close()
lives.append(live())
score = float(kept[0][0, 4].max())
in_a_thread(kept.clear)
lives.append(live())
tell(lives=lives, score=score)
"""
    ended = gpu.run(code, squares)
    assert (ended.outcome.returncode, ended.err) == (0, "")
    ended.clean()
    assert ended.told == {"lives": [1, 0], "score": 1.0}


LOAD_FAILS = """
import sys
import numpy as np
from edgevision.errors import DataError
from edgevision.geometry import Affine
from scenes import on_gpu, report, square, tell
far = Affine(np.array([[1.0, 0, 1e9], [0, 1.0, 0]]), 64, 64)
side, first, told, kernels = int(sys.argv[2]), int(sys.argv[3]), [], []

def run():
    before = report()["operations"]["kernel"]
    slot.submit()
    told.append(float(slot.wait()["output0"][0, 4].max()))
    kernels.append(report()["operations"]["kernel"] - before)

with on_gpu(sys.argv[1]) as model:
    slot = model.session.slot()
    for _ in range(first):
        slot.load(square(2))
        run()
    slot.load(square(2))
    try:
        slot.load(np.zeros((side, side, 3), np.uint8), region=far)
    except DataError as error:
        told.append(error.problem)
    run(), run(), run()
    slot.load(square(2))
    run()
    del slot
tell(told=told, kernels=kernels)
"""


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("side", "kept"), [(900, False), (20, True)])
def test_a_load_that_failed_leaves_the_picture_before_it_or_none(
    gpu: Gpu, squares: Path, side: int, kept: bool, first: int
) -> None:
    """Where memory had to grow for it, the picture is lost, and the kernel is not told what was never written."""
    ended = gpu.run(LOAD_FAILS, squares, side, first)
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()
    told, kernels = ended.told["told"], ended.told["kernels"]
    assert told[first] == "the region lies too far from the frame"
    assert kernels == [1] * first + [int(kept)] * 3 + [1]
    assert told[-1] == 1.0
    if kept:
        assert told[first + 1 :] == [1.0] * 4


def test_rows_that_were_never_loaded_are_zeros(gpu: Gpu, tmp_path: Path) -> None:
    import models

    code = """
import sys
import numpy as np
from scenes import on_cpu, on_gpu, square, tell
with on_gpu(sys.argv[1]) as model, on_cpu(sys.argv[1]) as reference:
    found = []
    for m in (model, reference):
        slot = m.session.slot()
        slot.load(square(2), row=1)
        slot.submit()
        found.append(slot.wait()["output0"].copy())
tell(same=bool(np.array_equal(*found)), shape=found[0].shape)
"""
    ended = gpu.run(code, models.squares(tmp_path / "two.onnx", rows=2))
    ended.clean()
    assert ended.told == {"same": True, "shape": [2, 7, 49]}


BESIDE = """
import sys, threading
from edgevision.errors import BackendError
from scenes import on_gpu, square, tell
wrong, done = [], threading.Event()

def failing():
    with on_gpu(sys.argv[1]) as model:
        slot = model.session.slot()
        lane, take = slot._lane, []
        lane.inputs.upload = lambda stream: (_ for _ in ()).throw(BackendError("as told"))
        while not done.is_set():
            slot.load(square(1))
            try:
                slot.submit()
            except BackendError as error:
                take.append(error.problem)
        wrong.extend(set(take) - {"as told"})
        del slot, lane

def capturing():
    try:
        for _ in range(6):
            with on_gpu(sys.argv[1]) as model:
                for _ in range(4):
                    model(square(2))
                notes.append(model.executed.note)
    finally:
        done.set()

notes = []
threads = [threading.Thread(target=one) for one in (failing, capturing)]
[t.start() for t in threads]
[t.join() for t in threads]
tell(wrong=wrong, notes=notes)
"""


def test_a_camera_that_fails_does_not_spoil_what_another_captures(gpu: Gpu, squares: Path) -> None:
    ended = gpu.run(BESIDE, squares, settings=Settings(delay_us="50"))
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()
    assert ended.told == {"wrong": [], "notes": [""] * 6}
    assert "cuCtxSynchronize" not in ended.outcome.report["calls"]


def test_the_log_outlives_the_model_that_made_it(gpu: Gpu, squares: Path) -> None:
    """TensorRT keeps the first logger of a process for as long as anything of it is alive, and no reference to it."""
    code = """
import gc, sys
from edgevision.errors import BackendError
from scenes import on_gpu, square, tell
first = on_gpu(sys.argv[1])
second = on_gpu(sys.argv[1])
first.close()
del first
gc.collect()
slot = second.session.slot()
slot._lane._context.set_input_shape = lambda *a: False
try:
    slot._lane._context._runtime._complain("second complains")
    slot._lane._take(False, "a run")
except BackendError as error:
    tell(received=error.received)
del slot
second.close()
"""
    ended = gpu.run(code, squares)
    ended.clean()
    assert ended.told == {"received": "second complains"}
