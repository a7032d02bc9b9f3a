"""Lines for a terminal: never wider than 100 columns, names in a column of their own."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.terminal import WIDTH, named, wrapped


def test_text_goes_on_below_where_it_began() -> None:
    lines = named("flag", "word " * 30, 10)
    assert [line[:10] for line in lines] == ["flag      ", " " * 10]
    assert " ".join(" ".join(lines).split()[1:]) == " ".join(["word"] * 30)


def test_lines_that_have_no_name_hang_as_far_as_asked() -> None:
    assert [line[:4].strip() == "" for line in wrapped("word " * 30)] == [False, True]
    assert wrapped("word " * 30, hang=0)[1].startswith("word")


def test_name_without_a_text_stands_alone() -> None:
    assert named("frames", "", 17) == ["frames"]


@given(st.text(max_size=700), st.integers(0, 30))
def test_no_line_is_wider_than_the_terminal_and_none_does_harm(text: str, column: int) -> None:
    for line in named("name", text, column):
        assert len(line) <= WIDTH
        assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Zl", "Zp"}
