"""What the README shows is run as it stands, on the data it speaks of."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_two_commands_name_files_that_are_here() -> None:
    root = Path(__file__).resolve().parents[1]
    commands = [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()]
    assert len(commands) == 2
    assert all(command[0] == "sh" and (root / command[1]).is_file() for command in commands)


def test_every_link_leads_somewhere() -> None:
    root = Path(__file__).resolve().parents[1]
    links = [link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert links
    for path, _, heading in links:
        assert (root / path).exists(), path
        if heading:
            titles = re.findall(
                r"^#+ (.+)$", (root / path).read_text(encoding="utf-8"), re.MULTILINE
            )
            slugs = [re.sub(r"[^a-z0-9 -]", "", t.lower()).replace(" ", "-") for t in titles]
            assert heading in slugs, f"{path}#{heading}"


@pytest.mark.slow
def test_step_by_step_and_five_lines_of_python(test_data: Path, tmp_path: Path) -> None:
    """The main job on a real detector and a real street."""
    for name, real in {
        "nanodet.onnx": "models/nanodet.onnx",
        "coco-80.txt": "labels/coco-80.txt",
        "street.avi": "video/vtest.avi",
    }.items():
        (tmp_path / name).symlink_to(test_data / real)
    steps = next(b for b in blocks("sh") if "edgevision convert" in b)
    commands = "\n".join(line for line in steps.splitlines() if not line.startswith("pip "))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    how = {"cwd": tmp_path, "env": os.environ | {"PATH": path}, "check": True}
    subprocess.run(["sh", "-e", "-c", commands], **how)  # type: ignore[call-overload]

    report = json.loads((tmp_path / "street.evb/report.json").read_bytes())
    agreement = report["variants"]["int8-x86"]["agreement"]
    assert (report["verdict"], agreement["verdict"]) == ("pass", "pass")
    assert agreement["value"] >= 0.95
    assert agreement["samples"] >= 2000
    assert json.loads((tmp_path / "bench.json").read_bytes())["valid"]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 795
    people = [sum(d["label"] == "person" for d in line["detections"]) for line in lines]
    assert sum(people) / len(people) > 4, "the street is never empty"
    capture = cv2.VideoCapture(str(tmp_path / "annotated.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 795

    (python,) = blocks("python")
    done = subprocess.run(  # type: ignore[call-overload]
        [sys.executable, "-c", python], **how, capture_output=True, text=True
    )
    assert done.stdout.startswith("0 [["), "the first frame, and what is in it"
    assert "\n794 [[" in done.stdout, "the last"
