"""What the demo shows: the belt with what was found, as a video and as one picture of some of its frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgevision.converters.demo.belt import FRAMES, LEAST_VISIBLE, SIZE, belt, pictures
from edgevision.frame import Frame, Image
from edgevision.model import Model, open_model
from edgevision.progress import Progress
from edgevision.results import Result
from edgevision.sinks import make_sink
from edgevision.sources import SourceInfo
from edgevision.sources._conveyor import Truth

__all__ = ["film"]

#: Tiles of the picture, down and across, and how much smaller than a frame they are.
_SHEET, _SCALE = (3, 3), 0.5
_FPS = 30.0


def film(bundle: Path, variant: str, folder: Path, progress: Progress, *, force: bool) -> None:
    """Writes ``annotated.mp4`` and ``contact-sheet.png`` into ``folder``.

    Raises:
        EdgevisionError: They cannot be written.
        OSError: Likewise.
    """
    scene, tiles = belt("truth"), list[Image]()
    rows, columns = _SHEET
    # The middles of as many equal parts of the belt as there are tiles.
    shown = {FRAMES * (2 * n + 1) // (2 * rows * columns) for n in range(rows * columns)}
    with open_model(bundle, variant=variant, backend="ort") as model:
        sink = make_sink(str(folder / "annotated.mp4"), model.task.draw, force=force)
        sink.open(SourceInfo("synthetic://conveyor", *SIZE, _FPS, FRAMES))
        try:
            for index, image in enumerate(pictures("truth", FRAMES)):
                result = model(image)
                sink.write(Frame(image, index=index), result)
                if index in shown:
                    tiles.append(_tile(image, model, result, scene.truth(index)))
                progress("film", index + 1, FRAMES)
        finally:
            sink.close()
    rows_of_tiles = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    _, png = cv2.imencode(".png", np.vstack(rows_of_tiles))
    (folder / "contact-sheet.png").write_bytes(png.tobytes())


def _tile(image: Image, model: Model, result: Result, truth: Truth) -> Image:
    """What was found, boxes and names; what is there and was to be found, thin and white."""
    tile = image.copy()
    for box in truth.boxes_xyxy[truth.visible >= LEAST_VISIBLE].astype(int):
        cv2.rectangle(tile, box[:2].tolist(), (box[2:] - 1).tolist(), (255, 255, 255), 1)
    model.task.draw(tile, result)
    small: Image = cv2.resize(tile, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_AREA)
    return small
