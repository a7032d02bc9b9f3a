"""The example's list of models: every entry can be ordered as it stands, and fits the model that it names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgevision.converters.cli import convert
from edgevision.converters.list_file import read_list
from edgevision.converters.orders import Job, jobs_for
from edgevision.converters.settings import resolve
from edgevision.onnx_header import read_header

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "convert_all"


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    for file in EXAMPLE.glob("*.toml"):
        shutil.copy(file, tmp_path)
    context = convert.make_context("convert", ["-o", "out"])
    own = ("models", "output", "list_file", "as_json")
    given = {name: value for name, value in context.params.items() if name not in own}
    listed = read_list(tmp_path / "models.toml", tmp_path / "bundles", convert.params, given)
    return list(jobs_for(listed, tmp_path / "bundles"))


def test_the_list_names_seven_models_with_data_to_calibrate_on(jobs: list[Job]) -> None:
    assert len(jobs) == 7
    for job in jobs:
        assert job.order.precisions == ("int8",)
        assert job.order.calibration is not None


def test_each_entry_fits_the_model_that_it_names(jobs: list[Job], test_data: Path) -> None:
    for job in jobs:
        model = test_data / "models" / job.order.model.name
        overrides = job.order.overrides
        labels = overrides.labels
        if labels is not None:
            assert (test_data / "labels" / labels.name).is_file()
            labels.parent.mkdir(exist_ok=True)
            shutil.copy(test_data / "labels" / labels.name, labels)
        header = read_header(model)
        spec = resolve(overrides, header.metadata, header.inputs, model_name=model.name)
        assert spec.input.size is not None
