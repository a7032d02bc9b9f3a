"""The file of --list: the options of the command by their names, checked entry by entry."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.converters.cli import convert
from edgevision.converters.list_file import read_list
from edgevision.converters.orders import Job
from edgevision.errors import EdgevisionError, SpecError

FOLDER = Path("out")


def defaults() -> dict[str, Any]:
    """What the command line says when it says nothing."""
    context = convert.make_context("convert", ["-o", "out"])
    own = ("models", "output", "list_file", "as_json")
    return {name: value for name, value in context.params.items() if name not in own}


def listed(tmp_path: Path, text: str, **given_options: Any) -> list[Job]:
    file = tmp_path / "models.toml"
    file.write_text(text, encoding="utf-8")
    return read_list(file, FOLDER, convert.params, defaults() | given_options)


def test_an_entry_has_the_options_of_the_command(tmp_path: Path) -> None:
    (job,) = listed(
        tmp_path,
        """
        [[model]]
        model = "a/nanodet.onnx"
        preset = "nanodet"
        labels = "coco.txt"
        size = "416x320"
        precision = ["int8", "fp16"]
        target = "x86,trt"
        calibration = "street.avi"
        samples = 50
        min-agreement = 0.9
        validation = "/data/val"
        max-drop = 1
        golden = "none"
        keep-passing = true
        """,
    )
    order = job.order
    assert (job.name, order.output) == ("nanodet", FOLDER / "nanodet.evb")
    assert order.model == tmp_path / "a/nanodet.onnx"
    assert (order.overrides.preset, order.overrides.size) == ("nanodet", (416, 320))
    assert order.overrides.labels == tmp_path / "coco.txt"
    assert order.precisions == ("int8", "fp16")
    assert order.targets == ("x86", "trt")
    assert order.calibration == tmp_path / "street.avi"
    assert (order.samples, order.least, order.max_drop) == (50, 0.9, 1.0)
    assert order.validation == Path("/data/val")
    assert (order.golden, order.keep_passing) == ("none", True)


def test_the_nearer_one_rules(tmp_path: Path) -> None:
    """The command line, what stands above the models, the model itself."""
    first, second = listed(
        tmp_path,
        """
        samples = 20
        opset = 18

        [[model]]
        model = "a.onnx"
        samples = 30

        [[model]]
        model = "a.onnx"
        name = "b"
        """,
        samples=10,
        opset=19,
        batch=4,
    )
    assert [(j.order.samples, j.order.opset, j.order.overrides.batch) for j in (first, second)] == [
        (30, 18, 4),
        (20, 18, 4),
    ]
    assert (first.name, second.name) == ("a", "b")


def test_golden_may_be_a_folder_or_a_source(tmp_path: Path) -> None:
    jobs = listed(
        tmp_path,
        "".join(
            f'[[model]]\nmodel = "a.onnx"\nname = "{i}"\ngolden = "{golden}"\n'
            for i, golden in enumerate(("frames", "synthetic://shapes?seed=1", "synthetic"))
        ),
    )
    assert [j.order.golden for j in jobs] == [
        str(tmp_path / "frames"),
        "synthetic://shapes?seed=1",
        "synthetic",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no models"),
        ("model = []", "lists no models"),
        ('model = "a.onnx"', "lists no models"),
        ("[[model]]\n", "model 1 has no key 'model'"),
        ("[[model]]\nmodel = 3\n", "model 1 has no key 'model'"),
        ('[[model]]\nmodel = "a.onnx"\n[[model]]\npreset = "x"', "model 2 has no key 'model'"),
        ('[[model]]\nmodel = "a.onnx"\npresett = "x"', "model 1 (a.onnx): unknown key 'presett'"),
        ('[[model]]\nmodel = "a.onnx"\nmin_agreement = 1', "did you mean 'min-agreement'?"),
        ('[[model]]\nmodel = "a.onnx"\noutput = "x"', "the key 'output' is for the whole call"),
        ('precison = "int8"\n[[model]]\nmodel = "a.onnx"', "above the first model: unknown key"),
        ('[[model]]\nmodel = "a.onnx"\nsamples = "many"', "samples has a value of the wrong kind"),
        ('[[model]]\nmodel = "a.onnx"\nsamples = true', "a whole number"),
        ('[[model]]\nmodel = "a.onnx"\nsamples = 1', "model 1 (a.onnx): samples: 1 is not in"),
        ('[[model]]\nmodel = "a.onnx"\nmax-drop = 2.0', "max-drop: 2.0 is not in"),
        ('[[model]]\nmodel = "a.onnx"\nsize = "big"', "size: 'big' is no size"),
        ('[[model]]\nmodel = "a.onnx"\nsize = 640', 'text, in "quotes"'),
        ('[[model]]\nmodel = "a.onnx"\nforce = "yes"', "true or false"),
        ('[[model]]\nmodel = "a.onnx"\nname = "../b"', "its name cannot be a bundle's"),
        ('[[model]]\nmodel = "a.onnx"\nname = "a\\u001b[31m"', "its name cannot be a bundle's"),
        ('[[model]]\nmodel = "a.onnx"\nname = "a\\u0000b"', "its name cannot be a bundle's"),
        ('[[model]]\nmodel = "a.onnx"\nsize = "0"', "size: '0' is no size"),
        ('[[model]]\nmodel = "a.onnx"\nname = ""\n[[model', "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_entry(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        listed(tmp_path, text)
    assert said in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_what_is_no_text_is_said(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "models.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SpecError, match=r"no text in UTF-8|cannot be read"):
        read_list(file, FOLDER, convert.params, defaults())


@given(st.text(max_size=200))
def test_whatever_it_holds_is_read_or_explained(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("any") / "models.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with suppress(EdgevisionError):
        read_list(file, FOLDER, convert.params, defaults())


def test_every_option_of_the_command_has_a_key_or_is_for_the_whole_call(tmp_path: Path) -> None:
    """A new option with a kind of value that the file cannot give would show here."""
    for option in convert.params:
        if isinstance(option, click.Option):
            assert option.opts[-1].startswith("--")
            assert not option.multiple
