"""Accuracy on labelled pictures in words: what a variant has of the task's own metric, and what it lost."""

from __future__ import annotations

from typing import Any

from edgevision.converters.accuracy import LEAST_CLASSIFIED
from edgevision.converters.prove import LEAST_DETECTIONS, LEAST_FRAMES
from edgevision.text import markdown, printable

__all__ = [
    "accuracy_cell",
    "accuracy_headline",
    "accuracy_required",
    "accuracy_section",
    "accuracy_text",
    "metric_name",
]

_METRICS = {"map50_95": "mAP@0.5:0.95", "top1": "top-1"}
_THINGS = {"map50_95": "labelled objects", "top1": "labelled pictures"}


def metric_name(metric: str) -> str:
    """As people call it."""
    return _METRICS.get(metric, metric)


def accuracy_text(found: dict[str, Any]) -> str:
    """The number, and what it rests on, for a message."""
    return (
        f"{metric_name(found['metric'])} {found['value']:.4f}, fp32 {found['reference']:.4f} "
        f"({change_text(found)}) on {found['images']} labelled pictures"
        + (f": {printable(found['shortcoming'], 400)}" if found["shortcoming"] else "")
    )


def accuracy_required(found: dict[str, Any]) -> str:
    """What a variant has to reach, and on how much."""
    most = f"a loss of at most {found['max_drop']:g} {metric_name(found['metric'])}"
    if found["metric"] == "top1":
        return f"{most} on at least {LEAST_CLASSIFIED} labelled pictures"
    return f"{most} on at least {LEAST_FRAMES} labelled pictures with {LEAST_DETECTIONS} objects in them"


def change_text(found: dict[str, Any]) -> str:
    """``−0.0012``, ``+0.0003`` or ``±0``: to fp32, as far as four decimals show it."""
    change = -found["drop"]
    if abs(change) < 0.00005:
        return "±0"
    return f"{'+' if change > 0 else '−'}{abs(change):.4f}"


def accuracy_headline(found: dict[str, Any]) -> str:
    """The number in a sentence, and what was asked."""
    return (
        f"On {found['images']} labelled pictures it has {metric_name(found['metric'])} {found['value']:.4f}, fp32 "
        f"{found['reference']:.4f}: {change_text(found)} (at most {found['max_drop']:g} may be lost)"
    )


def accuracy_cell(found: dict[str, Any]) -> str:
    """The number in a table."""
    return f"{metric_name(found['metric'])} {found['value']:.4f} ({change_text(found)})"


def accuracy_section(found: dict[str, Any]) -> str:
    """What it rests on, and the classes that lost most."""
    classes = found["classes"]
    text = (
        f"It was confirmed on {found['images']} labelled pictures"
        + (f" with {found['samples']} objects" if found["metric"] != "top1" else "")
        + f" of {classes} class{'' if classes == 1 else 'es'}."
    )
    if not found["lost_most"]:
        return text
    rows = [
        text,
        "",
        f"| what lost most | fp32 | this variant | {_THINGS[found['metric']]} |",
        "| --- | ---: | ---: | ---: |",
    ]
    rows += [
        f"| {markdown(row['class'])} | {row['reference']:.4f} | {row['value']:.4f} | {row['samples']} |"
        for row in found["lost_most"]
    ]
    return "\n".join(rows)
