"""An estimate as a table for people: plain text, at most 100 columns."""

from __future__ import annotations

from collections import Counter
from functools import partial

from edgevision.benchmarks.estimate.estimate import Estimate
from edgevision.benchmarks.estimate.layers import AS_WRITTEN
from edgevision.benchmarks.estimate.roofline import Floor, TimedLayer
from edgevision.benchmarks.terminal import WIDTH, named, wrapped
from edgevision.text import counted, printable, size_text

__all__ = ["estimate_text"]

_row = partial(named, column=13)
_ASSUMED = (
    "Least times: every layer at the peak rate, or its bytes at the peak bandwidth, whichever is longer; "
    "activations and additions are done along with what comes before. Nothing real reaches that. "
    "Engines need workspace on top of the memory, often as much again."
)


def estimate_text(found: Estimate, top: int = 10) -> str:
    """The whole table; ``top`` layers of it, those with the largest share first."""
    parts = [_head(found), _floors(found), _memory(found), _layers(found, top), _notes(found)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _head(found: Estimate) -> list[str]:
    work, subject = next(iter(found.work.values())), found.subject
    variant = f" ({subject.variant})" if subject.variant else ""
    inputs = "; ".join(f"{name} {_dims(shape)}" for name, shape in found.shapes.items())
    return [
        *_row("model", subject.name + variant),
        *_row("input", inputs),
        *_row(
            "work",
            f"{_count(work.flops)}FLOP, {_count(work.macs)}MAC (one is two FLOPs), "
            f"{_count(work.parameters)} parameters".replace("  ", " "),
        ),
        *_row("machine", f"{found.machine.name}: {found.machine.title}"),
    ]


def _floors(found: Estimate) -> list[str]:
    widths = (16, 12, 10, 10, 10, 9, 12, 9)
    titles = ("mode", "precision", "floor ms", "compute", "memory", "bound by", "pictures/s", "TFLOP/s")  # fmt: skip
    lines = [_cells(titles, widths)]
    for floor in found.floors:
        rate = floor.rate.flops_per_s if floor.rate is not None else None
        cells = (
            printable(floor.mode, 15),
            floor.precision,
            _ms(floor.seconds),
            _ms(floor.compute_s) if rate is not None or not floor.work.flops else "—",
            _ms(floor.memory_s),
            floor.bound if floor.seconds else "—",
            _rate(found.batch / floor.seconds) if floor.seconds else "—",
            "—" if rate is None else f"{rate / 1e12:.3g}",
        )
        lines.append(_cells(cells, widths))
    return lines


def _memory(found: Estimate) -> list[str]:
    lines = [f"{'memory':<12}{'weights':>12}{'activations':>14}{'together':>12}"]
    for name in found.work:
        need = found.memory(name)
        part, sizes = need["part_of_device"], ("weights_bytes", "activations_bytes", "total_bytes")
        weights, activations, total = (size_text(need[key]) for key in sizes)
        share = "" if part is None else f"   {_part_of_device(part)}"
        lines.append(f"{name:<12}{weights:>12}{activations:>14}{total:>12}{share}")
    return lines


def _layers(found: Estimate, top: int) -> list[str]:
    floor = found.chosen
    memory = len(floor.memory_bound)
    how = "as written" if floor.precision == AS_WRITTEN else f"in {floor.precision}"
    which = f"{how}, mode {printable(floor.mode)}"
    slow = f"{memory} bound by memory ({_part(floor)} of the time)"
    lines = [f"{counted(len(floor.layers), 'layer')} {which}: {slow}"]
    if not top or not floor.layers:
        return lines
    widths = (9, 8, 9, 9, 9, 12)
    titles = ("ms", "share", "bound by", "MFLOP", "MB", "FLOP/byte")
    lines.append("".join(f"{t:>{w}}" for t, w in zip(titles, widths, strict=True)) + "  layer")
    largest = sorted(floor.layers, key=lambda layer: -layer.seconds)
    lines += [_layer(layer, floor, widths) for layer in largest[:top]]
    if len(largest) > top:
        lines.append(f"… and {len(largest) - top} more: --top N, or --json for all of them")
    return lines


def _layer(timed: TimedLayer, floor: Floor, widths: tuple[int, ...]) -> str:
    layer, intensity = timed.layer, timed.layer.intensity
    cells = (
        _ms(timed.seconds),
        f"{100 * timed.seconds / floor.seconds:.1f} %" if floor.seconds else "—",
        timed.bound,
        f"{layer.total_flops / 1e6:,.1f}",
        f"{layer.bytes / 1e6:,.2f}",
        "—" if intensity is None else f"{intensity:,.1f}",
    )
    fused = "".join(f"+{op}" for op in layer.fused[:2]) + ("+…" if len(layer.fused) > 2 else "")
    shape = "" if layer.shape is None else f" {_dims(layer.shape)}"
    row = "".join(f" {c:>{w - 1}}" for c, w in zip(cells, widths, strict=True))
    return f"{row}  {printable(f'{layer.op}{fused}{shape} {layer.name}', WIDTH - len(row) - 2)}"


def _notes(found: Estimate) -> list[str]:
    lines = wrapped(_ASSUMED, hang=0)
    for precision, note in _rate_notes(found):
        lines += _row(f"{precision} rate", note)
    unknown = Counter(found.chosen.work.unknown)
    if unknown:
        names = ", ".join(f"{count} {op}" for op, count in unknown.most_common(8))
        lines += _row("not counted", f"{names}: work or sizes unknown; of these only known bytes")
    return [*lines, *_row("source", found.machine.source)]


def _rate_notes(found: Estimate) -> list[tuple[str, str]]:
    rates = found.machine.best.rates
    return [(p, rates[p].note) for p in found.work if p in rates and rates[p].note]


def _part(floor: Floor) -> str:
    spent = sum(layer.seconds for layer in floor.memory_bound)
    return f"{100 * spent / floor.seconds:.0f} %" if floor.seconds else "0 %"


def _cells(cells: tuple[str, ...], widths: tuple[int, ...]) -> str:
    pairs = zip(cells[2:], widths[2:], strict=True)
    left = f"{cells[0]:<{widths[0]}}{cells[1]:<{widths[1]}}"
    return (left + "".join(f" {c:>{w - 1}}" for c, w in pairs)).rstrip()


def _dims(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _ms(seconds: float) -> str:
    """Milliseconds to the microsecond; what is less, but not nothing, says so."""
    ms = seconds * 1e3
    if 0 < ms < 0.0005:
        return "<0.001"
    return f"{ms:,.0f}" if ms >= 10_000 else f"{ms:,.3f}"


def _rate(a_second: float) -> str:
    """Whole ones where there are many; a floor below a microsecond says nothing of pictures a second."""
    if a_second >= 1e6:
        return "> 1 million"
    return f"{a_second:,.0f}" if a_second >= 100 else f"{a_second:.3g}"


def _part_of_device(part: float) -> str:
    """How much of a device's memory that is; 1 is all of it."""
    if part > 1:
        return f"more than the device has: {part:,.1f} times as much"
    return f"{'less than 0.1' if part < 0.001 else f'{100 * part:.1f}'} % of the device's"


def _count(value: float) -> str:
    for unit in ("", "k", "M", "G"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} T"
