"""Our percentiles and verdicts are MLPerf LoadGen's: it runs here, and we are given the latencies that it logged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevision.benchmarks.scenarios.measurement import Measurement
from edgevision.benchmarks.scenarios.offline import counted
from edgevision.benchmarks.scenarios.results import latency_result, over_the_bound
from edgevision.percentiles import (
    early_stopping_estimate,
    overruns_allowed,
    percentile_ms,
    queries_needed,
    summary_ms,
)

pytestmark = pytest.mark.skipif(
    find_spec("mlperf_loadgen") is None,
    reason="needs mlcommons-loadgen: pip install 'edgevision[dev]' on x86-64 Linux, Python 3.10 to 3.13",
)

RUNNER = Path(__file__).with_name("run_loadgen.py")
SHORT = {"min_duration_ms": 50, "min_query_count": 200}
#: A line of the trace; the whole is no valid JSON where log lines of two threads meet.
SAMPLE = re.compile(r'"query_seq":(\d+),"sample_idx":\d+,"issue_start_ns":\d+,"complete_ns":(\d+)')


class Logged:
    """What LoadGen wrote of a run.

    Attributes:
        samples_ns: From when each sample was due until it was complete, ascending.
        queries_ns: The same for whole queries, ascending: a query ends with its last sample.
        detail: Key → value of the detail log.
        summary: The summary's text.
    """

    def __init__(self, folder: Path) -> None:
        found = SAMPLE.findall((folder / "mlperf_log_trace.json").read_text())
        pairs = np.array(found, np.int64)
        self.samples_ns = np.sort(pairs[:, 1])
        queries = np.zeros(pairs[:, 0].max() + 1, np.int64)
        np.maximum.at(queries, pairs[:, 0], pairs[:, 1])
        self.queries_ns: NDArray[np.int64] = np.sort(queries)
        lines = (folder / "mlperf_log_detail.txt").read_text().splitlines()
        logged = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]
        self.detail: dict[str, Any] = {entry["key"]: entry["value"] for entry in logged}
        self.summary = (folder / "mlperf_log_summary.txt").read_text()


def run(folder: Path, scenario: str, **options: Any) -> Logged:
    told = json.dumps({"scenario": scenario} | SHORT | options)
    subprocess.run([sys.executable, RUNNER, folder, told], check=True, timeout=120)
    logged = Logged(folder)
    # Else what follows would compare something else than what LoadGen judged.
    assert logged.samples_ns[0] == logged.detail["result_min_latency_ns"]
    assert logged.samples_ns[-1] == logged.detail["result_max_latency_ns"]
    return logged


def ns(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1e6)


@pytest.mark.parametrize("queries", [64, 65, 129, 200, 700])
def test_single_stream_s_result_is_loadgen_s(tmp_path: Path, queries: int) -> None:
    logged = run(tmp_path, "SingleStream", min_query_count=queries, max_query_count=queries)
    assert len(logged.queries_ns) == queries
    result = latency_result(logged.samples_ns, 0.9)
    assert ns(result["estimate_ms"]) == logged.detail["early_stopping_latency_ss"]
    assert ns(result["value"]) == logged.detail["result_90.00_percentile_latency_ns"]
    # It is told how many of the highest it left out.
    left_out = re.search(r"Would discard (\d+) highest", logged.detail["early_stopping_result"])
    assert left_out is not None
    assert overruns_allowed(queries, 0.9) - 1 == int(left_out[1])


def test_single_stream_with_too_few_queries_has_no_result_here_nor_there(tmp_path: Path) -> None:
    logged = run(tmp_path, "SingleStream", min_query_count=63, max_query_count=63)
    assert not logged.detail["early_stopping_met"]
    assert "at least 64 queries" in logged.detail["early_stopping_result"]
    result = latency_result(logged.samples_ns, 0.9)
    assert (result["value"], result["estimate_ms"], result["queries_needed"]) == (None, None, 64)


@pytest.mark.parametrize("queries", [661, 662, 900])
def test_multi_stream_s_result_is_loadgen_s(tmp_path: Path, queries: int) -> None:
    options = {"multi_stream_samples_per_query": 3, "min_query_count": queries}
    logged = run(tmp_path, "MultiStream", **options, max_query_count=queries)
    assert (len(logged.queries_ns), len(logged.samples_ns)) == (queries, 3 * queries)
    result = latency_result(logged.queries_ns, 0.99)
    assert (result["estimate_ms"] is not None) == logged.detail["early_stopping_met"]
    assert (ns(result["estimate_ms"]) or 0) == logged.detail["early_stopping_latency_ms"]
    if queries >= 662:
        told = logged.detail["result_99.00_percentile_per_query_latency_ns"]
        assert ns(result["value"]) == told
    median = logged.detail["result_50.00_percentile_per_query_latency_ns"]
    assert summary_ms(logged.queries_ns)["p50"] == median / 1e6


@pytest.mark.parametrize(
    ("queries", "bound_ns"),
    [(700, 500_000_000), (700, 3_000_000), (459, 500_000_000), (458, 500_000_000), (700, 100_000)],
)
def test_server_is_valid_where_loadgen_says_so(tmp_path: Path, queries: int, bound_ns: int) -> None:
    options = {"server_target_qps": 1000.0, "server_target_latency_ns": bound_ns}
    counts = {"min_query_count": queries, "max_query_count": queries, "min_duration_ms": 1}
    logged = run(tmp_path, "Server", **options, **counts)
    reason = over_the_bound(logged.samples_ns, bound_ns / 1e6, 0.99)
    assert (reason is None) == (logged.detail["result_validity"] == "VALID")
    assert (reason is None) == ("Result is : VALID" in logged.summary)
    overruns = int((logged.samples_ns > bound_ns).sum())
    assert overruns == logged.detail["result_overlatency_query_count"]
    more = re.search(r"run at least (\d+) more", logged.detail["early_stopping_result"])
    if more is None:
        assert overruns_allowed(queries, 0.99) >= overruns
    else:
        assert queries_needed(overruns, 0.99) == queries + int(more[1])


def test_offline_s_result_is_loadgen_s(tmp_path: Path) -> None:
    logged = run(tmp_path, "Offline", offline_expected_qps=2000.0, min_query_count=1)
    none = np.empty(0, np.int64)
    ran_ns = int(logged.samples_ns[-1])  # all were due at its begin
    measured = Measurement(np.empty((0, 8), np.int64), logged.samples_ns, none, ran_ns, None, None)
    result = counted(measured).result
    assert result is not None
    # Its logger writes six digits, of a duration that began some nanoseconds before the samples were due.
    assert result["value"] == pytest.approx(logged.detail["result_samples_per_second"], rel=5e-6)


@pytest.mark.parametrize(("p", "name"), [(0.5, "50"), (0.9, "90"), (0.95, "95"), (0.97, "97")])
def test_every_percentile_is_the_same_sample(tmp_path: Path, p: float, name: str) -> None:
    logged = run(tmp_path, "SingleStream", min_query_count=333)
    told = logged.detail[f"result_{name}.00_percentile_latency_ns"]
    assert ns(percentile_ms(logged.samples_ns, p)) == told
    estimate = early_stopping_estimate(logged.samples_ns, p)
    assert estimate is not None
    assert estimate >= told
