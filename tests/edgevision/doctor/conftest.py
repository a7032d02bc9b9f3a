"""Machines for the doctor: file systems and answers of libraries, unpacked from one text file each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision.doctor import Finding
from edgevision.doctor.ask import Answer
from edgevision.doctor.checkup import examine
from edgevision.doctor.machine import Machine

_MACHINES = Path(__file__).with_name("machines")


def unpack(name: str, root: Path) -> dict[str, Any]:
    """Writes the files of ``machines/NAME.txt`` below a folder and gives the answers."""
    text = (_MACHINES / f"{name}.txt").read_text(encoding="utf-8")
    parts = re.split(r"^=== (\S+)\n", text, flags=re.MULTILINE)[1:]
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    answers: dict[str, Any] = json.loads(files.pop("answers"))
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.replace("\\0", "\0"), encoding="utf-8")
    return answers


class Patient:
    """A machine that a test may change before it is examined."""

    def __init__(self, root: Path, answers: dict[str, Any], arch: str = "aarch64") -> None:
        self.root, self.answers, self.arch = root, answers, arch
        self.closed: set[str] = set()
        self.folders: dict[str, Path | None] = {}

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def machine(self) -> Machine:
        closed = {self.root / path.lstrip("/") for path in self.closed}
        return Machine(
            self.root,
            {name: Answer.of(answer) for name, answer in self.answers.items()},
            self.folders,
            arch=self.arch,
            kernel="test",
            access=lambda path, mode: path not in closed,
        )

    def examine(self) -> dict[str, Finding]:
        return examine(self.machine())

    def problems(self) -> dict[str, list[str]]:
        """Probe → fixes of its problems."""
        found = {
            name: [r.fix for r in finding.remarks if not r.advice]
            for name, finding in self.examine().items()
        }
        return {name: fixes for name, fixes in found.items() if fixes}


@pytest.fixture
def patient(tmp_path: Path) -> Callable[[str], Patient]:
    """``patient("orin-nano")``: that machine, unpacked."""

    def make(name: str) -> Patient:
        root = tmp_path / name
        return Patient(root, unpack(name, root), "x86_64" if name == "pc" else "aarch64")

    return make
