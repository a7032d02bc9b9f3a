"""Ultralytics' own way: `YOLO(file).predict(clip, stream=True)` with its own settings, nothing drawn or saved.

Ultralytics is AGPL-3.0 and no part of this project: only this file knows it, which nothing imports and which runs
in the environment that make_environment.sh makes for the comparison.
"""

from __future__ import annotations

from common import call, write_line
from ultralytics import YOLO


def main() -> None:
    given = call()
    model = YOLO(given.model, task="detect")
    options = {"device": "cpu", "verbose": False, "save": False}
    results = model.predict(given.clip, stream=True, conf=given.score, iou=given.iou, **options)
    with given.output.open("w") as lines:
        for index, result in enumerate(results):
            rows = [(row[:4], row[4], int(row[5])) for row in result.boxes.data.tolist()]
            write_line(lines, index, rows)


if __name__ == "__main__":
    main()
