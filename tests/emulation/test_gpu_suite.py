"""What waits for a real GPU runs on the emulated one, so that it is in order on the day that there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from driver import Settings
from program import Ended, Gpu

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "benchmarks" / "studies" / "gpu.py"

#: In place of `edgevision build`, whose TensorRT there is no emulation of.
ENGINE = """
import sys
from pathlib import Path
import plans
from edgevision.assets import DETECTOR
from edgevision.bundle import open_bundle
from edgevision.choice import choose
plans.write_engine(choose(open_bundle(DETECTOR)).variant, Path(sys.argv[1]))
"""


def suite(gpu: Gpu, name: str, settings: Settings, **environment: str) -> Ended:
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-m", "gpu and not slow"),
        str(ROOT / "tests" / "gpu" / name),
    ]
    ended = gpu.start(command, settings, "10.3.0", 500, environment)
    assert ended.outcome.returncode == 0, ended.out + ended.err
    assert "skipped" not in ended.out
    return ended


@pytest.mark.parametrize("device", ["integrated=0", "integrated=1"])
def test_the_suite_of_the_runtime_passes_on_the_emulated_gpu(gpu: Gpu, device: str) -> None:
    suite(gpu, "test_runtime.py", Settings(device=device)).clean()


@pytest.mark.slow
def test_the_suite_of_engines_passes_on_the_emulated_gpu(gpu: Gpu, tmp_path: Path) -> None:
    gpu.run(ENGINE, tmp_path)
    ended = suite(gpu, "test_engine.py", Settings(), EDGEVISION_TEST_ENGINES=str(tmp_path))
    ended.clean()
    assert ended.outcome.report["calls"]["cuGraphLaunch"] > 100


@pytest.mark.slow
def test_the_study_of_a_gpu_runs_on_the_emulated_gpu_and_says_so(gpu: Gpu) -> None:
    ended = gpu.start([sys.executable, str(STUDY), "--rounds", "1"], None, "10.3.0", 300, {})
    assert ended.outcome.returncode == 0, ended.out + ended.err
    assert ended.outcome.live == {"contexts": 1}
    # One way of copying is there to show what page-locked memory gains.
    assert ended.outcome.violations == [
        "pageable memory in an asynchronous copy: cuMemcpyHtoDAsync_v2"
    ]
    lines = ended.out.splitlines()
    assert lines[0].startswith("emulated CUDA device, compute capability ")
    assert sum("640×480" in line for line in lines) == 4, "a row for each type and memory"
    assert "not given back: 0 bytes" in lines
