"""Where the demo's files lie: a sheet of garments, and a detector of them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DETECTOR", "SPRITES"]

#: Made by examples/train_demo.py; docs/garments.md says on what, and how good it is.
DETECTOR = Path(__file__).with_name("garments.onnx")
#: 50 photographs of each class, 28×28 pixels, 25 a row, from Fashion-MNIST's test set (MIT licence).
SPRITES = Path(__file__).with_name("garments.png")
