"""The verb demo: the whole chain, against exact truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest

from edgevision import cli
from edgevision.assets import DETECTOR
from edgevision.benchmarks.terms import Plan
from edgevision.bundle import open_bundle
from edgevision.converters.demo import belt, chain, film
from edgevision.converters.demo.report import demo_text
from edgevision.sources._garments import CLASSES


def edgevision(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    return int(ended.value.code or 0)


def test_the_detector_is_small_and_says_how_to_run_it() -> None:
    assert DETECTOR.stat().st_size <= 1_500_000
    spec = open_bundle(DETECTOR).variants["model"].spec
    assert (spec.task, spec.output.decoder, spec.labels) == ("detect", "yolov8", CLASSES)
    model = onnx.load(DETECTOR)
    assert {p.key for p in model.metadata_props} >= {"task", "names", "imgsz", "license"}


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_a_folder_that_cannot_be_written_is_told_first(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "convert", None)
    place = tmp_path / "demo"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "thesis.tex").touch()
    assert edgevision("demo", "--output", place) == 1
    assert str(place) in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] in (["demo"], ["demo", "thesis.tex"])


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, chain.Demo]:
    """The demo with fewer frames: its folder, what it found as JSON, and as an object."""
    place = tmp_path_factory.mktemp("short") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(belt, "SAMPLES", 50)
        for module in (chain, film):
            patch.setattr(module, "FRAMES", 60)
        patch.setattr(chain, "SAMPLES", 50)
        patch.setattr(chain, "_BENCH", Plan(duration_s=0.1, min_queries=100))
        made: list[chain.Demo] = []

        def run_demo(*arguments: Any, **options: Any) -> chain.Demo:
            made.append(run(*arguments, **options))
            return made[0]

        run = chain.run_demo
        patch.setattr(chain, "run_demo", run_demo)
        lines: list[str] = []
        patch.setattr("click.echo", lambda text, **_: lines.append(text))
        assert edgevision("demo", "--output", place, "--json") == 0
    return place, json.loads(lines[0]), made[0]


def test_both_variants_are_scored_against_the_truth(short: tuple[Path, Any, chain.Demo]) -> None:
    _, found, _ = short
    fp32, int8 = found["variants"]["fp32"], found["variants"]["int8-x86"]
    assert fp32["map50"] >= 0.75
    assert fp32["map50"] > fp32["map50_95"] > 0.4
    assert abs(fp32["map50_95"] - int8["map50_95"]) <= 0.02
    assert int8["size_bytes"] < fp32["size_bytes"] / 2
    assert found["verdict"] == "pass"


def test_the_folder_holds_the_bundle_a_film_a_picture_and_a_report(
    short: tuple[Path, Any, chain.Demo],
) -> None:
    place, found, _ = short
    assert {p.name for p in place.iterdir()} == {
        "annotated.mp4", "contact-sheet.png", "garments.evb", "report.md",
    }  # fmt: skip
    sheet = cv2.imread(str(place / "contact-sheet.png"))
    assert sheet is not None
    assert sheet.shape == (3 * belt.SIZE[1] // 2, 3 * belt.SIZE[0] // 2, 3)
    capture = cv2.VideoCapture(str(place / "annotated.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 60
    text = (place / "report.md").read_text(encoding="utf-8")
    assert "contact-sheet.png" in text
    assert f"{found['variants']['fp32']['map50']:.3f}"[:4] in text


def test_the_last_lines_say_what_is_where(short: tuple[Path, Any, chain.Demo]) -> None:
    place, _, demo = short
    text = demo_text(demo)
    assert "int8-x86" in text
    assert f"{place}/contact-sheet.png" in text
    assert "keeps its accuracy" in text


def test_int8_that_loses_too_much_is_said_and_is_status_3(
    short: tuple[Path, Any, chain.Demo],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, _, demo = short
    fp32 = demo.scores["fp32"]
    worse = chain.Score(fp32.map50, fp32.map50_95 - 0.011, fp32.size_bytes, fp32.record)
    lossy = chain.Demo(demo.conversion, {"fp32": fp32, "int8-x86": worse}, tmp_path)
    monkeypatch.setattr(chain, "run_demo", lambda *_, **__: lossy)
    assert edgevision("demo", "--output", tmp_path) == 3
    assert "loses too much accuracy: mAP@0.5:0.95 -0.0110" in capsys.readouterr().out
