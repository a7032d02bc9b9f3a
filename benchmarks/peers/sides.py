"""Who takes part: the command of each side, and what ours have to reach beside ultralytics."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from measure import SCORE

__all__ = ["ENGINES", "IOU", "REFERENCE", "THEIRS", "Engine", "Setting", "Side", "sides"]

HERE = Path(__file__).resolve().parent
REFERENCE = "ultralytics"
IOU = 0.7
_BF16 = ("--backend", "openvino", "--compute", "bf16")
_THROUGHPUT = ("--hint", "throughput")
#: Name → script and options; the first two run in the environment made for them.
THEIRS = {
    REFERENCE: ("with_ultralytics.py", ()),
    "supervision and onnxruntime": ("with_supervision.py", ()),
    "onnxruntime, plain loop": ("with_onnxruntime.py", ()),
    "OpenVINO bf16, plain loop": ("with_openvino.py", ("bf16",)),
    "cv2.dnn, plain loop": ("with_cv2_dnn.py", ()),
}
_ELSEWHERE = ("with_ultralytics.py", "with_supervision.py")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all sides are given.

    Attributes:
        model: The ONNX file.
        bundle: The same model with its proven int8 variant.
        clip: The video.
        python: Of the environment of ultralytics and supervision.
        work: Where lines of results go.
    """

    model: Path
    bundle: Path
    clip: Path
    python: Path
    work: Path


@dataclass(frozen=True, slots=True)
class Side:
    """One way to run the clip.

    Attributes:
        name: As the table has it.
        command: Writes a line a frame to ``output``.
        output: The file of lines.
        ours: Whether it is edgevision.
        least: How many times ultralytics' frames/s it has to reach; None if nothing was set.
        exact: Whether its detections have to be those of ultralytics (F1 of 0.99).
    """

    name: str
    command: list[str]
    output: Path
    ours: bool = False
    least: float | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to run the engine alone, with OpenVINO's benchmark_app and with ``bench --inference-only``."""

    name: str
    app: tuple[str, ...]
    bench: tuple[str, ...]


ENGINES = (
    Engine(
        "OpenVINO fp32, one inference at a time",
        ("-infer_precision", "f32", "-hint", "latency"),
        ("--backend", "openvino", "--compute", "fp32"),
    ),
    Engine(
        "OpenVINO bf16, one inference at a time",
        ("-infer_precision", "bf16", "-hint", "latency"),
        _BF16,
    ),
    Engine(
        "OpenVINO bf16, throughput",
        ("-infer_precision", "bf16", "-hint", "throughput"),
        (*_BF16, *_THROUGHPUT),
    ),
)


def sides(setting: Setting) -> list[Side]:
    """Theirs, ultralytics first, then ours."""
    ort, int8 = ("--backend", "ort"), ("--backend", "ort", "--variant", "int8-x86")
    theirs = [_theirs(setting, name, *how) for name, how in THEIRS.items()]
    return [
        *theirs,
        _ours(setting, "ort fp32", setting.model, ort, 1.2),
        _ours(setting, "ort fp32, throughput", setting.model, (*ort, *_THROUGHPUT), 1.6),
        _ours(setting, "openvino bf16", setting.model, _BF16, 2.2),
        _ours(setting, "openvino bf16, throughput", setting.model, (*_BF16, *_THROUGHPUT), 2.8),
        _ours(setting, "ort int8-x86", setting.bundle, int8, None),
        _ours(setting, "ort int8-x86, throughput", setting.bundle, (*int8, *_THROUGHPUT), None),
    ]


def _theirs(setting: Setting, name: str, script: str, options: tuple[str, ...]) -> Side:
    output = _output(setting, name)
    python = str(setting.python) if script in _ELSEWHERE else sys.executable
    paths = map(str, (HERE / script, setting.model, setting.clip, output))
    return Side(name, [python, *paths, str(SCORE), str(IOU), *options], output)


def _ours(
    setting: Setting, name: str, model: Path, options: tuple[str, ...], least: float | None
) -> Side:
    output = _output(setting, name)
    command = [str(Path(sys.executable).with_name("edgevision")), "run"]
    command += [*map(str, (model, setting.clip, output)), "--force"]
    command += ["--score", str(SCORE), "--iou", str(IOU)]
    name = f"edgevision, {name}"
    return Side(name, [*command, *options], output, True, least, "int8" not in name)


def _output(setting: Setting, name: str) -> Path:
    return setting.work / f"{name.replace(',', '').replace(' ', '-')}.jsonl"
