"""Names that tell runs apart, and the verdict in the record's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgevision.benchmarks.report.html.entry import common_facts, entries_of

Make = Callable[..., dict[str, Any]]


def names(*records: dict[str, Any]) -> list[str]:
    return [entry.name for entry in entries_of(records, 48)]


def test_name_of_a_single_run_is_what_ran(make: Make) -> None:
    assert names(make()) == ["int8-x86 · ort"]


def test_name_says_what_is_not_as_in_most_runs(make: Make) -> None:
    other = make(hint="throughput", threads={"engine": 1})
    assert names(make(), make(), other)[2] == "int8-x86 · ort · hint throughput · 1 thread"
    assert names(make(), make(), other)[0] == "int8-x86 · ort"
    assert "2 threads" in common_facts([make(), make(), other])


def test_name_has_the_model_as_soon_as_there_are_two(make: Make) -> None:
    found = names(make(), make(), make(bundle={"name": "other"}))
    assert [name.split(" · ")[0] for name in found] == ["garments", "garments", "other"]


def test_compute_is_named_where_it_is_not_the_variants_precision(make: Make) -> None:
    found = names(make(), make(), make(variant="fp32", precision="fp32", compute="bf16"))
    assert found[2] == "fp32 · ort · in bf16"


def test_run_that_failed_is_named_by_what_was_asked(make: Make) -> None:
    asked = {"variant": "fp32", "backend": "ort", "batch": 4, "size": [640, 480]}
    assert names(make(), make(), {"status": "crashed", "instance": asked})[2] == (
        "fp32 · ort · batch 4 · input 640×480"
    )


@pytest.mark.parametrize(
    ("keys", "verdict", "label", "reason"),
    [
        ({}, "valid", "VALID", ""),
        ({"valid": False, "invalid_reason": "short"}, "invalid", "INVALID", "short"),
        ({"valid": False}, "invalid", "INVALID", "no reason is given"),
        ({"valid": "yes"}, "invalid", "INVALID", "no reason is given"),
        (
            {"status": "interrupted", "valid": False, "invalid_reason": "by signal 2"},
            "invalid",
            "INVALID",
            "by signal 2",
        ),
        (
            {"status": "timed-out", "samples_ns": [], "error": {"problem": "too long"}},
            "failed",
            "TIMED OUT",
            "too long",
        ),
        (
            {"status": "failed", "valid": False, "error": {"problem": "lost", "received": "eof"}},
            "invalid",
            "FAILED",
            "lost (received: eof)",
        ),
    ],
)
def test_verdict(keys: dict[str, Any], verdict: str, label: str, reason: str, make: Make) -> None:
    (entry,) = entries_of([make(**keys)], 48)
    assert (entry.verdict, entry.label, entry.reason) == (verdict, label, reason)


@pytest.mark.parametrize("samples", [None, "12", [1, "2"], [1, None], [[1], [2]], [-5], [10**400]])
def test_samples_that_are_no_times_are_none_at_all(samples: Any, make: Make) -> None:
    (entry,) = entries_of([make(samples_ns=samples)], 48)
    assert len(entry.samples_ms) == len(entry.sorted_ms) == 0


def test_begins_count_only_if_there_is_one_for_each_sample(make: Make) -> None:
    (whole,) = entries_of([make(3, samples_ns=[1, 2, 3], begins_ns=[0, 10, 20])], 48)
    (cut,) = entries_of([make(3, samples_ns=[1, 2, 3], begins_ns=[0, 10])], 48)
    assert whole.begins_s is not None
    assert cut.begins_s is None


def test_only_so_many_have_a_colour_and_none_without_samples(make: Make) -> None:
    records = [{"status": "crashed"}, *([make(70)] * 9)]
    colours = [entry.colour for entry in entries_of(records, 48)]
    assert colours == [None, 0, 1, 2, 3, 4, 5, 6, 7, None]
