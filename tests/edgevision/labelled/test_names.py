from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import DataError
from edgevision.labelled.names import known_names, match_names
from edgevision.labelled.yaml_names import read_names

LABELS = ("t-shirt", "Trouser", "ankle boot")


@pytest.mark.parametrize("name", ["ankle boot", "Ankle_Boot", "ankle-boot", " ANKLE  BOOT "])
def test_names_match_but_for_case_and_separators(name):
    assert match_names([name], LABELS, "x") == {name: 2}


def test_an_equal_label_is_preferred_to_one_that_is_only_alike():
    assert match_names(["Cat", "cat"], ("cat", "Cat"), "x") == {"Cat": 1, "cat": 0}


def test_names_that_do_not_match_are_listed_with_the_closest():
    with pytest.raises(DataError) as caught:
        match_names(["Trouser", "trousers", "zebra"], LABELS, "set.json")
    text = str(caught.value)
    assert text.startswith("set.json: classes of the data that the model does not have: 2")
    assert "'trousers' (closest: 'Trouser'" in text
    assert "'zebra'" in text
    assert "expected: t-shirt, Trouser, ankle boot" in text


def test_many_wrong_names_and_labels_are_shortened():
    with pytest.raises(DataError, match=r"and 95 more(.|\n)*… \(1000 labels\)"):
        match_names([f"x{i}" for i in range(100)], [str(i) for i in range(1000)], "x")


def test_a_name_that_could_be_two_labels_is_refused():
    with pytest.raises(DataError, match="the model has it 2 times"):
        match_names(["a b"], ("a_b", "a-b"), "x")


def test_two_names_for_one_label_are_refused():
    with pytest.raises(DataError, match="'Trouser', 'trouser'"):
        match_names(["Trouser", "trouser"], LABELS, "x")


def test_known_names_leave_out_what_does_not_match():
    assert known_names(["T Shirt", "zebra"], LABELS) == {0}


FORMS = [
    "names: [cat, dog, 'ankle boot']",
    "names:\n- cat\n- dog\n- ankle boot\n",
    'path: x\nnc: 3\nnames:   # all\n  - cat\n  - "dog"  # a dog\n\n  - ankle boot\nval: y',
    "names:\n  0: cat\n  1: 'dog'\n  2: ankle boot\nroboflow:\n  license: x",
    "names:\n  2: ankle boot\n  0: cat\n  1: dog\n",
    "names: {0: cat, 1: dog, 2: ankle boot}",
    "names: [\n  'cat',  # first\n  \"dog\",\n  ankle boot,\n]\nval: [a, b]",
    '{"x": 1}\n"names": ["cat", "dog", "ankle boot"]',
    "names: ['cat','dog','ankle boot']\r\nnc: 3\r\n",
    "names: {\"0\": cat, '1': dog, 2: ankle boot}",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_names_is_read(text):
    assert read_names(text, "data.yaml") == ("cat", "dog", "ankle boot")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [men's, it''s, 'it''s']", ("men's", "it''s", "it's")),
        ("names:\n- men's # don't\n- a#b\n- 'a # b'\n", ("men's", "a#b", "a # b")),
        ('names: ["a\\"b", "c\\\\"]', ('a"b', "c\\")),
        ("names: [no, null, 1, 1.5]", ("no", "null", "1", "1.5")),
        ("names: [a:b, c]", ("a:b", "c")),
        ("names:\n- a: b\n", ("a: b",)),
        ("names:\n- größe\n- 人\n", ("größe", "人")),
    ],
)
def test_odd_names(text, names):
    assert read_names(text, "data.yaml") == names


@pytest.mark.parametrize("text", ["", "nc: 3\n", "x:\n  names: [a]\n", "# names: [a]"])
def test_a_file_without_names(text):
    assert read_names(text, "data.yaml") is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nc: 1\nnames: [cat, dog", 2, "no ']' to the end"),
        ("names: !!python/object/apply:os.system [ls]", 1, "python/object"),
        ("names: &a [cat]", 1, "&a"),
        ("names: cat", 1, "cat"),
        ("names:\n", 1, "0 names"),
        ("names: []", 1, "0 names"),
        ("names:\n  0: cat\n  2: dog\n", 1, "0, 2"),
        ("names:\n  0: cat\n  0: dog\n", 1, "0, 0"),
        ("names:\n  cat: 0\n", 1, "cat"),
        ("names:\n  - cat\n    - dog\n", 3, "- dog"),
        ("names:\n  - cat\n  1: dog\n", 1, "a list and a table"),
        ("names:\n  - |\n    cat\n", 2, "|"),
        ("names:\n  - *a\n", 2, "*a"),
        ("names: [cat,, dog]", 1, "an empty place"),
        ("names: [[cat]]", 1, "["),
        ("names: {cat, dog}", 1, "cat"),
        ('names: ["\\x41"]', 1, "escape"),
        ("names: ['cat]", 1, "cat"),
    ],
)
def test_names_that_cannot_be_read_are_refused_with_the_line(text, line, said):
    with pytest.raises(DataError) as caught:
        read_names(text, "data.yaml")
    assert f"data.yaml, line {line}:" in str(caught.value)
    assert said in caught.value.received


NAME = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12
)


@settings(max_examples=100, deadline=None)
@given(st.lists(NAME, min_size=1, max_size=6))
def test_quoted_names_come_back_as_they_were(names):
    quoted = ["'" + name.replace("'", "''") + "'" for name in names]
    assert read_names(f"names: [{', '.join(quoted)}]", "x") == tuple(names)
    assert read_names("names:\n" + "".join(f"- {q}\n" for q in quoted), "x") == tuple(names)
    table = "".join(f"  {i}: {q}\n" for i, q in enumerate(quoted))
    assert read_names(f"names:\n{table}", "x") == tuple(names)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("names: [],{}'\"\\-#\n\t 012&*|x"), max_size=60))
def test_any_text_is_read_or_refused(text):
    for whole in (text, "names:" + text, "names:\n" + text):
        try:
            found = read_names(whole, "x")
        except DataError:
            continue
        assert found is None or (found and all(isinstance(name, str) for name in found))


def test_a_long_hostile_text_is_refused_soon():
    for part in ('"\\', "'", '"', "[", "- a\n", "#", "{0:"):
        for start in ("names: [", "names:\n"):
            try:
                read_names(start + part * 20_000, "x")
            except DataError as error:
                assert len(str(error)) < 1000
