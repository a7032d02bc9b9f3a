"""Colours that can be read and told apart, in both themes and on paper, by everybody."""

from __future__ import annotations

import itertools
import re
from importlib import resources

import numpy as np
import pytest

STYLE = (
    resources.files("edgevision.benchmarks.report.html").joinpath("style.css").read_text("utf-8")
)
#: Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision
#: deficiency, IEEE TVCG 15(6), 2009; severity 1.0.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def themes() -> dict[str, dict[str, str]]:
    """The style's variables in each theme."""
    light, dark, paper = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in (light, dark, paper)]
    return {"light": found[0], "dark": found[0] | found[1], "paper": found[0] | found[2]}


def linear(colour: str) -> np.ndarray:
    """sRGB, as ``#abc`` or ``#aabbcc``, to linear light (IEC 61966-2-1)."""
    digits = colour[1:] if len(colour) > 4 else "".join(2 * d for d in colour[1:])
    value = np.array([int(digits[n : n + 2], 16) for n in (0, 2, 4)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, contrast ratio."""
    lights = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    """Linear sRGB to CIE L*a*b* (D65)."""
    xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) @ np.clip(light, 0, 1)
    x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [("ink", "sheet"), ("soft", "sheet"), ("soft", "page"), ("link", "sheet"), ("link", "page")]
    + [(kind, f"{kind}-back") for kind in ("good", "doubt", "bad")],
)
def test_text_can_be_read(theme: str, ink: str, ground: str) -> None:
    colours = themes()[theme]
    assert contrast(colours[ink], colours[ground]) >= 4.5  # WCAG AA


@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
def test_lines_and_bars_stand_out(theme: str) -> None:
    colours = themes()[theme]
    drawn = [f"c{n}" for n in range(8)] + [
        "read",
        "queue",
        "load",
        "copy",
        "compute",
        "decode",
        "none",
    ]
    assert {n: c for n in drawn if (c := contrast(colours[n], colours["sheet"])) < 3} == {}


#: Colours that nothing but colour tells apart, if they meet.
TOGETHER = [
    ("c0", "c1", "c2", "c3"),
    ("read", "queue", "load"),
    ("load", "copy", "compute", "decode"),
    ("load", "compute", "decode", "queue"),
]


@pytest.mark.parametrize("sight", DEFICIENCIES)
@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
@pytest.mark.parametrize("names", TOGETHER)
def test_colours_are_told_apart(names: tuple[str, ...], theme: str, sight: str) -> None:
    seen = [lab(np.array(DEFICIENCIES[sight]) @ linear(themes()[theme][name])) for name in names]
    apart = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 15  # 2.3 is just noticeable side by side


@pytest.mark.parametrize("sight", DEFICIENCIES)
@pytest.mark.parametrize("theme", ["light", "dark", "paper"])
def test_shades_of_lost_frames_rise_in_steps_that_show(theme: str, sight: str) -> None:
    names = ["grid", "lost1", "lost2", "lost3", "lost4"]
    seen = [lab(np.array(DEFICIENCIES[sight]) @ linear(themes()[theme][name])) for name in names]
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.pairwise(seen)) > 15
    steps = np.diff([tone[0] for tone in seen[1:]])  # lightness alone tells more from less
    assert (np.abs(steps) > 8).all()
    assert (steps > 0).all() if theme == "dark" else (steps < 0).all()


def test_lines_that_are_not_have_dashes_of_their_own() -> None:
    dashes = [
        re.search(rf"\.c{n}\.line \{{ stroke-dasharray: ([\d ]+);", STYLE) for n in range(4, 8)
    ]
    assert len({found[1] for found in dashes if found}) == 4


def test_style_and_script_load_nothing() -> None:
    script = resources.files("edgevision.benchmarks.report.html").joinpath("script.js").read_text()
    for text in (STYLE, script):
        assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp|innerHTML|eval|</", text)
