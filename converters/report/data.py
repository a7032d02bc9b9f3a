"""The part of `report.md` on data: what was calibrated, chosen and proven on, and whether that can be relied on."""

from __future__ import annotations

from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Conversion
from edgevision.converters.report.outputs import code
from edgevision.converters.validation import Validation
from edgevision.text import counted, markdown

__all__ = ["data_section", "noise_warning"]

_LISTED = 12
#: How each kind of data is split into its parts.
_SPLIT = {
    "video": "a video, split into the first 40 % of the frames, the next 20 % and the last 40 %",
    "folder": "a folder, split into parts chosen by each file's hash",
    "belts": "a belt for each part, with other garments",
    "labelled": "labelled pictures, split into parts chosen by each file's hash",
    "noise": "seeded noise, other noise for each part",
}


def noise_warning(conversion: Conversion) -> str:
    """What is to be said wherever numbers are, when the calibration was noise; empty when it was not."""
    if conversion.data is None or not conversion.data.random:
        return ""
    if conversion.validation is not None:
        return "Calibrated on random noise, not on pictures; the labelled pictures decided."
    return (
        "Calibrated on random noise, not on pictures: nothing is proven, every number here rests on noise, and "
        "no machine takes what was made by itself."
    )


def data_section(conversion: Conversion) -> str:
    """All data; empty if there was none."""
    data, validation = conversion.data, conversion.validation
    if data is None:
        return ""
    searched = any(made.trials for made in conversion.made)
    lines = [
        "## Data",
        "",
        f"{code(data.name)}, {_SPLIT[data.kind]}, so nothing that was calibrated on was proven on:",
        "",
        f"- calibrated on {data.calibration.count} pictures (digest `{data.digest[:16]}…`)",
    ]
    if validation is None:
        lines += [_chosen_on(data)] if searched else []
        lines += [f"- proven on {data.proof.count}{_digest(data.proof.digest)}"]
        lines += _repeated(data.proof.repeated)
    else:
        lines += _validated(validation, searched=searched, apart=data.kind != "labelled")
    return "\n".join([*lines, *_problems(data, validation)])


def _chosen_on(data: Data) -> str:
    if data.selection.count:
        return f"- chose among recipes on {data.selection.count}"
    return "- chose among recipes on the same pictures: so few were given that none fell to the part for that"


def _validated(found: Validation, *, searched: bool, apart: bool) -> list[str]:
    whose = f" of {code(found.name)}" if apart else ""
    lines = []
    if searched:
        lines.append(f"- chose among recipes on {len(found.selection)} labelled pictures{whose}")
    lines.append(
        f"- proven on {found.count} others{whose}{_digest(found.confirmation.digest)}, by their labels"
    )
    if found.confirmation.matched == "number":
        lines.append(
            "- ⚠️ the labels have numbers and no names: they were taken in the order of the model's classes"
        )
    return lines + _repeated(found.repeated)


def _repeated(count: int) -> list[str]:
    line = (
        f"- ⚠️ {counted(count, 'picture')} to prove on left out: the same, pixel by pixel, as one before, or as "
        "one that was calibrated or chosen on"
    )
    return [line] if count else []


def _digest(digest: str) -> str:
    return f" (digest `{digest[:16]}…`)" if digest else ""


def _problems(data: Data, validation: Validation | None) -> list[str]:
    found = list(dict.fromkeys([*data.problems, *(validation.problems if validation else ())]))
    if not found:
        return []
    lines = ["", f"⚠️ Problems with it: {len(found)}", ""]
    lines += [f"- {markdown(p)}" for p in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"- … and {len(found) - _LISTED} more; all are in `report.json`")
    return lines
