from __future__ import annotations

import click
import pytest

from edgevision import cli
from edgevision.commands import split_classes
from edgevision.errors import GateError
from edgevision.signals import Interrupted


def test_help_lists_every_verb(ev):
    ended = ev("--help")
    assert ended.status == 0
    for verb, (_, text) in cli.VERBS.items():
        assert verb in ended.out
        assert text.split()[0] in ended.out


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(ev, verb):
    ended = ev(verb, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "--json" in ended.out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["run"], ["inspect"], ["verify", "a", "b"]]
)
def test_calls_that_make_no_sense_end_with_2(ev, arguments):
    ended = ev(*arguments)
    assert ended.status == 2
    assert ended.err


def test_the_version(ev):
    from edgevision import __version__

    assert __version__ in ev("--version").out


@pytest.fixture
def verb(monkeypatch):
    """Makes ``inspect`` do something else."""

    def set_it(action):
        @click.command()
        def command():
            return action()

        monkeypatch.setattr(cli._Verbs, "get_command", lambda self, ctx, name: command)

    return set_it


def throw(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (GateError("no", hint="more"), 3, "edgevision: no\n  try:      more"),
        (Interrupted(15), 143, "interrupted"),
        (Interrupted(2), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "not enough memory"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ModuleNotFoundError("no", name="cv2"), 1, "python3-opencv"),
        (ModuleNotFoundError("no", name="onnx.helper"), 1, "edgevision[convert]"),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
    ],
)
def test_every_end_has_its_status(ev, verb, error, status, said):
    verb(throw(error))
    ended = ev("inspect")
    assert ended.status == status
    assert said in ended.err


def test_a_fault_of_ours_is_not_hidden(verb):
    verb(throw(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        cli.main(["inspect"])
    verb(throw(ModuleNotFoundError("ours", name="edgevision.nothing")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["inspect"])


def test_a_verb_s_status_is_the_command_s(ev, verb):
    verb(lambda: 3)
    assert ev("inspect").status == 3
    verb(lambda: None)
    assert ev("inspect").status == 0


@pytest.mark.parametrize(
    ("text", "classes"),
    [(None, None), ("person,2", ["person", 2]), (" a , b ", ["a", "b"]), ("²", ["²"])],
)
def test_classes_are_names_and_numbers(text, classes):
    assert split_classes(text) == classes


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_list_of_no_classes_is_a_usage_error(text, ev, bundle):
    ended = ev("run", bundle, "synthetic://noise?frames=1", "--classes", text)
    assert ended.status == 2
    assert "--classes" in ended.err
