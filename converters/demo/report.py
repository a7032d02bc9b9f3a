"""What the demo found, as a table for the terminal and as a page with the picture."""

from __future__ import annotations

from edgevision.converters.demo.belt import FRAMES, LEAST_VISIBLE, SEEDS, SIZE
from edgevision.converters.demo.chain import INT8, MAX_DROP, Demo
from edgevision.text import printable, score_text, size_text

__all__ = ["demo_markdown", "demo_text"]

_COLUMNS = ("variant", "mAP@0.5", "mAP@0.5:0.95", "size", "frames/s", "median ms")


def demo_text(demo: Demo) -> str:
    """Aligned, at most 100 columns."""
    rows = [_COLUMNS, *_rows(demo)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    folder = printable(str(demo.folder), 1000)
    return "\n".join([
        *lines,
        _verdict(demo),
        f"written: {folder}/annotated.mp4, {folder}/contact-sheet.png, {folder}/report.md, {folder}/garments.evb",
    ])  # fmt: skip


def demo_markdown(demo: Demo) -> str:
    """The page: the answer, the table, the picture, what it rests on, what to do next."""
    head = "| " + " | ".join(_COLUMNS) + " |\n| --- |" + " ---: |" * (len(_COLUMNS) - 1)
    table = "\n".join([head, *("| " + " | ".join(row) + " |" for row in _rows(demo))])
    return f"""# Garments on a belt

**{_verdict(demo)}**

{table}

![What INT8 finds, with the truth in white](contact-sheet.png)

Coloured: what INT8 finds. White: what is there. [annotated.mp4](annotated.mp4) shows all {FRAMES} frames.

## What this rests on

- The belt is rendered (seed {SEEDS["truth"]}), so the truth is exact. Garments of which less
  than {LEAST_VISIBLE:.0%} is seen count neither way. mAP is COCO's, computed by pycocotools.
- INT8 was calibrated on one belt, its recipe chosen on a second, its agreement with fp32 proven on a third and both
  measured on a fourth ([report of the conversion](garments.evb/report.md)). The detector was trained on others, with
  other garments.
- Times are end to end from a frame in memory to its result, one frame after another, on this machine.

## Next

```
edgevision run garments.evb 'synthetic://conveyor?seed=5&size={SIZE[0]}x{SIZE[1]}&frames=300' out.mp4 out.jsonl
edgevision bench garments.evb 'synthetic://conveyor?seed=5&size={SIZE[0]}x{SIZE[1]}'
edgevision convert YOURS.onnx --preset yolov8 --labels NAMES.txt --calibration VIDEO --precision int8 -o yours.evb
```
"""


def _rows(demo: Demo) -> list[tuple[str, ...]]:
    return [
        (
            name,
            score_text(score.map50),
            score_text(score.map50_95),
            size_text(score.size_bytes),
            f"{score.record.throughput_fps or 0:.1f}",
            f"{score.median_ms:.2f}",
        )
        for name, score in demo.scores.items()
    ]


def _verdict(demo: Demo) -> str:
    kept = "keeps its accuracy" if demo.passed else "loses too much accuracy"
    return (
        f"INT8 {kept}: mAP@0.5:0.95 {demo.change:+.4f} against the truth (at most -{MAX_DROP:g}), "
        f"at {demo.speedup(INT8):.2f}x the speed of fp32."
    )
