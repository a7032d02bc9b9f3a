"""Agreement with fp32 in words: each metric says what its number means, and what it has to rest on."""

from __future__ import annotations

import math
from typing import Any

from edgevision.converters.prove import (
    LEAST_DETECTIONS,
    LEAST_FRAMES,
    LEAST_KEYPOINTS,
    MOST_OF_ONE_CLASS,
    one_sided,
)
from edgevision.converters.report.outputs import code
from edgevision.text import score_text

__all__ = ["agreement_cell", "agreement_section", "found_text", "headline", "lacking", "required"]

_METRICS = {"f1": "F1", "top1": "top-1", "miou": "mean IoU"}


def headline(agreement: dict[str, Any]) -> str:
    """The number in a sentence, and what was asked."""
    value, least = agreement["value"], agreement["least"]
    if agreement["metric"] == "1-nme":
        return (
            f"It agrees with fp32 to a mean key-point error of {_error_text(value)} of the person's height "
            f"(at most {_error_text(least)} was asked)"
        )
    name = _METRICS[agreement["metric"]]
    return f"It agrees with fp32 at {name} {score_text(value)} (at least {least:g} was asked)"


def agreement_cell(agreement: dict[str, Any]) -> str:
    """The number in a table."""
    value: float = agreement["value"]
    return f"error {_error_text(value)}" if agreement["metric"] == "1-nme" else score_text(value)


def found_text(agreement: dict[str, Any]) -> str:
    """The number, and what it rests on, for a message."""
    metric, value = agreement["metric"], agreement["value"]
    found = (
        f"mean key-point error {_error_text(value)} of the person's height"
        if metric == "1-nme"
        else f"{metric} {score_text(value)}"
    )
    return f"{found} on {agreement['samples']} samples"


def required(metric: str, least: float) -> str:
    """What a variant has to reach, and on how much."""
    asked = (
        f"a mean key-point error of at most {_error_text(least)}"
        if metric == "1-nme"
        else f"agreement of at least {least:g}"
    )
    return f"{asked} on at least {LEAST_FRAMES} pictures{_AND_IN_THEM[metric]}"


def lacking(agreement: dict[str, Any]) -> str:
    """What was too little, if the data were."""
    if agreement["verdict"] != "insufficient":
        return ""
    pictures = agreement["frames"]
    lines = []
    if pictures < LEAST_FRAMES or agreement["metric"] in _THINGS:
        things, least = _THINGS.get(agreement["metric"], ("", 0))
        seen = f"{pictures} pictures" + (f" with {agreement['samples']} {things}" if things else "")
        wanted = f"{LEAST_FRAMES} pictures" + (f" with {least} {things}" if things else "")
        lines.append(f" That rests on only {seen}; a verdict needs at least {wanted}.")
    if one_sided(agreement) and pictures:
        best = code(agreement["commonest"] or "nothing")
        lines.append(
            f" fp32 says {best} in {agreement['commonest_frames']} of {pictures} pictures: a model that "
            "always says so would agree as often. A verdict needs pictures of several classes, "
            f"none of them in more than {MOST_OF_ONE_CLASS:.0%}."
        )
    return "".join(lines)


def agreement_section(agreement: dict[str, Any]) -> str:
    """What was compared, and how it was counted."""
    return _SECTIONS[agreement["metric"]](agreement)


def _error_text(value: float) -> str:
    """The error of an agreement in percent, rounded up: 5.001 % is shown as no 5 %."""
    return f"{math.ceil((1 - value) * 1e4 - 1e-6) / 100:g} %"


def _boxes(agreement: dict[str, Any]) -> str:
    if not agreement["samples"]:
        return (
            f"Over {agreement['frames']} pictures fp32 finds no object at score 0.35, so there is nothing that a "
            "variant could agree on."
        )
    at = ", ".join(
        f"{score_text(value)} at score {score}" for score, value in agreement["f1_at"].items()
    )
    right = (
        f"{agreement['precision']:.1%} of what it finds is among them"
        if agreement["recall"]
        else ""
    )
    return (
        f"Over {agreement['frames']} pictures fp32 finds {agreement['samples']} objects at score 0.35. "
        f"Of those the variant finds {agreement['recall']:.1%}{', and ' if right else ''}{right} "
        f"(same class, IoU ≥ 0.5, one to one). F1 is {at}."
    )


def _classes(agreement: dict[str, Any]) -> str:
    return f"The best class is the same in {agreement['value']:.2%} of {agreement['samples']} pictures."


def _keypoints(agreement: dict[str, Any]) -> str:
    return (
        f"Over {agreement['frames']} pictures fp32 sees {agreement['people']} people with "
        f"{agreement['samples']} points of score 0.3 or more. Those that the variant sees too lie "
        f"{_error_text(1 - agreement['distance'])} of the person's height apart on average. "
        f"{agreement['lost']} it does not see, and it sees {agreement['invented']} that fp32 does not; with each of "
        f"these counted as a whole height the error (NME) is {_error_text(agreement['value'])}."
    )


def _masks(agreement: dict[str, Any]) -> str:
    count = len(agreement["iou"])
    classes = f"{count} class{'' if count == 1 else 'es'}"
    return (
        f"Over {agreement['frames']} pictures, in {agreement['samples']} of which fp32 sees something, the masks "
        f"cover each other at an IoU of {score_text(agreement['value'])} (pixels of all pictures together, mean "
        f"over {classes})."
    )


_SECTIONS = {"f1": _boxes, "top1": _classes, "1-nme": _keypoints, "miou": _masks}
#: What is counted besides pictures, and how many there have to be.
_THINGS = {
    "f1": ("objects", LEAST_DETECTIONS),
    "1-nme": ("key points", LEAST_KEYPOINTS),
    "miou": ("masks", LEAST_FRAMES),
}
_AND_IN_THEM = {
    "f1": f" with at least {LEAST_DETECTIONS} objects in them",
    "top1": f", with none of several classes in more than {MOST_OF_ONE_CLASS:.0%} of them",
    "1-nme": f" with at least {LEAST_KEYPOINTS} key points in them",
    "miou": " in which fp32 sees something",
}
