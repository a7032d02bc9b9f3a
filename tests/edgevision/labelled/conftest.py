"""Small data sets of each format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@pytest.fixture
def picture() -> Callable[..., Path]:
    """Writes a picture of noise, 40 high and 60 wide unless told."""

    def write(path: Path, size: tuple[int, int] = (40, 60), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
        assert cv2.imwrite(str(path), pixels)
        return path

    return write


@pytest.fixture
def yolo(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Two pictures with a dog and two cats, one without objects; dogs are number 0, cats number 1."""
    root = tmp_path / "pets"
    for seed, name in enumerate(("a.png", "b.png", "empty.png")):
        picture(root / "images" / name, seed=seed)
    (root / "labels").mkdir()
    (root / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.25 0.25 0.1 0.2\n")
    (root / "labels" / "b.txt").write_text("1 0.5 0.5 1.0 1.0")
    (root / "data.yaml").write_text("train: ../elsewhere\nnc: 2\nnames: [dog, cat]\n")
    return root


@pytest.fixture
def coco_json() -> Callable[..., dict[str, Any]]:
    """A whole COCO data set as a table; keyword arguments replace its lists."""

    def make(**lists: Any) -> dict[str, Any]:
        data: dict[str, Any] = {
            "images": [
                {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
                {"id": 8, "file_name": "b.png"},
            ],
            "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 7,
                    "category_id": 18,
                    "bbox": [10, 5, 20.5, 10],
                    "iscrowd": 0,
                },
                {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 60, 40], "iscrowd": 1},
            ],
        }
        return data | lists

    return make


@pytest.fixture
def coco(tmp_path: Path, picture: Callable[..., Path], coco_json: Callable[..., Any]) -> Path:
    """The JSON with its two pictures beside it."""
    for seed, name in enumerate(("a.png", "b.png")):
        picture(tmp_path / "set" / name, seed=seed)
    path = tmp_path / "set" / "labels.json"
    path.write_text(json.dumps(coco_json()))
    return path


@pytest.fixture
def folders(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Two dogs and a cat."""
    root = tmp_path / "classes"
    for seed, name in enumerate(("dog/1.png", "dog/more/2.png", "cat/1.png")):
        picture(root / name, seed=seed)
    return root
