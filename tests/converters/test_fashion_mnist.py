"""The true accuracy of a network that is trained here: 60,000 photographs to learn from, 10,000 to be judged by."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.slow

REASON = "PyTorch is not installed: pip install 'edgevision[torch]'"
SEED, EPOCHS, BATCH, RATE = 5, 3, 256, 0.01
#: What int8 may lose of the top-1 accuracy.
MAX_DROP = 0.002
LABELS = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip
CONFIG = """task = "classify"
[input]
size = [28, 28]
resize = "stretch"
colour = "gray"
scale = 0.00392156862745098
mean = [0.2860]
std = [0.3530]
[output]
decoder = "softmax"
"""

Pixels = NDArray[np.uint8]


def read(folder: Path, part: str) -> tuple[Pixels, Pixels]:
    """Pictures ``(n, 28, 28)`` and labels ``(n,)`` of ``train`` or ``t10k``."""
    contents = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        file = next(folder.glob(f"{part}-{kind}-ubyte*"), None)
        if file is None:
            pytest.skip(f"Fashion-MNIST is absent: no {part}-{kind}-ubyte in {folder}")
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
        contents.append(np.frombuffer(data, np.uint8, offset=header))
    return contents[0].reshape(-1, 28, 28), contents[1]


def tensor_of(pictures: Pixels) -> NDArray[np.float32]:
    values = (pictures[:, None].astype(np.float32) / np.float32(255) - 0.2860) / 0.3530
    return values.astype(np.float32)


def network(torch: Any) -> Any:
    nn = torch.nn

    def block(inputs: int, outputs: int, kernel: int, stride: int) -> list[Any]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16, 5, 2), *block(16, 32, 3, 1), nn.MaxPool2d(2), *block(32, 64, 3, 1), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 9, 10),
    )  # fmt: skip


def train(torch: Any, pictures: Pixels, labels: Pixels) -> Any:
    torch.manual_seed(SEED)
    torch.set_num_threads(
        1
    )  # so small a network is no faster on two, and much slower beside other work
    module = network(torch)
    steps = EPOCHS * (len(labels) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    images, classes = (
        torch.from_numpy(tensor_of(pictures)),
        torch.from_numpy(labels.astype(np.int64)),
    )
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels))[: len(labels) // BATCH * BATCH]
        for rows in order.split(BATCH):
            loss = torch.nn.functional.cross_entropy(module(images[rows]), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def write(folder: Path, pictures: Pixels, labels: Pixels) -> Path:
    """A folder for each class."""
    for name in LABELS:
        (folder / name).mkdir(parents=True)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        cv2.imwrite(str(folder / LABELS[label] / f"{number:05d}.png"), picture)
    return folder


def accuracy(file: Path, pictures: Pixels, labels: Pixels) -> float:
    """Top-1 of an ONNX file, with nothing of edgevision in between."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = [session.run(None, {name: row[None]})[0].argmax() for row in tensor_of(pictures)]
    return float(np.mean(np.array(found) == labels))


def test_int8_loses_at_most_two_in_a_thousand_of_a_trained_network(
    edgevision: Callable[..., subprocess.CompletedProcess[str]], test_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript", reason=REASON)
    torch = pytest.importorskip("torch", reason=REASON)
    source = test_data / "data" / "fashion-mnist"
    module = train(torch, *read(source, "train"))
    program = torch.export.export(module, (torch.zeros(1, 1, 28, 28),))
    torch.export.save(program, tmp_path / "garments.pt2")
    pictures, labels = read(source, "t10k")
    write(tmp_path / "pictures", pictures, labels)
    (tmp_path / "garments.toml").write_text(CONFIG)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))

    done = edgevision(
        "convert", "garments.pt2", "-o", "garments.evb", "--config", "garments.toml",
        "--labels", "labels.txt", "--validation", "pictures", "--precision", "int8",
        "--max-drop", MAX_DROP, "--samples", 500, "--json",
        cwd=tmp_path, seconds=1800,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    variant = json.loads(done.stdout)["variants"]["int8-x86"]
    told = variant["accuracy"]
    assert told["metric"] == "top1"
    assert told["images"] > 4500, "half of the test set confirms, without its repeated pictures"
    assert told["reference"] > 0.86, "it has learnt something"
    assert told["drop"] <= MAX_DROP
    fp32, int8 = (
        accuracy(tmp_path / "garments.evb" / f"{name}.onnx", pictures, labels)
        for name in ("fp32", "int8-x86")
    )
    print(f"top-1 on {len(labels)}: fp32 {fp32:.4f}, int8 {int8:.4f}; confirmed: {told}")
    assert abs(fp32 - told["reference"]) < 0.015
    assert fp32 - int8 <= MAX_DROP
