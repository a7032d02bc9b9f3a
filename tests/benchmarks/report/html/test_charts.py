"""What is drawn is what was measured: places are computed back from the paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgevision.benchmarks.report.html.charts.accuracy import accuracies
from edgevision.benchmarks.report.html.charts.cdf import distribution, tail
from edgevision.benchmarks.report.html.charts.histogram import histogram
from edgevision.benchmarks.report.html.charts.lost import losses_of
from edgevision.benchmarks.report.html.charts.stages import stages_compared, waterfall
from edgevision.benchmarks.report.html.charts.timeline import timeline
from edgevision.benchmarks.report.html.entry import Entry, entries_of
from edgevision.benchmarks.report.html.envelope import envelope_of, thinned
from edgevision.benchmarks.report.html.plot import line_path
from edgevision.benchmarks.report.html.scales import Scale, around, from_zero
from edgevision.benchmarks.report.html.sensors import panels_of, throttled_spans

MS = 1_000_000

Make = Callable[..., dict[str, Any]]


def entry_of(record: dict[str, Any]) -> Entry:
    return entries_of([record], 48)[0]


def path_of(drawn: str, class_: str) -> list[tuple[float, float]]:
    """Absolute places 0…1 of the first path with this class; the second is from the bottom."""
    d = next(
        d for d, kinds in re.findall(r'<path d="([^"]*)" class="([^"]*)"', drawn) if class_ in kinds
    )
    numbers = [int(n) for n in re.findall(r"-?\d+", d)]
    steps = np.array(numbers).reshape(-1, 2)
    return [(x / 2000, 1 - y / 1000) for x, y in np.cumsum(steps, axis=0).tolist()]


def test_distribution_of_four_samples_goes_through_all_of_them(make: Make) -> None:
    record = make(4, samples_ns=[40 * MS, 10 * MS, 20 * MS, 30 * MS])
    scale = around(10, 40)
    want = {(scale.at(10).item(), 0.0)} | {(scale.at(10.0 * n).item(), n / 4) for n in (1, 2, 3, 4)}
    found = path_of(distribution([entry_of(record)], 100), "line")
    for x, y in want:
        assert min(abs(x - a) + abs(y - b) for a, b in found) < 0.002


@pytest.mark.parametrize("draw", [distribution, tail])
def test_every_point_of_a_thinned_line_lies_on_the_exact_distribution(
    draw: Callable[..., str], make: Make
) -> None:
    entry = entry_of(make(5000))
    scale = around(float(entry.sorted_ms[0]), float(entry.sorted_ms[-1]))
    points = path_of(draw([entry], 60), "line")
    assert len(points) <= 62
    for x, y in points[1:-1]:
        shares = np.searchsorted(scale.at(entry.sorted_ms), [x - 0.001, x + 0.001]) / 5000
        if draw is tail:  # four decades up to 5,000 queries
            shares = 1 + np.log10(np.maximum(1 - shares[::-1], 1e-9)) / 4
        assert shares[0] - 0.004 <= y <= shares[1] + 0.004


def test_slowest_query_is_in_both_pictures_however_far_off(make: Make) -> None:
    samples = [10 * MS] * 5000 + [9000 * MS]
    entry = entry_of(make(5001, samples_ns=samples))
    place = around(10, 9000).at(9000).item()
    for drawn in (distribution([entry], 50), tail([entry], 50)):
        assert max(x for x, _ in path_of(drawn, "line")) == pytest.approx(place, abs=0.001)


def test_histogram_leaves_no_query_out(make: Make) -> None:
    samples = [(10 + n % 10) * MS for n in range(1000)] + [5000 * MS, 7000 * MS]
    drawn = histogram(entry_of(make(1002, samples_ns=samples)))
    assert "Beyond it: the slowest 2 (0.2\u00a0%), up to 7,000\u00a0ms." in drawn
    heights = [y for _, y in path_of(drawn, "fill")]
    assert max(heights) == pytest.approx(1 / 1.02, abs=0.002)


def test_histogram_of_equal_samples_is_drawn(make: Make) -> None:
    assert "<path" in histogram(entry_of(make(5, samples_ns=[10 * MS] * 5)))


def test_envelope_reaches_the_extremes_of_each_span() -> None:
    x = np.arange(100.0)
    y = np.where(x % 10 == 3, 50.0, x % 10)
    found = envelope_of(x, y, 10)
    assert found.low.tolist() == [0.0] * 10
    assert found.high.tolist() == [50.0] * 10
    assert found.middle.tolist() == pytest.approx([5.5] * 10, abs=0.51)


@given(
    arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1e6)), st.integers(1, 40)
)
def test_envelope_holds_every_sample(y: np.ndarray, spans: int) -> None:
    found = envelope_of(np.arange(len(y), dtype=np.float64), y, spans)
    assert found.high.max() == y.max()
    assert found.low.min() == y.min()
    assert len(found.x) <= spans + 1
    assert (found.low <= found.middle).all()
    assert (found.middle <= found.high).all()


@given(
    arrays.arrays(np.float64, st.integers(1, 300), elements=st.floats(-50, 50) | st.just(np.nan)),
    st.integers(2, 60),
)
def test_thinned_line_keeps_its_extremes_and_its_ends(y: np.ndarray, points: int) -> None:
    x, short = thinned(np.arange(len(y), dtype=np.float64), y, points)
    assert len(short) <= max(points + 2, 4)
    assert (x[0], x[-1]) == (0, len(y) - 1)
    assert (np.diff(x) > 0).all()
    if not np.isnan(y).all():
        assert (np.nanmin(short), np.nanmax(short)) == (np.nanmin(y), np.nanmax(y))


def test_reading_that_is_missing_breaks_the_line() -> None:
    path = line_path(np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.5, np.nan, 0.5, 0.6]))
    assert path == "M0 500l0 0M400 500l0 0 200 100"


def test_throttling_is_shaded_from_the_reading_before_it() -> None:
    series = {"throttled": {"unit": "causes", "values": [0, 0, 2, 1, 0, None, 1]}}
    record = {"timeline": {"t_s": [0, 1, 2, 3, 4, 5, 6], "series": series}}
    assert throttled_spans(record) == [(1, 3), (4, 6)]


def test_throttling_that_is_read_rarely_is_shaded_from_reading_to_reading() -> None:
    values = [0 if n % 5 == 0 and n < 10 else 1 if n % 5 == 0 else None for n in range(21)]
    record = {"timeline": {"t_s": list(range(21)), "series": {"throttled": {"values": values}}}}
    assert throttled_spans(record) == [(5, 20)]


def test_sensor_that_is_read_rarely_is_a_line_and_breaks_only_where_it_was_silent(
    make: Make,
) -> None:
    record = make()
    count = len(record["timeline"]["t_s"])
    values = [40.0 + n if n % 5 == 0 and not 20 < n < 50 else None for n in range(count)]
    series = {"temperature_c.zone": {"unit": "°C", "values": values}}
    record["timeline"]["series"] = series
    drawn = timeline(entry_of(record), 240)
    (path,) = re.findall(r'<path d="([^"]*)" class="line thin s0"', drawn)
    lines = [len(re.findall(r"-?\d+", part)) // 2 - 1 for part in path.split("M")[1:]]
    assert lines == [len(range(0, 21, 5)), len(range(50, count, 5))]  # points of each line


def lost(begin_s: float, each: list[tuple[list[int], list[int]]], bin_s: float = 1.0) -> Any:
    """The record's ``camera`` with results and dropped frames of each camera, bin by bin."""
    binned = [{"results": results, "dropped": dropped} for results, dropped in each]
    over_time = {"begin_s": begin_s, "bin_s": bin_s, "per_camera": binned}
    return {"fps": 4.0, "cameras": len(each), "over_time": over_time}


def bars_of(drawn: str, level: int) -> list[tuple[int, int, int, int]]:
    """Left, top, width, height of a shade's bars, in units of the layer."""
    paths = re.findall(rf'<path d="([^"]*)" stroke-width="(\d+)" class="lost lost{level}"', drawn)
    return [
        (int(left), int(middle) - int(high) // 2, int(wide), int(high))
        for d, high in paths
        for left, middle, wide in re.findall(r"M(\d+) (\d+)h(\d+)", d)
    ]


def test_lost_frames_stand_in_their_camera_s_row_at_their_time_darker_the_more(make: Make) -> None:
    each = [([4, 3, 2, 1, 0], [0, 1, 2, 3, 4]), ([4, 4, 4, 0, 0], [0, 0, 0, 0, 4])]
    record = make(timeline=None, camera=lost(0.0, each), begins_ns=[0, 9 * 10**9])
    record |= {"samples_ns": [MS, 10**9]}  # so the axis ends at 10 s: 200 units a second
    drawn = timeline(entry_of(record), 240)
    upper, lower = (60, 380), (560, 380)  # top and height of the rows
    assert bars_of(drawn, 0) == [(0, upper[0], 200, 380), (0, lower[0], 600, 380)]
    for level, second in enumerate((1, 2, 3), 1):
        assert bars_of(drawn, level) == [(200 * second, upper[0], 200, upper[1])]
    assert bars_of(drawn, 4) == [(800, upper[0], 200, 380), (800, lower[0], 200, 380)]
    assert "camera 1 50.0\u00a0%, most about 4 s; camera 2 25.0\u00a0%" in drawn
    assert "in spans of 1\u00a0s" in drawn


def test_spans_of_many_cameras_are_put_together_and_no_frame_is_left_out() -> None:
    each = [([1] * 128, [3] * 127 + [1]) for _ in range(8)]
    found = losses_of({"camera": lost(-0.5, each, 0.25)})
    assert found is not None
    drawn = found.in_cells(8 * 30)
    assert drawn.results.shape == (8, 26)  # five bins a span: 6 would be fewer than need be
    assert (drawn.begin_s, drawn.bin_s) == (-0.5, 1.25)
    assert (drawn.results.sum(axis=1) == 128).all()
    assert (drawn.dropped.sum(axis=1) == 127 * 3 + 1).all()


@pytest.mark.parametrize(
    "change",
    [
        {"bin_s": 0},
        {"bin_s": None},
        {"begin_s": "0"},
        {"per_camera": []},
        {"per_camera": [{"results": [1], "dropped": [1, 2]}]},
        {"per_camera": [{"results": [1], "dropped": [1]}, {"results": [], "dropped": []}]},
        {"per_camera": [{"results": [1], "dropped": [None]}]},
        {"per_camera": [{"results": [1], "dropped": [-1]}]},
        {"per_camera": [{"results": [1] * 9999, "dropped": [1] * 9999}]},
        {"per_camera": 3},
    ],
)
def test_losses_that_make_no_sense_are_not_drawn(change: dict[str, Any], make: Make) -> None:
    camera = lost(0.0, [([1], [1])])
    camera["over_time"] |= change
    assert losses_of({"camera": camera}) is None
    assert "lost frames" not in timeline(entry_of(make(camera=camera)), 100)


def test_only_sixteen_cameras_have_a_row_and_the_rest_is_counted(make: Make) -> None:
    drawn = timeline(entry_of(make(camera=lost(0.0, [([1], [1])] * 19))), 100)
    assert "3 more cameras in the record" in drawn
    assert ">16</text>" in drawn
    assert ">17</text>" not in drawn


def proven(value: float, p50: float, make: Make) -> dict[str, Any]:
    accuracy = {"metric": "f1", "value": value, "samples": 400, "verdict": "pass"}
    return make(accuracy=accuracy, latency_ms={"p50": p50})


def test_accuracy_stands_against_times_of_one_scenario_and_ages_by_themselves(make: Make) -> None:
    runs = [proven(0.9, 10.0, make), proven(0.95, 20.0, make)]
    offline = [run | {"scenario": "offline"} for run in runs]
    ages = [run | {"scenario": "camera", "camera": lost(0.0, [([1], [0])])} for run in runs]
    charts = accuracies(entries_of([*runs, *offline, *ages], 48))
    assert [re.findall(r"<circle", chart) for chart in charts] == [["<circle"] * 2] * 3
    for chart, scenario, measure in zip(
        charts, ("single-stream", "offline", "camera"), ("latency", "latency", "age of results"),
        strict=True,
    ):  # fmt: skip
        assert f", {scenario}<" in chart
        assert f">p50 {measure}, ms<" in chart


@pytest.mark.parametrize(
    ("cameras", "title"),
    [((0,), "latency"), ((1,), "age of results"), ((1, 0, 1), "latency or age of results")],
)
def test_axis_of_distributions_says_what_the_times_are(
    cameras: tuple[int, ...], title: str, make: Make
) -> None:
    runs = [make(camera=lost(0.0, [([1], [0])]) if camera else None) for camera in cameras]
    for chart in (distribution, tail):
        assert f">{title}, ms<" in chart(entries_of(runs, 48), 100)


def test_axis_of_an_accuracy_ends_at_one(make: Make) -> None:
    runs = [proven(1.0, 10.0, make), proven(0.98, 20.0, make)]
    chart = accuracies(entries_of(runs, 48))[0]
    ticks = [float(tick) for tick in re.findall(r'class="y">([\d.]+)<', chart)]
    assert len(ticks) >= 3
    assert max(ticks) <= 1.0
    heights = re.findall(r'cy="([\d.]+)%"', chart)
    assert heights == ["0", "86.96"]  # 1 is at the top, 0.977 at the bottom


@pytest.mark.parametrize("second", [10.05, 10.0])
def test_names_of_points_that_are_close_stand_apart(second: float, make: Make) -> None:
    runs = [proven(1.0, p50, make) for p50 in (10.0, second, 20.0)]
    chart = accuracies(entries_of(runs, 48))[0]
    sides = re.findall(r'dx="(-?\d+)" dy="4" class="name[^"]*">(#\d)<', chart)
    assert sides == [("-10", "#1"), ("10", "#2"), ("10", "#3")]


def test_names_of_percentiles_that_are_close_do_not_lie_on_each_other(make: Make) -> None:
    drawn = histogram(entry_of(make(700)))
    names = re.findall(r'dy="(\d+)" class="mark-name[^"]*">(p\d+)<', drawn)
    assert [name for _, name in names] == ["p50", "p90", "p99"]
    assert len({dy for dy, _ in names}) == 3


def test_shades_are_drawn_once_and_shown_on_every_panel(make: Make) -> None:
    record = make(flags=[])
    drawn = timeline(entry_of(record), 100)
    panels = len(panels_of(record))
    assert panels == 4
    assert drawn.count('id="throttled1"') == 1
    assert drawn.count('href="#throttled1"') == panels


def test_the_line_of_results_that_overtook_each_other_never_goes_back_in_time(make: Make) -> None:
    """Of several cameras, the frame that was due first need not be the first to have its result."""
    seconds = [0, 5, 2, 9]
    record = make(timeline=None, begins_ns=[s * 10**9 for s in seconds])
    record |= {"samples_ns": [300 * MS, 100 * MS, 200 * MS, 100 * MS]}
    drawn = timeline(entry_of(record), 240)
    [steps] = re.findall(r'<path d="M\d+ \d+l0 0 ([^"]*)" class="line thin', drawn)
    across = [int(dx) for dx in steps.split()[::2]]
    assert len(across) == 3
    assert across[0] == pytest.approx(across[1] * 2 / 3, abs=1), "2 s, then 3 s, then 4 s"
    assert across[2] == pytest.approx(across[1] * 4 / 3, abs=1)


def test_sensors_without_begins_have_an_axis_of_their_own(make: Make) -> None:
    drawn = timeline(entry_of(make(begins_ns=[])), 100)
    assert "number of the query" in drawn
    assert drawn.count("seconds since the first counted query began") == 1


def test_of_many_sensors_the_hottest_are_shown_and_the_rest_counted(make: Make) -> None:
    record = make()
    for zone in range(7):
        values = [20.0 + zone] * 60
        record["timeline"]["series"][f"temperature_c.z{zone}"] = {"unit": "°C", "values": values}
    panel = panels_of(record)[0]
    assert [series.name for series in panel.series] == ["package", "z6", "z5", "z4"]
    assert panel.left_out == 4


def test_stages_follow_on_each_other_and_add_up(make: Make) -> None:
    means = {"read": 1.0, "load": 2.0, "compute": 6.0, "sink": 0.0, "decode": 1.0}
    stages = {name: {"mean": value, "p50": value} for name, value in means.items()}
    entry = entry_of(make(stages_ms=stages))
    bars = re.findall(r'<rect x="([\d.]+)%" y="15%" width="([\d.]+)%"', str(waterfall(entry)))
    starts = [float(start) * 1.02 for start, _ in bars]  # the axis is 2 % longer than the bars
    assert starts == pytest.approx([0, 10, 30, 90], abs=0.05)
    assert [float(width) * 1.02 for _, width in bars] == pytest.approx([10, 20, 60, 10], abs=0.05)
    assert ">10.00<" in str(stages_compared([entry]))


@given(st.floats(1e-6, 1e12), st.floats(0, 1e6), st.integers(3, 8))
def test_ticks_lie_on_the_axis_in_order_and_are_few(low: float, span: float, most: int) -> None:
    scale = around(low, low + span)
    ticks = scale.ticks(most)
    places = [place for place, _ in ticks]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert len(ticks) <= most + 1


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Scale(0, 100), ["0", "20", "40", "60", "80", "100"]),
        (Scale(0, 1.02), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Scale(9.5, 1050, log=True), ["10", "30", "100", "300", "1,000"]),
        (Scale(1, 10, log=True), ["1", "2", "3", "5", "10"][:4] + ["10"]),
        (from_zero(0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_round(scale: Scale, labels: list[str]) -> None:
    found = [label for _, label in scale.ticks()]
    assert found == labels or (scale.log and set(labels) >= set(found))


def test_axis_is_logarithmic_when_the_slowest_is_far_off() -> None:
    assert around(10, 1000).log
    assert not around(10, 100).log
    assert not around(0, 1000).log
