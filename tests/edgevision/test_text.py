from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.text import counted, markdown, printable, redacted, score_text, size_text


@given(st.text())
def test_printable_text_has_no_control_characters_and_is_short(text):
    shown = printable(text, 50)
    assert len(shown) <= 50
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("text", ["", "plain", "dög", "犬", "a" * 200])
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


def test_long_text_is_shortened():
    assert printable("abcdef", 4) == "abc…"


def test_markdown_is_neither_html_nor_markup():
    assert markdown("<b>|*_`x`[y]") == r"&lt;b&gt;\|\*\_\`x\`\[y\]"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://user:pw@host/1", "rtsp://***@host/1"),
        ("rtsp://user@host/1", "rtsp://***@host/1"),
        ("rtsp://user:p@ss@host/1", "rtsp://***@host/1"),
        ("rtsp://host/a@b", "rtsp://host/a@b"),
        ("http://h/x?token=abc&size=3", "http://h/x?token=***&size=3"),
        ("http://h/x?a=1&PassWord=abc", "http://h/x?a=1&PassWord=***"),
        ("clip.mp4", "clip.mp4"),
        ("", ""),
    ],
)
def test_credentials_are_taken_out(uri, shown):
    assert redacted(uri) == shown


def test_a_long_password_is_not_saved_by_shortening():
    shown = redacted("rtsp://user:" + "secret" * 100 + "@host/" + "x" * 300)
    assert "secret" not in shown
    assert len(shown) <= 200


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (14_500_000, "14.5 MB"), (3.2e9, "3.2 GB")],
)
def test_sizes_for_people(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("score", "text"),
    [(0, "0.0000"), (1, "1.0000"), (0.95, "0.9500"), (0.949999, "0.9499"), (0.29, "0.2900")],
)
def test_a_score_is_never_shown_better_than_it_is(score, text):
    assert score_text(score) == text


def test_counted_things():
    assert [counted(n, "node") for n in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]
