"""Flags on planted timelines: each once where it belongs, and none on a quiet machine."""

from __future__ import annotations

import pytest

from edgevision.benchmarks.sampling.flags import flags_of

TIMES = [round(0.1 * n, 1) for n in range(-10, 111)]  # −1 s … 11 s; 0 … 10 s are counted


def flags(timeline, **more):
    return [(flag["kind"], flag["text"]) for flag in flags_of(timeline, 0.0, 10.0, **more)]


def steps(before, after, at_s):
    """A value until a time, and another from then on."""
    return [before if time_s < at_s else after for time_s in TIMES]


@pytest.fixture
def quiet():
    """The series of a machine on which nothing happens."""
    return {
        "cpu_percent": [55.0] * len(TIMES),
        "process_cpu_percent": [50.0] * len(TIMES),
        "steal_percent": [0.0] * len(TIMES),
        "swap_in_mb": [0.0] * len(TIMES),
        "swap_out_mb": [0.0] * len(TIMES),
        "clock_mhz": [3000.0] * len(TIMES),
        "gpu_clock_mhz": [612.0] * len(TIMES),
        "throttled.gpu-throttle-alert": [0.0] * len(TIMES),
        "throttle_events.cores": [0.0] * len(TIMES),
    }


def test_quiet_machine_has_no_flags(planted, quiet):
    start = {"load_average": [0.9, 5, 5]}
    assert flags(planted(TIMES, quiet), start=start, cores=4) == []


def test_no_timeline_and_no_problem_has_no_flags():
    assert flags(None) == []


@pytest.mark.parametrize(
    ("load", "busy"), [([2.0, 0, 0], True), ([1.9, 9, 9], False), (None, False)]
)
def test_load_before_the_run_where_others_share_is_not_known(planted, quiet, load, busy):
    del quiet["process_cpu_percent"]
    found = flags(planted(TIMES, quiet), start={"load_average": load}, cores=4)
    text = "the machine was busy before the run: load average 2.0 on 4 cores"
    assert found == ([("busy", text)] if busy else [])


def test_load_that_the_run_before_left_is_no_flag(planted, quiet):
    """The second run of a matrix: the load average is that of the first one."""
    assert flags(planted(TIMES, quiet), start={"load_average": [4.0, 2, 1]}, cores=4) == []


def test_other_programs_during_the_run(planted, quiet):
    quiet["cpu_percent"] = [85.0] * len(TIMES)
    assert flags(planted(TIMES, quiet)) == [
        ("busy", "other programs used 35 % of the processor during the run")
    ]


def test_other_programs_before_and_after_the_run_do_not_matter(planted, quiet):
    quiet["cpu_percent"] = [55.0 if 0 <= time_s <= 10 else 100.0 for time_s in TIMES]
    assert flags(planted(TIMES, quiet)) == []


def test_processor_given_to_other_machines(planted, quiet):
    quiet["cpu_percent"], quiet["steal_percent"] = [75.0] * len(TIMES), [20.0] * len(TIMES)
    assert flags(planted(TIMES, quiet)) == [
        ("stolen", "the hypervisor gave 20 % of the processor to other machines")
    ]


def test_throttling_state_says_how_long_and_why(planted, quiet):
    quiet["throttled.gpu-throttle-alert"] = steps(0.0, 1.0, 7.5)
    found = flags(planted(TIMES, quiet))  # 26 of the 101 samples from 0 to 10 s
    assert found == [("throttled", "slowed down in 26 % of the time: gpu-throttle-alert")]


def test_throttling_that_is_over_at_once_is_not_told_as_nothing(planted, quiet):
    times = [0.01 * n for n in range(1001)]
    state = [float(n == 500) for n in range(1001)]
    assert flags(planted(times, {"throttled.gpu-heat": state})) == [
        ("throttled", "slowed down in less than 1 % of the time: heat of the GPU")
    ]


def test_throttling_events_before_the_run_do_not_count(planted, quiet):
    quiet["throttle_events.cores"] = steps(0.0, 5.0, -0.5)
    assert flags(planted(TIMES, quiet)) == []
    quiet["throttle_events.cores"] = steps(5.0, 17.0, 3.0)
    assert flags(planted(TIMES, quiet)) == [("throttled", "slowed down 12 times: heat of cores")]


def test_power_limit_of_a_gpu_is_a_kind_of_its_own(planted, quiet):
    quiet["throttled.gpu-power-cap"] = [1.0] * len(TIMES)
    assert flags(planted(TIMES, quiet)) == [
        ("power-capped", "slowed down in 100 % of the time: the GPU's power limit")
    ]


@pytest.mark.parametrize(
    ("after", "dropped"), [(2700.0, False), (2699.0, True), (1200.0, True), (3600.0, False)]
)
def test_clock_that_falls_by_more_than_a_tenth(planted, quiet, after, dropped):
    quiet["clock_mhz"] = steps(3000.0, after, 5.0)
    text = f"the processor's clock fell from 3,000 to {after:,.0f} MHz during the run"
    assert flags(planted(TIMES, quiet)) == ([("frequency-dropped", text)] if dropped else [])


def test_one_low_reading_is_no_drop(planted, quiet):
    quiet["gpu_clock_mhz"] = [306.0 if time_s == 9.0 else 612.0 for time_s in TIMES]
    assert flags(planted(TIMES, quiet)) == []


def test_gpu_clock_that_falls(planted, quiet):
    quiet["gpu_clock_mhz"] = steps(612.0, 306.0, 6.0)
    assert flags(planted(TIMES, quiet)) == [
        ("frequency-dropped", "the GPU's clock fell from 612 to 306 MHz during the run")
    ]


def test_swapping_in_mid_run(planted, quiet):
    quiet["swap_in_mb"], quiet["swap_out_mb"] = steps(3.0, 43.0, 4.0), steps(0.0, 100.0, 2.0)
    assert flags(planted(TIMES, quiet)) == [
        ("swapped", "the machine swapped during the run: 40 MB in, 100 MB out")
    ]


def test_swapping_before_the_run_and_a_few_pages_in_it_do_not_matter(planted, quiet):
    quiet["swap_out_mb"] = steps(0.0, 500.0, -0.3)
    quiet["swap_in_mb"] = steps(0.0, 0.9, 5.0)
    assert flags(planted(TIMES, quiet)) == []


def test_clock_jump_in_the_window(planted, quiet):
    timeline = planted(TIMES, quiet, jumps=[(-0.5, 9.0), (3.2, -3600.0)])
    ((kind, text),) = flags(timeline)
    assert kind == "clock-jump"
    assert text.startswith("the wall clock jumped by -3600.0 s at 3.2 s")


def test_lost_sampler_says_until_when_it_saw(planted):
    timeline = planted([0.0, 0.1, 0.2], {})
    assert flags(timeline, problem="the sampler was lost: killed by SIGKILL") == [
        ("sampler-lost", "the sampler was lost: killed by SIGKILL; its last sample is at 0.2 s")
    ]
    assert flags(None, problem="the sampler could not be started: X") == [
        ("sampler-lost", "the sampler could not be started: X; nothing was sampled")
    ]


def test_sampler_that_was_held_up(planted):
    times = [time_s for time_s in TIMES if not 4.0 < time_s < 7.0]
    assert flags(planted(times, {})) == [
        (
            "sampler-late",
            "no sample for 3.0 s at 4.0 s: the machine was overloaded or stood still",
        )
    ]


@pytest.mark.parametrize(("begin_s", "end_s"), [(-0.5, 2.5), (8.0, 10.6), (-0.5, 10.5)])
def test_gap_in_which_the_counted_time_begins_or_ends_is_told(planted, begin_s, end_s):
    times = [time_s for time_s in TIMES if not begin_s < time_s < end_s]
    ((kind, text),) = flags(planted(times, {}))
    assert (kind, text.split(":")[0]) == (
        "sampler-late",
        f"no sample for {end_s - begin_s:.1f} s at {begin_s:.1f} s",
    )


@pytest.mark.parametrize(("begin_s", "end_s"), [(-1.0, 0.0), (10.0, 11.0)])
def test_gap_outside_the_counted_time_is_not_told(planted, begin_s, end_s):
    times = [time_s for time_s in TIMES if not begin_s < time_s < end_s]
    assert flags(planted(times, {})) == []


def test_series_with_unknown_values_are_judged_by_the_known_ones(planted, quiet):
    for name, values in quiet.items():
        quiet[name] = [value if n % 3 == 0 else None for n, value in enumerate(values)]
    assert flags(planted(TIMES, quiet)) == []
