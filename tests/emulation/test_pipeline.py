"""The whole CUDA pipeline on the emulated GPU: results, buffers, graphs, threads, and that nothing is left.

Real: our code, pycuda, the kernel's source (built by g++), onnxruntime's arithmetic. Emulated: the driver, TensorRT.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Settings
from program import Gpu

HINTS = pytest.mark.parametrize("hint", ["latency", "throughput"])

ON_VIDEO = """
import sys
from scenes import allocations, differences, frames, on_cpu, on_gpu, tell
path, video, count, hint = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
wrong, found, made = [], 0, []
with on_gpu(path, hint=hint) as model, on_cpu(path) as reference:
    executed = str(model.executed)
    ours, theirs = (m.stream(frames(video, count)) for m in (model, reference))
    for (frame, result), (_, wanted) in zip(ours, theirs, strict=True):
        wrong += [f"{frame.index}: {what}" for what in differences(result, wanted, threshold=0.35)]
        found += len(wanted)
        if frame.index in (10, count - 1):
            made.append(allocations())
    slots = [s for idle in model.pipeline._idle.values() for s in idle]
    replays = sum(s._lane.replay.replays for s in slots)
    captures = sum(s._lane.replay.captures for s in slots)
    del slots
tell(wrong=wrong, found=found, made=made, executed=executed, replays=replays, captures=captures)
"""


def test_200_frames_of_a_street_give_the_detections_of_ort_and_allocate_nothing(
    gpu: Gpu, nanodet: Path, test_data: Path
) -> None:
    ended = gpu.run(ON_VIDEO, nanodet, test_data / "video/vtest.avi", 200, "latency")
    ended.clean()
    told = ended.told
    assert told["wrong"] == []
    assert told["found"] > 800
    first, last = told["made"]
    assert first == last
    assert (told["captures"], told["replays"]) == (1, 199)
    assert told["executed"].startswith("tensorrt 10.3.0, fp32 on emulated CUDA device")
    calls = ended.outcome.report["calls"]
    assert calls["cuLaunchKernel"] == calls["cuGraphLaunch"] // 199 * 2, "one direct, one captured"


@pytest.mark.parametrize("version", ["10.13.3.9", "11.4.0.106"])
def test_three_slots_overlap_and_stay_in_order(
    gpu: Gpu, nanodet: Path, test_data: Path, version: str
) -> None:
    code = ON_VIDEO.replace("hint=hint", f"hint=hint, version={version!r}")
    settings = Settings(delay_us="copy=2000,kernel=1000")
    ended = gpu.run(
        code, nanodet, test_data / "video/vtest.avi", 24, "throughput",
        settings=settings, tensorrt=version,
    )  # fmt: skip
    ended.clean()
    assert ended.told["wrong"] == []
    assert ended.told["captures"] == 3
    assert ended.told["made"][0] == ended.told["made"][1]


SIZES = """
import numpy as np
from scenes import on_cpu, on_gpu, report, tell
import sys
with on_gpu(sys.argv[1]) as model, on_cpu(sys.argv[1]) as reference:
    slot, other = model.session.slot(), reference.session.slot()
    found, made, captures = [], [], []
    for side in (64, 64, 64, 32, 200, 200, 200, 64):
        image = np.zeros((side, side, 3), np.uint8)
        image[side // 4 : side // 2, side // 4 : side // 2, 2] = 255
        for each in (slot, other):
            each.load(image)
            each.submit()
        found.append(float(np.abs(slot.wait()["output0"] - other.wait()["output0"]).max()))
        made.append(report()["memory"]["pinned"]["made"])
        captures.append(slot._lane.replay.captures)
tell(found=found, made=made, captures=captures)
"""


def test_a_graph_survives_smaller_frames_and_is_captured_anew_for_larger_ones(
    gpu: Gpu, squares: Path
) -> None:
    """A frame's size lies in memory that the kernel reads; only when buffers move does a graph hold old addresses."""
    ended = gpu.run(SIZES, squares)
    ended.clean()
    told = ended.told
    assert max(told["found"]) < 1e-5
    assert told["captures"] == [0, 1, 1, 1, 1, 2, 2, 2]
    assert len(set(told["made"][:4])) == 1, "smaller frames fit"
    assert len(set(told["made"][4:])) == 1


MAPPED = """
import sys
import numpy as np
from scenes import on_gpu, square, tell
with on_gpu(sys.argv[1], **({"memory": sys.argv[2]} if sys.argv[2:] else {})) as model:
    slot = model.session.slot()
    scores = []
    for colour in (0, 1, 2):
        slot.load(square(colour))
        slot.submit()
        scores.append(slot.wait()["output0"][0, 4:].max(1).tolist())
    executed = str(model.executed)
tell(scores=scores, executed=executed)
"""
#: Of a blue, a green and a red square: the scores for red, green and blue.
SCORES = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("memory", ["mapped", "copied"])
def test_memory_that_host_and_gpu_share_needs_no_copies(
    gpu: Gpu, squares: Path, memory: str
) -> None:
    ended = gpu.run(MAPPED, squares, memory, settings=Settings(device="integrated=1"))
    ended.clean()
    assert ended.told["scores"] == SCORES
    assert (ended.outcome.report["operations"]["copy"] == 0) == (memory == "mapped")


@pytest.mark.parametrize(("delay", "faster"), [("copy=3000", "mapped"), ("kernel=0,copy=0", None)])
def test_on_an_integrated_gpu_the_faster_memory_is_measured_and_told(
    gpu: Gpu, squares: Path, delay: str, faster: str | None
) -> None:
    settings = Settings(device="integrated=1", delay_us=delay)
    ended = gpu.run(MAPPED, squares, settings=settings)
    ended.clean()
    assert ended.told["scores"] == SCORES
    assert " ms mapped, " in ended.told["executed"]
    assert faster is None or f"{faster} memory" in ended.told["executed"]


def test_a_discrete_gpu_is_not_measured(gpu: Gpu, squares: Path) -> None:
    ended = gpu.run(MAPPED, squares)
    ended.clean()
    assert "memory" not in ended.told["executed"]
    assert ended.told["scores"] == SCORES


TWO = """
import sys, threading
from scenes import differences, frames, on_cpu, on_gpu, tell
wrong, failed = [], []

def camera(path, video):
    try:
        with on_gpu(path) as model, on_cpu(path) as reference:
            pairs = zip(model.stream(frames(video, 12)), reference.stream(frames(video, 12)))
            for (frame, result), (_, wanted) in pairs:
                wrong.extend(differences(result, wanted, threshold=0.35))
    except BaseException as error:
        failed.append(repr(error))

threads = [threading.Thread(target=camera, args=pair) for pair in zip(sys.argv[1::2], sys.argv[2::2])]
[t.start() for t in threads]
[t.join() for t in threads]
tell(wrong=wrong, failed=failed)
"""


def test_two_cameras_in_two_threads(
    gpu: Gpu, nanodet: Path, squares: Path, test_data: Path
) -> None:
    video = test_data / "video"
    ended = gpu.run(TWO, nanodet, video / "vtest.avi", squares, video / "carphone.mp4")
    ended.clean()
    assert ended.told == {"wrong": [], "failed": []}
    assert ended.outcome.report["calls"]["cuDevicePrimaryCtxRetain"] == 1


SHARED = """
import sys, threading
from scenes import on_gpu, square, tell
scores = {}
with on_gpu(sys.argv[1]) as model:
    def camera(colour):
        with model.session.attach():
            slot = model.session.slot()
            for _ in range(20):
                slot.load(square(colour))
                slot.submit()
                scores.setdefault(colour, []).append(slot.wait()["output0"][0, 4:].max(1).tolist())
    threads = [threading.Thread(target=camera, args=(colour,)) for colour in (0, 1, 2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
tell(scores=[scores[colour] for colour in (0, 1, 2)])
"""


@pytest.mark.parametrize(
    ("version", "library"),
    [
        ("10.3.0", "tensorrt"),
        ("10.13.3.9", "tensorrt"),
        ("11.4.0.106", "tensorrt"),
        ("rtx 1.7.1.116", "tensorrt-rtx"),
    ],
)
def test_one_code_path_for_every_tensorrt(
    gpu: Gpu, squares: Path, version: str, library: str
) -> None:
    number = version.removeprefix("rtx ")
    code = MAPPED.replace(
        "on_gpu(sys.argv[1],", f"on_gpu(sys.argv[1], version={number!r}, library={library!r},"
    )
    ended = gpu.run(code, squares, tensorrt=version)
    ended.clean()
    assert ended.told["scores"] == SCORES
    assert ended.told["executed"].startswith(f"{library} {number}, ")


def test_threads_share_a_session_with_slots_of_their_own(gpu: Gpu, squares: Path) -> None:
    ended = gpu.run(SHARED, squares, settings=Settings(delay_us="copy=300"))
    ended.clean()
    assert ended.told["scores"] == [[row] * 20 for row in SCORES]


def test_what_the_kernel_cannot_do_is_done_on_the_cpu_and_told(gpu: Gpu, squares: Path) -> None:
    code = MAPPED.replace(
        "with on_gpu", "import scenes\nscenes.tweak = dict(interpolation='area')\nwith on_gpu"
    )
    ended = gpu.run(code, squares)
    ended.clean()
    assert ended.told["scores"] == SCORES
    assert "pre-processing on the CPU: interpolation 'area'" in ended.told["executed"]
    assert ended.outcome.report["operations"]["kernel"] == 0


OPEN = """
import sys
import numpy as np
from scenes import on_gpu, tell
with on_gpu(sys.argv[1]) as model:
    slot = model.session.slot()
    counts = []
    for count in (3, 3, 0, 64, 1):
        image = np.zeros((8, 8, 3), np.uint8)
        image.reshape(-1, 3)[:count, 2] = 200
        slot.load(image)
        slot.submit()
        places = slot.wait()["places"]
        counts.append([places.shape[1], bool((places[2] * 8 + places[3] == np.arange(count)).all())])
    note = slot._lane.replay.note
    del slot, places
tell(counts=counts, note=note)
"""


def test_an_output_whose_size_depends_on_the_data_grows_and_is_not_captured(
    gpu: Gpu, tmp_path: Path
) -> None:
    import models

    ended = gpu.run(OPEN, models.bright(tmp_path / "bright.onnx"))
    ended.clean()
    assert ended.told["counts"] == [[n, True] for n in (3, 3, 0, 64, 1)]
    assert "depends on the data" in ended.told["note"]
    assert "cuGraphLaunch" not in ended.outcome.report["calls"]


@HINTS
def test_device_times_are_in_the_stages_and_these_add_up(
    gpu: Gpu, squares: Path, test_data: Path, hint: str
) -> None:
    code = """
import sys
from scenes import frames, on_gpu, tell
with on_gpu(sys.argv[1], hint=sys.argv[3]) as model:
    for _ in model.stream(frames(sys.argv[2], 20)):
        pass
    stages, total = model.pipeline.ring.stages_ns(), model.pipeline.ring.total_ns()
tell(means=(stages.mean(0) / 1e6).tolist(), over=int((stages.sum(1) > total).sum()), least=int(stages.min()))
"""
    settings = Settings(delay_us="copy=2000,kernel=3000")
    ended = gpu.run(code, squares, test_data / "video/carphone.mp4", hint, settings=settings)
    ended.clean()
    told = ended.told
    h2d, compute, d2h = told["means"][3:6]
    assert min(h2d, d2h) >= 2
    assert compute >= 3
    assert told["over"] == 0, "the stages are within the whole"
    assert told["least"] >= 0


def test_the_command_line_runs_on_it_and_says_that_it_is_emulated(
    gpu: Gpu, squares: Path, test_data: Path
) -> None:
    video = test_data / "video/carphone.mp4"
    made = gpu.run("import sys; from scenes import on_gpu; on_gpu(sys.argv[1]).close()", squares)
    made.clean()
    ended = gpu.command("run", squares, video, "--frames", 5, "--backend", "trt")
    ended.clean()
    assert ended.outcome.returncode == 0, ended.err
    assert "on emulated CUDA device" in ended.err
    assert "5 frames" in ended.out


FORMATS = """
import sys
import cv2
import numpy as np
from edgevision.pixel_formats import to_bgr
from scenes import differences, frames, on_cpu, on_gpu, tell

class Formatted:
    live, problems = False, []

    def __init__(self, images, format):
        self.images, self.format = images, format

    def open(self):
        self.left = iter(self.images)

    def read(self, into):
        into.format, into.image = self.format, next(self.left, None)
        return into.image is not None

    def cancel(self):
        pass

    def close(self):
        pass

def nv12(bgr):
    height, width = bgr.shape[:2]
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    u, v = planar[height:].reshape(2, height // 2, width // 2)
    return np.vstack([planar[:height], np.dstack([u, v]).reshape(height // 2, width)])

def yuyv(bgr):
    y, u, v = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV))
    return np.dstack([y, np.where(np.arange(bgr.shape[1]) % 2, np.roll(v, 1, 1), u)])

with on_cpu(sys.argv[1]) as reference:
    taken = [(f.image.copy(), len(r)) for f, r in reference.stream(frames(sys.argv[2], 4))]
pictures, wrong, found = [image for image, _ in taken], [], sum(count for _, count in taken)
made = {"nv12": nv12, "yuyv": yuyv, "gray": lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)}
settings = eval(sys.argv[3])
with on_gpu(sys.argv[1], **settings) as model, on_cpu(sys.argv[1]) as reference:
    formats = sorted(model.session.formats)
    for format, make in made.items():
        images = [make(picture) for picture in pictures]
        plain = [to_bgr(image, format, np.empty((0, 0, 3), np.uint8)) for image in images]
        ours, theirs = model.stream(Formatted(images, format)), reference.stream(Formatted(plain, "bgr"))
        for (_, result), (_, wanted) in zip(ours, theirs, strict=True):
            wrong += [f"{format}: {what}" for what in differences(result, wanted, threshold=0.35)]
            assert len(wanted) > 2, format
tell(wrong=wrong, formats=formats)
"""


@pytest.mark.parametrize("preprocess", ["gpu", "cpu"])
def test_frames_of_any_format_give_what_they_give_as_bgr(
    gpu: Gpu, nanodet: Path, test_data: Path, preprocess: str
) -> None:
    ended = gpu.run(FORMATS, nanodet, test_data / "video/vtest.avi", {"preprocess": preprocess})
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()
    assert ended.told["wrong"] == []
    kernel = ["bgr", "gray", "nv12", "yuyv"]
    assert ended.told["formats"] == (kernel if preprocess == "gpu" else ["bgr"])
