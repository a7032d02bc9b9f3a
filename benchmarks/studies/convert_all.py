"""The models of the test data in one run of `edgevision convert --list`, by examples/convert_all/models.toml.

    python benchmarks/studies/convert_all.py OUTPUT

Lays out OUTPUT as the list expects it: links to the test data's models, labels and street video, and videos drawn
from its photographs (`accuracy_data`). In each, the first 40 % are calibrated on, the next 20 % choose, and the last
40 % prove, as `convert` cuts a video; they are drawn from different photographs and moments.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import cv2
from accuracy_data import TEST_DATA, faces, people, photographs, portraits

from edgevision.converters.calibration import Data

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "convert_all"
#: Name → its pictures, and the size that they are written at, width × height.
VIDEOS = {
    "faces": (faces, (640, 480)),
    "people": (people, (256, 256)),
    "photographs": (photographs, (320, 320)),
    "portraits": (portraits, (352, 288)),
}
#: Frames of each part, so that `convert` cuts where they end.
FRAMES = {"calibration": 120, "selection": 60, "proof": 120}


def write_video(path: Path, data: Data, size: tuple[int, int]) -> None:
    """All three parts one after another, without loss."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, size)
    assert writer.isOpened(), "this OpenCV writes no FFV1"
    for purpose, count in FRAMES.items():
        for picture in islice(getattr(data, purpose), count):
            writer.write(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    writer.release()


def lay_out(folder: Path) -> None:
    (folder / "video").mkdir(parents=True)
    for name in ("models", "labels"):
        (folder / name).symlink_to(TEST_DATA / name)
    (folder / "video" / "vtest.avi").symlink_to(TEST_DATA / "video" / "vtest.avi")
    for name, (draw, size) in VIDEOS.items():
        print(f"drawing {name}", flush=True)
        write_video(folder / "video" / f"{name}.avi", draw(), size)
    for file in EXAMPLE.glob("*.toml"):
        shutil.copy(file, folder)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=Path, help="a folder that does not exist yet")
    folder = parser.parse_args().output
    lay_out(folder)
    command = Path(sys.executable).with_name("edgevision")
    line = [command, "convert", "--list", "models.toml", "-o", "bundles"]
    return subprocess.run(line, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
