"""The reports: stable keys for scripts, the answer first for people, nothing hostile for anyone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.prove import Proof
from edgevision.converters.report.agreement import required
from edgevision.converters.report.json_file import report_json
from edgevision.converters.report.markdown import report_markdown
from edgevision.onnx_header import read_header

HOSTILE = "<script>alert(1)</script>\x1b[2J|`*_\u202e\x9b31m\n# heading"


def changed(conversion: Conversion, *, made: list[Made] | None = None, **order: Any) -> Conversion:
    return replace(
        conversion,
        order=replace(conversion.order, **order),
        made=conversion.made if made is None else made,
        engines=[],
    )


def with_agreement(conversion: Conversion, **agreement: Any) -> Conversion:
    """The int8 variants' agreement changed."""
    made = [
        replace(m, proof=Proof(m.proof.agreement | agreement, m.proof.outputs)) if m.proof else m
        for m in conversion.made
    ]
    return changed(conversion, made=made)


def test_report_json_has_the_promised_keys(converted: Conversion) -> None:
    report = report_json(converted)
    assert report["schema"] == 1
    assert report["verdict"] == "pass"
    assert list(report["variants"]) == ["fp32", "int8-x86", "int8-trt"]
    assert report["variants"]["fp32"]["agreement"] is None
    int8 = report["variants"]["int8-x86"]
    assert int8["size_bytes"] == converted.made[1].variant.size_bytes
    assert int8["agreement"] == {
        "metric": "f1", "value": 1.0, "samples": 320, "frames": 64, "precision": 1.0,
        "recall": 1.0, "f1_at": {"0.25": 1.0, "0.35": 1.0, "0.5": 1.0}, "least": 0.95,
        "verdict": "pass",
    }  # fmt: skip
    assert set(int8["outputs"]) == {"output0"}
    assert set(int8["outputs"]["output0"]) == {"cosine", "sqnr_db"}
    assert 0.999 < int8["outputs"]["output0"]["cosine"] <= 1
    data = report["calibration"]
    assert {k: data[k] for k in ("samples", "data", "proof_samples", "problems")} == {
        "samples": 64, "data": "clip.avi", "proof_samples": 64, "problems": [],
    }  # fmt: skip
    assert data["method"] in ("mean+rounding", "mean", "minmax+rounding", "minmax")
    assert re.fullmatch("[0-9a-f]{64}", data["digest"])


def test_the_report_for_people_answers_first(converted: Conversion) -> None:
    lines = report_markdown(converted).splitlines()
    assert lines[0] == "# squares"
    assert lines[2].startswith("**int8-x86: ✅ pass.** It agrees with fp32 at F1 1.0000")
    assert "runs at" in lines[2]
    assert lines[4].startswith("**int8-trt: ✅ pass.**")
    assert "runs at" not in lines[4], "a CPU says nothing about TensorRT's speed"


def test_what_runs_here_is_said_as_run_itself_chooses(converted: Conversion) -> None:
    lines = (converted.order.output / "report.md").read_text(encoding="utf-8").splitlines()
    best = candidates(open_bundle(converted.order.output))[0]
    assert lines[6].startswith(f"Here `edgevision run` takes **{best.variant.id}**, in ")
    assert lines[6].endswith(f": {best.reason}.")


def test_the_report_for_people_says_what_it_rests_on(converted: Conversion) -> None:
    text = report_markdown(converted)
    for sentence in (
        "From `detector.onnx`: detect with decoder `yolov8`, 2 classes, on 64×64 rgb pictures (letterbox).",
        "the first 40 % of the frames, the next 20 % and the last 40 %",
        "- calibrated on 64 pictures",
        "- chose among recipes on 32",
        "- proven on 64",
        "Over 64 pictures fp32 finds 320 objects at score 0.35.",
        "its speed on a CPU says nothing about a GPU",
        "edgevision run squares.evb",
    ):
        assert sentence in text


def test_recipes_are_explained_by_the_words_that_they_have(converted: Conversion) -> None:
    text = report_markdown(converted)
    names = [trial.candidate.name for made in converted.made for trial in made.trials]
    assert names
    for word in ("rounding", "equalized"):
        assert (f"`{word}` " in text) == any(word in name for name in names)


def test_no_object_at_all_is_no_agreement_to_speak_of(converted: Conversion) -> None:
    text = report_markdown(with_agreement(converted, verdict="not proven", samples=0))
    assert "Over 64 pictures fp32 finds no object at score 0.35" in text
    assert "100.0%, and" not in text


def test_every_table_has_as_many_cells_in_every_row(converted: Conversion) -> None:
    tables = re.findall(r"(?:^\|.*\n)+", report_markdown(converted), re.MULTILINE)
    assert len(tables) >= 3
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1, table


def test_too_little_data_is_explained(converted: Conversion) -> None:
    few = with_agreement(converted, verdict="insufficient", frames=12, samples=30)
    text = report_markdown(few)
    assert "⚠️ insufficient data" in text
    assert "12 pictures with 30 objects; a verdict needs at least 50 pictures with 100" in text
    assert report_json(few)["verdict"] == "insufficient"


def with_top1(conversion: Conversion, **agreement: Any) -> Conversion:
    found = {
        "metric": "top1", "value": 1.0, "samples": 64, "frames": 64, "classes": 3,
        "commonest": "cat", "commonest_frames": 40, "least": 0.95, "verdict": "pass",
    }  # fmt: skip
    made = [
        replace(m, proof=Proof(found | agreement, m.proof.outputs)) if m.proof else m
        for m in conversion.made
    ]
    return changed(conversion, made=made)


def test_a_classifier_proven_on_one_class_is_explained(converted: Conversion) -> None:
    few = with_top1(converted, verdict="insufficient", commonest_frames=60)
    text = report_markdown(few)
    assert "⚠️ insufficient data" in text
    assert "fp32 says `cat` in 60 of 64 pictures: a model that always says so" in text
    assert "rests on only" not in text, "64 pictures are enough"
    nothing = with_top1(
        converted, verdict="insufficient", classes=1, commonest="", commonest_frames=64
    )
    assert "fp32 says `nothing` in 64 of 64" in report_markdown(nothing)


def test_a_classifier_proven_on_few_pictures_is_explained(converted: Conversion) -> None:
    few = {"frames": 20, "samples": 20, "commonest_frames": 12}
    text = report_markdown(with_top1(converted, verdict="insufficient", **few))
    assert "rests on only 20 pictures; a verdict needs at least 50 pictures." in text
    assert "always says" not in text
    assert "always says" not in report_markdown(with_top1(converted))


def with_metric(conversion: Conversion, metric: str, **agreement: Any) -> Conversion:
    found = {
        "metric": metric, "value": 0.99155, "samples": 2310, "frames": 64, "least": 0.95,
        "nme": 0.00845, "distance": 0.0073, "people": 140, "lost": 3, "invented": 1, "iou": {"0": 0.99155},
        "verdict": "pass",
    }  # fmt: skip
    made = [
        replace(m, proof=Proof(found | agreement, m.proof.outputs)) if m.proof else m
        for m in conversion.made
    ]
    return changed(conversion, made=made)


def test_key_points_are_reported_by_their_error(converted: Conversion) -> None:
    text = report_markdown(with_metric(converted, "1-nme"))
    for sentence in (
        "to a mean key-point error of 0.85 % of the person's height (at most 5 % was asked), runs at",
        "| error 0.85 % ✅ pass |",
        "Over 64 pictures fp32 sees 140 people with 2310 points of score 0.3 or more.",
        "Those that the variant sees too lie 0.73 % of the person's height apart on average.",
        "3 it does not see, and it sees 1 that fp32 does not; with each of these counted as a whole",
        "the error (NME) is 0.85 %.",
    ):
        assert sentence in text


def test_an_error_is_never_shown_as_what_was_asked_when_it_is_more(converted: Conversion) -> None:
    text = report_markdown(with_metric(converted, "1-nme", value=0.949999, verdict="fail"))
    assert "error of 5.01 % of the person's height (at most 5 % was asked)" in text


def test_masks_are_reported_by_their_overlap(converted: Conversion) -> None:
    text = report_markdown(with_metric(converted, "miou", samples=60))
    for sentence in (
        "It agrees with fp32 at mean IoU 0.9915 (at least 0.95 was asked), runs at",
        "Over 64 pictures, in 60 of which fp32 sees something, the masks cover each other",
        "at an IoU of 0.9915 (pixels of all pictures together, mean over 1 class).",
    ):
        assert sentence in text


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("1-nme", "rests on only 12 pictures with 30 key points; a verdict needs at least 50 pictures with 100 key points."),
        ("miou", "rests on only 12 pictures with 30 masks; a verdict needs at least 50 pictures with 50 masks."),
    ],
)  # fmt: skip
def test_too_little_data_is_explained_for_every_metric(
    converted: Conversion, metric: str, sentence: str
) -> None:
    few = with_metric(converted, metric, verdict="insufficient", frames=12, samples=30)
    assert sentence in report_markdown(few)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("f1", "agreement of at least 0.95 on at least 50 pictures with at least 100 objects in them"),
        ("top1", "agreement of at least 0.95 on at least 50 pictures, with none of several classes in more than 90% of them"),
        ("1-nme", "a mean key-point error of at most 5 % on at least 50 pictures with at least 100 key points in them"),
        ("miou", "agreement of at least 0.95 on at least 50 pictures in which fp32 sees something"),
    ],
)  # fmt: skip
def test_what_is_required_is_said_for_every_metric(metric: str, text: str) -> None:
    assert required(metric, 0.95) == text


def with_outputs(conversion: Conversion, **outputs: Any) -> Conversion:
    made = [
        replace(m, proof=Proof(m.proof.agreement | {"verdict": "fail"}, outputs)) if m.proof else m
        for m in conversion.made
    ]
    return changed(conversion, made=made)


def test_what_was_left_out_of_the_outputs_numbers_is_said(converted: Conversion) -> None:
    left = with_outputs(
        converted,
        scores={"cosine": 0.5, "sqnr_db": 1.0, "skipped": 7},
        boxes={"cosine": None, "sqnr_db": None, "sizes_differ": 64},
        same={"cosine": 1.0, "sqnr_db": None},
        noise={"cosine": 0.0, "sqnr_db": None},
    )
    outputs = report_json(left)["variants"]["int8-x86"]["outputs"]
    assert outputs["scores"] == {"cosine": 0.5, "sqnr_db": 1.0, "skipped": 7}
    assert outputs["boxes"] == {"cosine": None, "sqnr_db": None, "sizes_differ": 64}
    text = report_markdown(left)
    for sentence in (
        "Some of its raw outputs are NaN or infinite, which fails it",
        "- ❌ 7 values of `scores` are NaN or infinite in this variant and finite in fp32",
        "- `boxes` has another size than in fp32 in 64 pictures",
        "| `boxes` | not compared |  |",
        "| `same` | 1.00000 | exact |",
        "| `noise` | 0.00000 | noise only |",
    ):
        assert sentence in text
    assert "NaN" not in report_markdown(converted)
    assert "another size" not in report_markdown(converted)


def test_recipes_chosen_on_the_calibration_pictures_are_said(converted: Conversion) -> None:
    assert converted.data is not None
    small = changed(converted)
    none = replace(converted.data.selection, count=0)
    small.data = replace(converted.data, selection=none)
    text = report_markdown(small)
    assert "chose among recipes on 0" not in text
    assert "- chose among recipes on the same pictures: so few were given" in text
    assert "| recipe tried | agreement on the calibration pictures |" in text
    assert report_json(small)["calibration"]["recipes_chosen_on"] == "calibration"
    assert report_json(converted)["calibration"]["recipes_chosen_on"] == "selection"
    assert "agreement on the selection pictures" in report_markdown(converted)


@pytest.mark.parametrize(
    ("int8", "kept", "sentence"),
    [
        (["a", "b"], {"c": "decode tail", "d": "decode tail"}, "2 nodes run in int8, 2 stay in float."),
        (["a"], {"c": "decode tail"}, "1 node runs in int8, 1 stays in float."),
        (["a", "b"], {}, "2 nodes run in int8, 0 stay in float."),
    ],
)  # fmt: skip
def test_nodes_are_counted_and_those_in_float_grouped_by_reason(
    converted: Conversion, int8: list[str], kept: dict[str, str], sentence: str
) -> None:
    plan = {"int8": int8, "float": kept, "warnings": []}
    made = [replace(m, quantized=plan) if m.proof else m for m in converted.made]
    text = report_markdown(changed(converted, made=made))
    assert sentence in text
    for reason in set(kept.values()):
        assert f"- {len(kept)} × {reason}" in text


def test_inputs_that_nothing_feeds_are_named(
    converted: Conversion, make_detector: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    assert report_json(converted)["inputs_fed_with_zeros"] == []
    assert "fed with zeros" not in report_markdown(converted)
    model = make_detector()
    model.graph.input.insert(0, helper.make_tensor_value_info("scale_factor", 1, [1, 2]))
    weights = model.graph.initializer[0]  # an initializer among the inputs is fed by itself
    info = helper.make_tensor_value_info(weights.name, weights.data_type, weights.dims)
    model.graph.input.append(info)
    onnx.save(model, tmp_path / "two.onnx")
    read = replace(converted.read, header=read_header(tmp_path / "two.onnx"))
    two = replace(converted, read=read)
    assert report_json(two)["inputs_fed_with_zeros"] == ["scale_factor"]
    text = report_markdown(two)
    assert "⚠️ Inputs fed with zeros: `scale_factor`. Only `images` takes pictures" in text


def test_a_failure_says_that_there_is_no_bundle(converted: Conversion) -> None:
    failed = with_agreement(converted, verdict="fail", value=0.5)
    text = report_markdown(failed)
    assert "❌ fail" in text
    assert "no bundle was written" in text
    assert "## Next" not in text
    assert report_json(failed)["verdict"] == "fail"
    kept = report_markdown(changed(failed, keep_passing=True))
    assert "left out of the bundle" in kept
    assert "no bundle was written" not in kept


def test_a_variant_that_finds_nothing_is_not_praised_for_its_precision(
    converted: Conversion,
) -> None:
    blind = with_agreement(converted, verdict="fail", value=0.0, recall=0.0, precision=1.0)
    assert "100.0% of what it finds" not in report_markdown(blind)


def test_fail_outranks_insufficient(converted: Conversion) -> None:
    mixed = with_agreement(converted, verdict="insufficient")
    proof = converted.made[1].proof
    assert proof is not None
    failed = Proof(proof.agreement | {"verdict": "fail"}, proof.outputs)
    made = [mixed.made[0], replace(mixed.made[1], proof=failed), mixed.made[2]]
    assert report_json(changed(mixed, made=made))["verdict"] == "fail"


def test_int8_that_is_not_faster_is_said(converted: Conversion) -> None:
    slow = changed(converted)
    slow.timings = {k: v | {"speedup": 0.8} for k, v in converted.timings.items()}
    assert (
        "**int8-x86 is not faster than fp32 on this machine, so fp32 is what runs here by default**"
        in report_markdown(slow)
    )


def test_only_fp32_proves_nothing(converted: Conversion) -> None:
    plain = changed(converted, made=converted.made[:1])
    plain.data = None
    assert "nothing to prove" in report_markdown(plain)
    assert report_json(plain)["verdict"] == "reference only"
    assert report_json(plain)["calibration"] is None


def test_many_problems_are_counted_and_a_dozen_shown(converted: Conversion) -> None:
    assert converted.data is not None
    hurt = changed(converted)
    hurt.data = replace(converted.data, problems=[f"{n:02d}.png was skipped" for n in range(40)])
    text = report_markdown(hurt)
    assert "Problems with it: 40" in text
    assert "11.png" in text
    assert "12.png" not in text
    assert "and 28 more" in text
    assert len(report_json(hurt)["calibration"]["problems"]) == 40


def test_hostile_names_stay_text(converted: Conversion, tmp_path: Path) -> None:
    assert converted.data is not None
    model = tmp_path / (HOSTILE.replace("/", "") + ".onnx")
    shutil.copy(converted.order.model, model)
    bad = changed(
        converted,
        output=Path(HOSTILE.replace("/", "") + ".evb"),
        model=model,
    )
    bad.data = replace(converted.data, name=HOSTILE, problems=[HOSTILE])
    bad.changes = [HOSTILE]
    bad.made = [bad.made[0]]
    for made in converted.made[1:]:
        assert made.proof is not None
        quantized = {"float": {HOSTILE: HOSTILE}, "int8": [HOSTILE], "warnings": [HOSTILE]}
        proof = Proof(made.proof.agreement, {HOSTILE: {"cosine": 0.5, "sqnr_db": 1.0}})
        bad.made.append(replace(made, proof=proof, quantized=quantized))
    text = report_markdown(bad)
    for raw in ("<script", "\x1b", "\x9b", "\u202e"):
        assert raw not in text
    assert "\n# heading" not in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(cells) == 1, table


def test_a_name_of_a_megabyte_does_not_fill_the_report(converted: Conversion) -> None:
    long = changed(converted)
    long.changes = ["x" * 1_000_000] * 3
    assert len(report_markdown(long)) < 20_000


def test_the_reports_hold_no_path_host_or_time(converted: Conversion) -> None:
    folder = converted.order.output
    for name in ("report.json", "report.md", "manifest.json"):
        text = (folder / name).read_text(encoding="utf-8")
        assert str(folder.parent) not in text
        assert str(converted.order.model.parent) not in text
    report = json.loads((folder / "report.json").read_bytes())
    assert report == json.loads(json.dumps(report_json(converted)))
    assert "latency" not in (folder / "report.json").read_text()


@pytest.mark.parametrize("name", ["report.json", "timings.json", "manifest.json"])
def test_what_is_json_is_strict_json(converted: Conversion, name: str) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads((converted.order.output / name).read_bytes(), parse_constant=refuse)
