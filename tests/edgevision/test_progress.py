from __future__ import annotations

import pytest

from edgevision import progress
from edgevision.progress import Progress, duration_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (4.21, "4.2 s"),
        (59.94, "59.9 s"),
        (60, "1:00"),
        (187, "3:07"),
        (3723, "1:02:03"),
    ],
)
def test_durations_for_people(seconds, text):
    assert duration_text(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves, in seconds."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress, "now_ns", lambda: int(Clock.now * 1e9))
    return Clock


def test_plain_lines_come_every_ten_seconds_and_at_the_end(clock, capsys):
    with Progress() as show:
        for done in range(0, 31):
            clock.now = 100 + done
            show("frames", done, 30)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "frames: 10/30 · 10.0 s · 20.0 s left",
        "frames: 20/30 · 20.0 s · 10.0 s left",
        "frames: 30/30 · 30.0 s",
    ]


def test_a_total_that_is_unknown(clock, capsys):
    show = Progress()
    show("frames", 1, None)
    clock.now += 11
    show("frames", 50, None)
    assert capsys.readouterr().err == "frames: 50 · 11.0 s\n"


def test_each_stage_has_its_own_clock(clock, capsys):
    show = Progress()
    show("first", 1, 1)
    clock.now += 5
    show("second", 1, 1)
    assert capsys.readouterr().err.splitlines() == ["first: 1/1 · 0.0 s", "second: 1/1 · 0.0 s"]


def test_a_terminal_has_one_line_that_renews_itself(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress() as show:
        show("frames", 1, 9)
        clock.now += 1
        show("frames", 2, 9)
        show.say("something else")
    err = capsys.readouterr().err
    assert err.count("\r") == 2
    assert "\nsomething else\n" in err


def test_quiet_shows_nothing(clock, capsys):
    with Progress(quiet=True) as show:
        show("frames", 1, 1)
        show.say("hello")
    assert capsys.readouterr() == ("", "")
