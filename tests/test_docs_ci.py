"""What docs/ci.md and docs/convert.md show: commands parse, files that they name have the shape their readers want."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import pytest

from edgevision import cli
from edgevision.converters.cli import convert
from edgevision.converters.list_file import read_list
from edgevision.converters.orders import Job

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("ci.md", "convert.md")
#: Where commands are shown, and what ends one in a shell.
COMMANDS = (*PAGES, "compare.md")
ENDS = (">", ">>", "|", "||", "&&")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands() -> list[list[str]]:
    """Every call of edgevision in a shell block or a pipeline, as words."""
    found = []
    for page in COMMANDS:
        for block in [*blocks(page, "sh"), *blocks(page, "yaml")]:
            for line in block.replace("\\\n", " ").splitlines():
                call = re.search(
                    r"(?:^|run: |- |\|\| )(edgevision (?:convert|verify|run|bench|compare)\b.*)$",
                    line.strip(),
                )
                if call:
                    words = shlex.split(call[1], comments=True)
                    found.append(list(takewhile(lambda word: word not in ENDS, words)))
    return found


def test_commands_were_found() -> None:
    assert len(commands()) >= 15


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_parses(words: list[str]) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), words[1])
    assert command is not None
    command.make_context(words[1], list(words[2:]))


def defaults() -> dict[str, Any]:
    own = ("models", "output", "list_file", "as_json")
    context = convert.make_context("convert", ["-o", "out"])
    return {name: value for name, value in context.params.items() if name not in own}


@pytest.mark.parametrize("page", PAGES)
def test_every_list_of_models_is_read(page: str, tmp_path: Path) -> None:
    lists = [block for block in blocks(page, "toml") if "[[model]]" in block]
    assert lists
    for text in lists:
        file = tmp_path / "models.toml"
        file.write_text(text, encoding="utf-8")
        jobs: list[Job] = read_list(file, Path("bundles"), convert.params, defaults())
        assert len(jobs) == 2


def test_the_container_installs_an_extra_that_there_is() -> None:
    (text,) = blocks("ci.md", "dockerfile")
    extras = pyproject()["project"]["optional-dependencies"]
    assert set(re.findall(r"\.whl\)\[([\w-]+)\]", text)) == {"convert-headless"} <= set(extras)
    instructions = {
        line.split()[0]
        for line in text.replace("\\\n", " ").splitlines()
        if line and line[0] != "#"
    }
    assert instructions == {"FROM", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT"}


def pyproject() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def test_the_headless_extra_is_the_other_one_with_another_opencv() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    plain = {d.replace("opencv-python>", "opencv-python-headless>") for d in extras["convert"]}
    assert plain == set(extras["convert-headless"])


@pytest.mark.parametrize("text", blocks("ci.md", "yaml"))
def test_pipelines_are_indented_like_yaml(text: str) -> None:
    """No YAML parser is among the dependencies: the shape that catches what a hand gets wrong."""
    assert "\t" not in text
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        assert indent % 2 == 0, line
        assert not line.strip() or re.match(r"(- )?[\w.-]+:( |$)|- ", line.strip()), line
        assert line.count('"') % 2 == 0, line


@pytest.mark.parametrize(("default", "status"), [("int8-x86", 0), ("fp32", 1)])
def test_the_gate_of_ones_own_does_what_it_says(tmp_path: Path, default: str, status: int) -> None:
    (script,) = [block for block in blocks("ci.md", "sh") if "python3 -" in block]
    (tmp_path / "bundles").mkdir()
    entry = {"model": "a.onnx", "status": "written", "default": {"variant": default}}
    (tmp_path / "bundles/summary.json").write_text(json.dumps({"models": [entry]}))
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status
    assert ("a.onnx" in done.stderr) == bool(status)


def test_the_table_of_keys_is_complete() -> None:
    """Keys of an entry, as tests/converters/test_many.py holds the summary to them."""
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    for key in (
        "model", "name", "status", "output", "verdict", "identity", "default", "random_calibration",
        "variants", "engines", "error", "seconds",
    ):  # fmt: skip
        assert f"`.{key}" in text, key
    for key in ("schema", "verdict", "exit_status", "counts", "models[]"):
        assert f"| `{key}` |" in text, key
