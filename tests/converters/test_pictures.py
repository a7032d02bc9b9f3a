"""A few pictures of a source: spread over all of it, whatever it holds, and never waited for without end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevision.converters.calibration import open_data
from edgevision.converters.pictures import spread
from edgevision.errors import DataError
from edgevision.sources.images import read_image


@pytest.mark.parametrize(
    ("given", "wanted", "taken"),
    [
        (8, 4, [0, 2, 4, 6]),
        (7, 4, [0, 1, 3, 5]),  # a step of 7 // 4 would take the first four
        (11, 3, [0, 3, 7]),
        (3, 4, [0, 1, 2]),
        (1, 4, [0]),
    ],
)
def test_they_are_spread_over_all_of_it(
    write_pictures: Callable[..., Path], tmp_path: Path, given: int, wanted: int, taken: list[int]
) -> None:
    files = sorted(write_pictures(tmp_path / "pictures", given).iterdir())
    found = spread(str(tmp_path / "pictures"), wanted)
    assert len(found) == len(taken)
    for image, number in zip(found, taken, strict=True):
        np.testing.assert_array_equal(image, read_image(files[number]))


def test_the_next_stands_in_for_one_that_cannot_be_decoded(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    files = sorted(write_pictures(tmp_path / "pictures", 8).iterdir())
    files[2].write_bytes(b"no picture")
    found = spread(str(tmp_path / "pictures"), 4)
    assert len(found) == 4
    np.testing.assert_array_equal(found[1], read_image(files[3]))


@pytest.mark.parametrize("reads", ["golden", "calibration"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, reads: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is a pipe"):
        if reads == "golden":
            spread(str(pipe), 4)
        else:
            open_data(pipe, samples=4, progress=lambda *told: None)
