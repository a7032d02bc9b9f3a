"""Lists become frozen instances: their hash, their order, and what is left out and why."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgevision.benchmarks.instance import Instance, request_id
from edgevision.benchmarks.matrix.expand import (
    Resolved,
    combinations,
    in_order,
    resolve_all,
)
from edgevision.benchmarks.options import plans_of
from edgevision.benchmarks.plan import Plan
from edgevision.errors import UsageError

PLAN = Plan()


def resolved(path: Path, plans: Any = (PLAN,), others: Any = None, **axes: Any) -> Resolved:
    wanted = combinations(axes, plans)
    return in_order(wanted, json.loads(json.dumps(resolve_all(str(path), wanted, others or {}))))


def problems(found: Resolved) -> list[str]:
    return [error["problem"] for _, error in found.skipped]


def test_id_is_the_hash_of_the_choices_as_canonical_json() -> None:
    choices = {
        "variant": "int8-x86", "precision": "int8", "backend": "ort", "compute": "int8",
        "batch": None, "size": [320, 640], "threads": 2, "hint": "latency",
        "scenario": "single-stream", "inference_only": False,
    }  # fmt: skip
    text = json.dumps(choices, sort_keys=True, separators=(",", ":"))
    instance = Instance("int8-x86", "int8", "ort", "int8", None, (320, 640), 2)
    assert instance.instance_id == hashlib.sha256(text.encode()).hexdigest()[:12]
    assert instance.to_json() == {**choices, "instance_id": instance.instance_id}
    assert Instance.from_json(json.loads(json.dumps(instance.to_json()))) == instance


def test_lists_are_combined_and_lists_left_out_are_one_open_choice(model_file: Path) -> None:
    plans = [Plan(), Plan("offline")]
    found = resolved(model_file, plans, threads=(1, 2), hint=("latency", "throughput"), batch=None)
    made = [(i.threads, i.hint, i.scenario) for i, _ in found.instances]
    assert len(made) == len(set(made)) == 8
    assert all(plan.scenario == instance.scenario for instance, plan in found.instances)
    assert {(i.variant, i.backend, i.compute, i.batch) for i, _ in found.instances} == {
        ("fp32", "ort", "fp32", None)
    }


def test_what_cannot_be_is_left_out_with_its_reason(model_file: Path) -> None:
    found = resolved(
        model_file, backend=("ort", "nonsense"), compute=("fp32", "bf16"), batch=(1, 2)
    )
    assert [(i.backend, i.compute, i.batch) for i, _ in found.instances] == [("ort", "fp32", 1)]
    told = problems(found)
    assert sum("unknown backend 'nonsense'" in text for text in told) == 2
    assert sum("not in bf16" in text for text in told) == 1
    assert sum("a batch of 1, not of 2" in text for text in told) == 4


def test_unknown_variant_and_precision_are_named(model_file: Path) -> None:
    assert "no variant" in problems(resolved(model_file, variant=("fp32", "int4")))[0]
    assert "no variant" in problems(resolved(model_file, precision=("int8",)))[0]
    assert problems(resolved(model_file, variant=("fp32",), precision=("fp32", "fp16"))) == [
        "fp32 is fp32, not fp16"
    ]


def test_two_names_of_one_instance_are_measured_once(model_file: Path) -> None:
    found = resolved(model_file, backend=("auto", "ort"), compute=(None, "fp32"))
    assert len(found.instances) == 1
    assert all("the same as fp32 · ort" in text for text in problems(found))
    assert len(found.skipped) == 3


def test_what_shares_a_loaded_model_stands_together() -> None:
    order = [
        ("a", "x", 1),
        ("b", "x", 1),
        ("a", "y", 2),
        ("b", "x", 2),
        ("a", "x", 2),
        ("a", "y", 1),
    ]
    wanted = combinations({"batch": list(range(1, len(order) + 1))}, [PLAN])
    found = [
        {"instance": Instance(v, "fp32", b, "fp32", threads=t, batch=n).to_json()}
        for n, (v, b, t) in enumerate(order, 1)
    ]
    answer = {"name": "n", "identity": "i", "found": found}
    made = [(i.variant, i.backend, i.threads) for i, _ in in_order(wanted, answer).instances]
    assert made == [
        ("a", "x", 1), ("a", "x", 2), ("a", "y", 2), ("a", "y", 1), ("b", "x", 1), ("b", "x", 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        {"plan": Plan(duration_s=11)},
        {"plan": Plan("multi-stream", samples_per_query=4)},
        {"source": "clip.mp4"},
        {"identity": "other"},
        {"choices": {"score": 0.5}},
        {"instance": Instance("v", "fp32", "ort", "fp32", threads=1).to_json()},
    ],
)
def test_request_is_another_when_anything_that_was_asked_differs(other: dict[str, Any]) -> None:
    asked: dict[str, Any] = {
        "instance": Instance("v", "fp32", "ort", "fp32").to_json(), "plan": PLAN,
        "source": None, "identity": "i", "choices": {"score": None, "threads": 0},
    }  # fmt: skip
    assert request_id(**asked) == request_id(**asked)
    assert request_id(**asked) == request_id(**asked | {"choices": {}})
    assert request_id(**asked) != request_id(**asked | other)


def test_an_option_goes_to_the_scenarios_that_understand_it() -> None:
    given = {"duration_s": 1.0, "latency_bound_ms": 50.0, "target_qps": 5.0, "min_queries": None}
    single, server = plans_of(("single-stream", "server"), False, given)
    assert (single.target_qps, server.target_qps) == (None, 5.0)
    assert (single.min_queries, server.min_queries) == (100, 662)
    with pytest.raises(UsageError, match="no option --fps"):
        plans_of(("single-stream", "server"), False, given | {"fps": 30.0})
