"""The clip that all sides read: garments on a belt, in H.264 as a camera sends it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgevision.frame import Frame
from edgevision.model import opened

__all__ = ["BITRATE", "SCENE", "make_clip"]

#: What the demo's detector was made for, with a seed that it was not trained on.
SCENE = "synthetic://conveyor?seed=11&size=1920x1080"
#: As common for a 1080p camera at 30 frames/s, no frame waiting for a later one, a key frame each second.
BITRATE = "4M"
_CAMERA = ["-preset", "medium", "-b:v", BITRATE, "-bf", "0", "-refs", "1", "-g", "30"]


def make_clip(path: Path, frames: int) -> None:
    """Renders the scene and has ffmpeg encode it."""
    with opened(f"{SCENE}&frames={frames}") as (source, info):
        given = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{info.width}x{info.height}"]
        command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *given]
        command += ["-r", f"{info.fps:g}", "-i", "-", "-c:v", "libx264", *_CAMERA]
        command += ["-pix_fmt", "yuv420p", str(path)]
        frame = Frame()
        with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
            assert encoder.stdin is not None
            while source.read(frame):
                encoder.stdin.write(frame.image.data)
        if encoder.returncode:
            raise SystemExit("ffmpeg could not encode the clip")
