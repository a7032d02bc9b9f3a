"""What is asked of malloc a frame, counted natively by the study whose figures stand in docs/performance.md."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STUDY = Path(__file__).resolve().parents[3] / "benchmarks" / "studies" / "allocations.py"


@pytest.fixture
def count(bundle, squares_video):
    """KiB a frame in an engine, by part."""
    if shutil.which("cc") is None or not sys.platform.startswith("linux"):
        pytest.skip("counting needs Linux and a C compiler called cc")

    def run(engine):
        command = [sys.executable, STUDY, bundle, squares_video, "--backend", engine]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return {
            name.strip(): float(size)
            for name, size in re.findall(r"^(.+?) +median +([\d.]+) KiB", done.stdout, re.MULTILINE)
        }

    return run


def test_a_frame_in_ort_takes_at_most_64_kib(count):
    assert 0 < count("ort")["filled frame → result"] <= 64


def test_nothing_is_added_to_what_openvino_itself_takes(count):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    found = count("openvino")
    assert found["the engine's run"] <= found["OpenVINO's bare request"] + 1
