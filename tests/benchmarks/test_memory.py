"""Frames from memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edgevision.benchmarks.memory import MemorySource, golden_source
from edgevision.bundle import open_bundle
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.sources import SourceInfo

SIDE = 8


def test_frames_from_memory_come_round_and_cannot_be_written_to(pictures: list[Image]) -> None:
    source = MemorySource(pictures)
    assert source.open() == SourceInfo("memory://", SIDE, SIDE, 0.0, 3)
    frame = Frame()
    seen = []
    for _ in range(7):
        assert source.read(frame)
        seen.append((frame.index, int(frame.image[0, 0, 0])))
    assert seen == [(0, 0), (1, 100), (2, 200), (3, 0), (4, 100), (5, 200), (6, 0)]
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0] = 1
    pictures[0][0] = 1  # the caller's own array is as it was


def test_cancelled_memory_source_ends(pictures: list[Image]) -> None:
    source = MemorySource(pictures)
    threading.Thread(target=source.cancel).run()
    assert not source.read(Frame())


def test_model_without_golden_frames_needs_a_source(model_file: Path) -> None:
    with pytest.raises(UsageError, match="no golden frames") as caught:
        golden_source(open_bundle(model_file))
    assert "SOURCE" in caught.value.expected
