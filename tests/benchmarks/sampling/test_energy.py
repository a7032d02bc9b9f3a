"""Energy against numbers worked out by hand."""

from __future__ import annotations

import pytest

from edgevision.benchmarks.sampling.energy import energy_of


def test_constant_power_is_power_times_time(planted):
    timeline = planted([-0.5, 0.0, 0.5, 1.0, 1.5], {"power_w.IN": [7.5] * 5}, power=[["IN"]])
    assert energy_of(timeline, 0.0, 1.2, 30) == {
        "joules": 9.0,
        "joules_per_frame": 0.3,
        "mean_watts": 7.5,
        "source": "sensor 0",
    }


def test_ramp_is_the_trapezium_cut_at_the_windows_ends(planted):
    # P(t) = 10 t; from 0.5 to 1.5 s: 10 · (1.5² − 0.5²) / 2 = 10 J
    timeline = planted([0, 1, 2], {"power_w.IN": [0, 10, 20]}, power=[["IN"]])
    assert energy_of(timeline, 0.5, 1.5, 1)["joules"] == 10.0


def test_unknown_samples_in_between_are_bridged(planted):
    timeline = planted([0, 1, 2], {"power_w.IN": [10, None, 20]}, power=[["IN"]])
    assert energy_of(timeline, 0, 2, 1)["joules"] == 30.0


def test_counter_is_preferred_to_power_and_read_between_its_samples(planted):
    # 40 J a second; the power series says something else, as a sensor that looks seldom would
    series = {"energy_j.gpu": [0, 80, 160], "power_w.gpu": [1, 1, 1]}
    found = energy_of(planted([-1, 1, 3], series, power=[["gpu"]]), 0, 2, 4)
    assert (found["joules"], found["joules_per_frame"], found["mean_watts"]) == (80.0, 20.0, 40.0)


def test_rails_and_sensors_add_up(planted):
    series = {
        "energy_j.package-0": [0, 10, 30],
        "energy_j.dram": [0, 1, 2],
        "energy_j.core": [0, 8, 25],  # part of the package
        "power_w.gpu": [50, 50, 50],
    }
    found = energy_of(planted([0, 1, 2], series, power=[["package-0", "dram"], ["gpu"]]), 0, 2, 1)
    assert found["joules"] == 30 + 2 + 100
    assert found["source"] == "sensor 0 and sensor 1"


def test_no_frames_have_no_energy_each(planted):
    timeline = planted([0, 1], {"power_w.IN": [5, 5]}, power=[["IN"]])
    assert energy_of(timeline, 0, 1, 0)["joules_per_frame"] is None


def test_nothing_sampled_is_the_reason():
    assert energy_of(None, 0, 1, 9) == {"joules": None, "reason": "nothing was sampled"}


def test_missing_power_sensor_is_the_reason(planted):
    timeline = planted([0, 1], {}, missing={"power_w": "no permission to read X"})
    assert energy_of(timeline, 0, 1, 9)["reason"] == "no permission to read X"


@pytest.mark.parametrize(
    ("times", "watts", "window", "reason"),
    [
        ([0, 1, 2], [5, 5, 5], (0, 9), "power was sampled until 2.0 s of 9.0 s only"),
        ([0, 1, 2], [5, 5, 5], (-1, 1), "power was not sampled from the begin on"),
        ([0, 1, 2], [5, 5, 5], (1, 1), "no time was counted"),
        ([0, 1, 2], [5, 5, None], (0, 2), "power was sampled until 1.0 s of 2.0 s only"),
        ([0, 1, 4.5, 5], [5, 5, 5, 5], (0, 5), "no power sample for 3.5 s, at 1.0 s"),
        ([0, 1], [None, None], (0, 1), "power was not sampled from the begin on"),
    ],
)
def test_energy_that_is_not_known_says_why(planted, times, watts, window, reason):
    timeline = planted(times, {"power_w.IN": watts}, power=[["IN"]])
    assert energy_of(timeline, *window, 10) == {"joules": None, "reason": reason}


def test_a_gap_outside_the_window_does_not_matter(planted):
    timeline = planted([-9, 0, 1, 2, 9], {"power_w.IN": [5] * 5}, power=[["IN"]])
    assert energy_of(timeline, 0, 2, 1)["joules"] == 10.0


def test_samples_that_are_far_apart_by_intention_are_no_gap(planted):
    times = [0.0, 2.4, 4.8, 7.2]
    timeline = planted(times, {"power_w.IN": [5.0] * 4}, power=[["IN"]], interval_s=2.4)
    assert energy_of(timeline, 0, 7.2, 1)["joules"] == 36.0


def test_a_counter_bridges_a_gap_that_power_cannot(planted):
    timeline = planted([0, 1, 9, 10], {"energy_j.IN": [0, 5, 45, 50]}, power=[["IN"]])
    assert energy_of(timeline, 0, 10, 1)["joules"] == 50.0
