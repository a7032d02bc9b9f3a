"""The backend ``trt`` on the emulated GPU meets what every backend promises: the same tests, another engine."""

from __future__ import annotations

import sys
from pathlib import Path

from program import Gpu

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "tests" / "edgevision" / "backends" / "test_contract.py"
#: Of those of ``ort``: what is about another engine's own threads, errors or attributes.
LEFT_OUT = [
    "specs_are_those_of_ort",
    "outputs_of_any_type_and_shape",  # an output that is an input, which onnxruntime hands through
    "buffers_stay_where_they_are",  # looks into InputBuffers
    "makes_no_new_arrays",  # the emulated TensorRT does
    "threads_and_version",
    "all_cores",
    "waiting_ends_after_the_timeout",
    "failed_run",  # TensorRT checks shapes before it runs
    "keeps_a_failure",
    "engine_refuses",
    "refuses_work",  # trt refuses to load, too: test_failures.py
    "freed_also_while",
]


def test_trt_meets_the_contract_of_backends(gpu: Gpu) -> None:
    wanted = "ort and not (" + " or ".join(LEFT_OUT) + ")"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "trt_as_ort", "-p", "no:cacheprovider"),
        *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-k", wanted, str(CONTRACT)),
    ]
    ended = gpu.start(command, None, "10.3.0", 300, {})
    assert ended.outcome.returncode == 0, ended.out + ended.err
    assert int(ended.out.split(" passed")[0].split()[-1]) >= 15
    ended.clean()
    assert ended.outcome.report["calls"]["cuGraphLaunch"] > 0, "it was trt that ran"
