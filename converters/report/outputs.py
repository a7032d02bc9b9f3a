"""The part of `report.md` on raw outputs: how close each of them came to fp32's."""

from __future__ import annotations

from edgevision.converters.conversion import Made
from edgevision.text import printable

__all__ = ["code", "outputs_table"]

_LISTED = 12


def code(text: str) -> str:
    """A name in code style; in a table too, and whatever it holds."""
    plain = printable(text).translate(str.maketrans("`|<>", "'¦‹›"))
    return f"`{plain}`"


def outputs_table(made: Made) -> str:
    """Raw outputs, the worst first: what to look at when the agreement is low."""
    rows = ["| output | cosine | signal to noise |", "| --- | ---: | ---: |"]
    outputs = made.proof.outputs if made.proof else {}
    worst = sorted(outputs.items(), key=lambda item: item[1]["cosine"] or 0.0)
    rows += [f"| {code(name)} | {_closeness(found)} |" for name, found in worst[:_LISTED]]
    if len(worst) > _LISTED:
        rows.append(f"| … and {len(worst) - _LISTED} more | | |")
    notes = [note for name, found in worst[:_LISTED] for note in _left_out(name, found)]
    return "\n".join([*rows, "", *notes] if notes else rows)


def _closeness(found: dict[str, float | None]) -> str:
    """The cells for cosine and signal to noise."""
    cosine, sqnr = found["cosine"], found["sqnr_db"]
    if cosine is None:
        return "not compared | "
    if sqnr is None:  # infinite: no noise, or nothing else
        return f"{cosine:.5f} | {'exact' if cosine > 0 else 'noise only'}"
    return f"{cosine:.5f} | {sqnr:.1f} dB"


def _left_out(name: str, found: dict[str, float | None]) -> list[str]:
    notes = []
    if found.get("skipped"):
        notes.append(
            f"- ❌ {found['skipped']} values of {code(name)} are NaN or infinite in this variant and finite "
            "in fp32; they are not in its numbers."
        )
    if found.get("sizes_differ"):
        notes.append(
            f"- {code(name)} has another size than in fp32 in {found['sizes_differ']} pictures, as it follows "
            "from what is found; these are not in its numbers."
        )
    return notes
