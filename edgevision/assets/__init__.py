"""Where data files of the package lie: a sheet of garments, for `synthetic://conveyor`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SPRITES"]

#: 50 photographs of each class, 28×28 pixels, 25 a row, from Fashion-MNIST's test set (MIT licence).
SPRITES = Path(__file__).with_name("garments.png")
