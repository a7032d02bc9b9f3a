"""What goes wrong on a GPU, injected into the emulated driver: one clear error each, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Settings
from program import Ended, Gpu

LOST = "cannot use the GPU any more"

#: Runs some frames, and tells which error came at which frame, and what a second try says.
RUNS = """
import sys
from edgevision.errors import EdgevisionError
from scenes import on_gpu, square, tell
errors, frames, closed, note = [], 0, False, ""
try:
    with on_gpu(sys.argv[1], hint=(sys.argv[2:] or ["latency"])[0]) as model:
        for number in range(8):
            try:
                result = model(square(2))
                frames += 1
                assert result.scores.max() > 0.9
            except EdgevisionError as error:
                errors.append([str(error), error.problem, error.hint])
                if len(errors) > 2:
                    break
        note = model.executed.note
    closed = True
except EdgevisionError as error:
    errors.append([str(error), error.problem, error.hint])
tell(errors=errors, frames=frames, closed=closed, note=note)
"""


def run(gpu: Gpu, model: Path, faults: str, device: str | None = None) -> Ended:
    return gpu.run(RUNS, model, settings=Settings(faults=faults, device=device))


def in_one_line(ended: Ended) -> str:
    """The first error; its problem is one line with a next step, and nothing came from a native library's mouth."""
    text, problem, hint = ended.told["errors"][0]
    assert "\n" not in problem
    assert "Traceback" not in ended.err
    assert "PyCUDA" not in ended.err
    return f"{problem} | {text} | {hint}"


@pytest.mark.parametrize(
    ("fault", "doing"),
    [
        ("cuMemAlloc_v2:2@1", "exhausted"),
        ("cuMemAlloc_v2:2@3", "exhausted"),
        ("cuMemAlloc_v2:2@5", "exhausted"),
        ("cuMemHostAlloc:2@1", "page-locked memory"),
        ("cuMemHostAlloc:2@2", "page-locked memory"),
        ("cuStreamCreate:2@1", "a slot was made"),
        ("cuEventCreate:2@3", "a slot was made"),
    ],
)
def test_memory_that_runs_out_at_any_place_is_told_and_given_back(
    gpu: Gpu, squares: Path, fault: str, doing: str
) -> None:
    ended = run(gpu, squares, fault)
    ended.clean()
    told = in_one_line(ended)
    assert any(part in told for part in doing.split("|")), told
    assert "memory" in told


def test_a_device_that_is_too_small_says_how_much_is_free(gpu: Gpu, squares: Path) -> None:
    ended = run(gpu, squares, "", device="memory_mb=1")
    ended.clean()
    assert "memory" in in_one_line(ended)


def test_memory_that_is_short_once_does_no_harm(gpu: Gpu, squares: Path) -> None:
    """pycuda collects garbage and tries again."""
    ended = run(gpu, squares, "cuMemAlloc_v2:2@2x1")
    ended.clean()
    assert (ended.told["errors"], ended.told["frames"]) == ([], 8)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("kernel:700@2x1", "memory that is not its own"),
        ("kernel:700@1x1", "memory that is not its own"),
        ("copy:700@4x1", "memory that is not its own"),
        ("kernel:719@3x1", "a kernel on the GPU failed"),
        ("kernel:718@2x1", "ran out of its code"),
        ("kernel:714@1x1", "stack on the GPU is damaged"),
        ("cuGraphLaunch:719@3x1", "a kernel on the GPU failed"),
        ("cuEventSynchronize:214@3x1", "uncorrectable error"),
        ("cuMemcpyHtoDAsync_v2:46@3x1", "cannot be used any more"),
    ],
)
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_lost_gpu_is_told_once_and_for_all_and_ends_in_order(
    gpu: Gpu, squares: Path, fault: str, said: str, hint: str
) -> None:
    ended = gpu.run(RUNS, squares, hint, settings=Settings(faults=fault))
    assert ended.outcome.returncode == 0, ended.err
    told = in_one_line(ended)
    assert LOST in told
    assert said in told
    assert "start the program again" in told
    assert all(LOST in text for text, _, _ in ended.told["errors"]), "it is not tried again"
    assert ended.told["closed"]
    assert ended.outcome.report["context_stack_depth"] == 0
    # A lost GPU refuses to free memory; the end of the process does it.
    assert ended.outcome.report["primary_context_references"] == 1
    assert ended.outcome.violations == []


def test_outputs_from_before_the_gpu_was_lost_can_still_be_read(gpu: Gpu, squares: Path) -> None:
    code = """
import sys
from edgevision.errors import BackendError
from scenes import on_gpu, square, tell
with on_gpu(sys.argv[1]) as model:
    slot, told = model.session.slot(), []
    slot.load(square(2))
    slot.submit()
    kept = slot.wait()["output0"]
    other = model.session.slot()
    try:
        other.load(square(2))
        other.submit()
        other.wait()
    except BackendError as error:
        told.append(error.problem)
tell(score=float(kept[0, 4].max()), told=told)
"""
    ended = gpu.run(code, squares, settings=Settings(faults="kernel:700@2x1"))
    assert ended.outcome.returncode == 0, ended.err
    assert ended.told["score"] == 1.0
    assert LOST in ended.told["told"][0]
    assert "PyCUDA" not in ended.err


@pytest.mark.parametrize(
    "fault",
    [
        "cuStreamBeginCapture_v2:900@1",
        "cuLaunchKernel:1@2x1",
        "cuLaunchHostFunc:906@2x1",
        "cuGraphInstantiateWithFlags:2@1",
        "cuGraphInstantiateWithFlags:801@1",
    ],
)
def test_where_a_capture_fails_frames_are_run_without_a_graph(
    gpu: Gpu, squares: Path, fault: str
) -> None:
    ended = run(gpu, squares, fault)
    ended.clean()
    assert (ended.told["errors"], ended.told["frames"]) == ([], 8)
    assert "cuGraphLaunch" not in ended.outcome.report["calls"]
    assert ended.told["note"].startswith("no CUDA graph: "), "and that is told"


def test_each_refusal_of_tensorrt_has_its_own_reason(gpu: Gpu, squares: Path) -> None:
    """What was said before, or in another thread, is not the reason of this one."""
    code = """
import sys, threading
from edgevision.errors import BackendError
from scenes import on_gpu, tell
told = []
with on_gpu(sys.argv[1]) as model:
    log = model.session._loaded.log
    say = lambda text: log.logger.log(log.logger.Severity.ERROR, text)
    def refused():
        with model.session._context.attached():
            return str(log.refusal("a run"))
    say("Cuda Runtime (out of memory)")
    told.append(refused())
    say("something else")
    told.append(refused())
    other = threading.Thread(target=say, args=("of another camera",))
    other.start()
    other.join()
    told.append(refused())
tell(told=told)
"""
    ended = gpu.run(code, squares)
    ended.clean()
    first, second, third = ended.told["told"]
    assert "memory is exhausted" in first
    assert "something else" in second
    assert "memory" not in second
    assert "TensorRT does not say why" in third


ANOTHER = """
import sys, threading
from edgevision.errors import EdgevisionError
from scenes import on_gpu, square, tell
told = {}
ready, lost = threading.Barrier(2), threading.Event()

def camera(name):
    try:
        with on_gpu(sys.argv[1]) as model:
            with model.session.attach():
                ready.wait(60)
                if name == "second":
                    lost.wait(60)
                for _ in range(6):
                    model(square(2))
    except EdgevisionError as error:
        told[name] = error.problem
    finally:
        lost.set()

threads = [threading.Thread(target=camera, args=(name,)) for name in ("first", "second")]
[t.start() for t in threads]
[t.join() for t in threads]
tell(**told)
"""


def test_a_gpu_that_one_thread_loses_ends_the_other_in_order(gpu: Gpu, squares: Path) -> None:
    ended = gpu.run(ANOTHER, squares, settings=Settings(faults="kernel:700@3x1"))
    assert ended.outcome.returncode == 0, ended.err
    assert all(LOST in problem for problem in ended.told.values())
    assert set(ended.told) == {"first", "second"}
    assert ended.outcome.report["context_stack_depth"] == 0
    assert "PyCUDA" not in ended.err


# How a program may end


LEFT = {
    "a model that nobody closed": "model = on_gpu(sys.argv[1]); model(square(2))",
    "a stream that nobody ended": (
        "model = on_gpu(sys.argv[1]); stream = model.stream(frames(sys.argv[2], 9)); next(stream)"
    ),
    "a slot that still runs": (
        "model = on_gpu(sys.argv[1]); slot = model.session.slot(); slot.load(square(2)); slot.submit()"
    ),
    "a slot that was dropped": (
        "model = on_gpu(sys.argv[1]); slot = model.session.slot(); slot.load(square(2)); slot.submit();"
        "del slot; model.close()"
    ),
    "a slot that another thread drops": (
        "import threading; model = on_gpu(sys.argv[1]); slots = [model.session.slot()];"
        "slots[0].load(square(2)); slots[0].submit();"
        "t = threading.Thread(target=slots.clear); t.start(); t.join()"
    ),
    "a model that is dropped": "on_gpu(sys.argv[1])(square(2))",
    "a call that Ctrl-C ended as it began": (
        "model = on_gpu(sys.argv[1]); model.session._context.attached().__enter__()"
    ),
    "sys.exit in a stream": (
        "model = on_gpu(sys.argv[1])\\nfor _ in model.stream(frames(sys.argv[2], 9)): sys.exit(0)"
    ),
}


@pytest.mark.parametrize("how", LEFT)
def test_a_program_that_just_ends_leaves_nothing(
    gpu: Gpu, squares: Path, test_data: Path, how: str
) -> None:
    code = "import sys\nfrom scenes import frames, on_gpu, square\n" + LEFT[how].replace(
        "\\n", "\n"
    )
    ended = gpu.run(
        code, squares, test_data / "video/carphone.mp4", settings=Settings(delay_us="100")
    )
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


def test_a_closed_model_refuses_work_and_keeps_what_was_computed(gpu: Gpu, squares: Path) -> None:
    code = """
import sys
from edgevision.errors import BackendError
from scenes import on_gpu, square, tell
model = on_gpu(sys.argv[1])
slot = model.session.slot()
slot.load(square(2))
slot.submit()
model.close()
model.close()
score = float(slot.wait()["output0"][0, 4].max())
told = []
for call in (lambda: slot.load(square(2)), slot.submit, model.session.slot):
    try:
        call()
    except BackendError as error:
        told.append(error.problem)
tell(score=score, told=told)
"""
    ended = gpu.run(code, squares)
    ended.clean()
    assert ended.told == {"score": 1.0, "told": ["the model is closed"] * 3}
