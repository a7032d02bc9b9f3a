"""No memory, no room: one line that says so, and nothing half-written."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision.converters import convert as convert_module
from edgevision.converters.conversion import Order
from edgevision.converters.convert import convert
from edgevision.converters.shortage import shortage_said
from edgevision.errors import DataError, EdgevisionError, ModelError
from edgevision.progress import Progress

MakeOrder = Callable[..., Order]
COMMAND = Path(sys.executable).with_name("edgevision")


def fail(error: BaseException) -> Callable[..., Any]:
    def raise_it(*arguments: object, **options: object) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    "step", ["read_model", "clean", "write_variant", "int8_variant", "measure", "write_bundle"]
)
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ModelError("onnxruntime cannot load the model", received="std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 1073741824"),
    ],
    ids=["python", "onnxruntime", "its arena"],
)
def test_no_memory_is_one_line_and_leaves_nothing(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    monkeypatch.setattr(convert_module, step, fail(error))
    with pytest.raises(EdgevisionError) as caught:
        convert(order(tmp_path / "a.evb", samples=4), Progress(quiet=True))
    lines = str(caught.value).splitlines()
    assert lines[0] == "there is not enough memory to convert detector.onnx"
    assert len(lines) == 2, "and what to do"
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(DataError, match="show nothing"), shortage_said("convert"):
        raise DataError("the pictures show nothing")
    with pytest.raises(KeyError), shortage_said("convert"):
        raise KeyError("x")


def test_what_an_error_came_from_counts() -> None:
    with (
        pytest.raises(EdgevisionError, match="not enough memory to convert"),
        shortage_said("convert"),
    ):
        try:
            raise RuntimeError("std::bad_alloc")
        except RuntimeError as error:
            raise ModelError("the model does not run") from error


@pytest.mark.parametrize("kilobytes", [4, 16, 24])
def test_a_file_that_may_not_grow_leaves_nothing(
    models: Path, tmp_path: Path, kilobytes: int
) -> None:
    """As on a full disk: some file cannot be written to its end."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    done = subprocess.run(
        [str(COMMAND), "convert", str(models / "detector.onnx"), "-o", str(tmp_path / "a.evb")],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        timeout=120,
    )
    assert done.returncode == 1
    assert "edgevision: no room is left " in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
