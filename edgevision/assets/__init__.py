"""Where data files of the package lie: the sheet of garments for `synthetic://conveyor`, the demo's detector."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DETECTOR", "SPRITES"]

#: 50 photographs of each class, 28×28 pixels, 25 a row, from Fashion-MNIST's test set (MIT licence).
SPRITES = Path(__file__).with_name("garments.png")
#: Finds them: float32 1×3×640×640 in, the layout of YOLOv8 out. docs/garments.md is its model card.
DETECTOR = Path(__file__).with_name("garments.onnx")
