"""The sampling process from within: pace, failing sensors, clocks."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevision.benchmarks.sampling import process
from edgevision.benchmarks.sampling.flags import flags_of
from edgevision.benchmarks.sampling.sensors import BaseSensor, open_sensors
from edgevision.benchmarks.sampling.timeline import read_lines, timeline_of

MS = 1_000_000


class Clock:
    """Monotonic and wall time, and the processor time of this process, that a test moves on."""

    def __init__(self, monkeypatch):
        self.now, self.wall, self.used = 10**10, 10**18, 0
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.now)
        monkeypatch.setattr(time, "time_ns", lambda: self.wall)
        monkeypatch.setattr(time, "process_time_ns", lambda: self.used)

    def pass_(self, ns):
        self.now += ns
        self.wall += ns


class Counting(BaseSensor):
    """Gives how often it was read; a reading costs so much processor time."""

    def __init__(self, clock, name="reads", cost_ns=0, every_s=0.0):
        self.units = {name: "times"}
        self.every_s = every_s
        self._clock, self._name, self._cost_ns, self.reads = clock, name, cost_ns, 0

    def read(self):
        self.reads += 1
        self._clock.used += self._cost_ns
        return {self._name: float(self.reads)}


class Failing(BaseSensor):
    units = {"broken": "W"}  # noqa: RUF012

    def read(self):
        raise OSError(11, "Resource temporarily unavailable")


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def run(sensors, clock, ticks, missing=None):
    """So many ticks of 100 ms, and the timeline of them."""
    file = os.memfd_create("test")
    try:
        rounds = process._Rounds(sensors, file)
        rounds.begin(missing or {}, 0.1)
        for _ in range(ticks):
            clock.pass_(100 * MS)
            rounds.sample()
        return timeline_of(read_lines(os.pread(file, 1 << 20, 0)), clock.now)
    finally:
        os.close(file)


def test_cheap_sensor_is_read_at_every_tick(clock):
    timeline = run([Counting(clock)], clock, 5)
    assert timeline["series"]["reads"]["values"] == [1, 2, 3, 4, 5, 6]
    assert timeline["t_s"] == [-0.5, -0.4, -0.3, -0.2, -0.1, 0.0]


def test_sensor_that_costs_4_ms_is_read_every_400_ms_so_it_takes_a_hundredth_of_a_core(clock):
    timeline = run([Counting(clock, cost_ns=4 * MS)], clock, 9)
    known = [
        n for n, value in enumerate(timeline["series"]["reads"]["values"]) if value is not None
    ]
    assert known == [0, 4, 8]


def test_sensor_that_changes_slowly_is_read_seldom(clock):
    timeline = run([Counting(clock, every_s=0.5)], clock, 10)
    known = [
        n for n, value in enumerate(timeline["series"]["reads"]["values"]) if value is not None
    ]
    assert known == [0, 5, 10]


def test_failing_sensor_is_told_once_and_the_others_go_on(clock):
    timeline = run([Failing(), Counting(clock)], clock, 3)
    assert timeline["missing"]["broken"] == "[Errno 11] Resource temporarily unavailable"
    assert timeline["series"]["reads"]["values"] == [1, 2, 3, 4]


def test_of_two_sensors_that_know_a_series_the_first_gives_it(clock):
    first, second = Counting(clock), Counting(clock)
    second.reads = 100
    assert run([first, second], clock, 1)["series"]["reads"]["values"] == [1, 2]


def test_wall_clock_that_is_set_back_an_hour_is_flagged_and_moves_no_time(clock):
    sensor = Counting(clock)
    read = sensor.read

    def set_back():
        if sensor.reads == 2:
            clock.wall -= 3600 * 1000 * MS
        return read()

    sensor.read = set_back
    timeline = run([sensor], clock, 4)
    assert timeline["t_s"] == [-0.4, -0.3, -0.2, -0.1, 0.0]
    assert timeline["wall_jumps"] == [{"t_s": -0.1, "jump_s": -3600.0}]
    assert [flag["kind"] for flag in flags_of(timeline, -1, 0)] == ["clock-jump"]


def test_wall_clock_is_unknown_when_the_process_was_held_up_between_two_looks(monkeypatch):
    times = iter(range(0, 10**12, 5 * MS))  # 5 ms pass from each look to the next
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(times))
    assert process._wall_offset_ns() is None


def test_wall_clock_is_compared_with_the_middle_of_two_looks(monkeypatch):
    times = iter([1000, 1600])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(times))
    monkeypatch.setattr(time, "time_ns", lambda: 5000)
    assert process._wall_offset_ns() == 5000 - 1300


@pytest.mark.parametrize("name", ["pc-rapl", "orin-nano", "thor"])
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_files_that_hold_anything_at_all_stop_nothing(board, name, data):
    """The board's identity stays, so that its sensors are opened; what they read is arbitrary, then and later."""
    made = board(name)
    junk = st.sampled_from(
        [b"", b"\xff\xfe", b"-1", b"9" * 400, b"nan", b"1 2 3", b"\0", b"0x", b" \n"]
    )
    values = [
        path
        for path in made.root.rglob("*")
        if path.is_file() and path.name not in ("nv_tegra_release", "name", "type", "in1_label")
    ]
    for path in data.draw(st.lists(st.sampled_from(values), max_size=4)):
        path.write_bytes(data.draw(junk))
    sensors, missing = open_sensors(made.machine())
    file = os.memfd_create("test")
    try:
        rounds = process._Rounds(sensors, file)
        rounds.begin(missing, 0.1)
        for path in data.draw(st.lists(st.sampled_from(values), max_size=8)):
            path.write_bytes(data.draw(junk))
        rounds.sample(all_of_them=True)
        timeline = timeline_of(read_lines(os.pread(file, 1 << 20, 0)), 0)
    finally:
        os.close(file)
    assert timeline["sampler"]["samples"] == 2
    assert all(timeline["missing"].values())
