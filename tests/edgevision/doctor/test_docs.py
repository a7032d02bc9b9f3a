"""What docs/jetson.md and docs/doctor.md say: commands parse, probes and keys are those there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from edgevision import cli
from edgevision.doctor import checkup

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = ("jetson.md", "doctor.md")


def text(page):
    return (DOCS / page).read_text(encoding="utf-8")


def commands():
    lines = [
        line
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", text(page), re.DOTALL)
        for line in block.splitlines()
    ]
    calls = [re.match(r"edgevision [^|>]*", line) for line in lines]
    return [shlex.split(call[0], comments=True) for call in calls if call]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_parses(words):
    command = cli.cli.get_command(click.Context(cli.cli), words[1])
    assert command is not None
    command.make_context(words[1], words[2:])


def test_every_probe_is_described():
    table = text("doctor.md").partition("## What each probe looks at")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(checkup.PROBES)


def test_every_key_is_described(patient):
    facts = checkup.report(patient("pc").examine())
    page = text("doctor.md").partition("## JSON")[2]
    for key in (*facts, *facts["problems"][0], *facts["probes"]["device"]):
        assert f"`{key}" in page, key


def test_every_link_leads_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", text(page)):
            assert (DOCS / link).exists(), link
