"""Trains the demo's detector of garments and exports it to ONNX: PyTorch on a CPU, about 45 minutes on two cores.

    pip install '.[convert]' torch==2.13.0
    python examples/train_demo.py /usr/share/datasets/fashion-mnist garments.onnx [--steps 6500]

The folder is that of Debian's package dataset-fashion-mnist. Only the training set is used: what is shipped
with edgevision to be seen by the detector comes from the test set. Same seed, same threads: same weights.

Not shipped yet: a first run reached mAP@0.5 0.84 on belts of 960×540, and also saw bags along the bars of a
letterbox and shirts on empty belts, because it is trained on pictures of 320×320 without bars.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgevision.sources._conveyor import Conveyor
from edgevision.sources._garments import CLASSES, from_idx

SIDE, STRIDES = 320, (8, 16, 32)
#: Of a garment that is seen less than this nothing is learnt, neither that it is there nor that it is not.
LEAST_VISIBLE = 0.3
MOST_BOXES = 24
SEED = 20261121


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU: what every INT8 engine fuses into one kernel."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, momentum=0.03),
            nn.ReLU(inplace=True),
        )


class Block(nn.Module):
    """A narrow convolution and a wide one, added to what comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Conv(width, width // 2, 1), Conv(width // 2, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Detector(nn.Module):
    """Three strides, one head for all of them; anchor-free, a box is four distances from its cell's centre."""

    def __init__(self, classes: int = len(CLASSES), neck: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, stride=2), Conv(16, 32, stride=2), Block(32))
        self.stages = nn.ModuleList([
            nn.Sequential(Conv(32, 48, stride=2), Block(48), Block(48)),
            nn.Sequential(Conv(48, 64, stride=2), Block(64), Block(64)),
            nn.Sequential(Conv(64, 96, stride=2), Block(96)),
        ])  # fmt: skip
        self.lateral = nn.ModuleList(Conv(width, neck, 1) for width in (48, 64, 96))
        self.smooth = nn.ModuleList(Conv(neck, neck) for _ in range(2))
        self.towers = nn.ModuleList(Conv(neck, neck) for _ in range(2))
        self.boxes, self.classes = nn.Conv2d(neck, 4, 1), nn.Conv2d(neck, classes, 1)
        self.scales = nn.Parameter(torch.ones(len(STRIDES)))
        nn.init.constant_(
            self.classes.bias, -math.log(99)
        )  # one anchor in a hundred, to begin with

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distances left, top, right, bottom in pixels ``(B, 4, A)``, and class logits ``(B, C, A)``."""
        x = self.stem(x)
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        for i in (1, 0):
            up = functional.interpolate(levels[i + 1], scale_factor=2.0, mode="nearest")
            levels[i] = self.smooth[i](levels[i] + up)
        boxes, classes = [], []
        for level, stride, scale in zip(levels, STRIDES, self.scales, strict=True):
            distances = functional.softplus(self.boxes(self.towers[0](level)) * scale) * (
                2 * stride
            )
            boxes.append(distances.flatten(2))
            classes.append(self.classes(self.towers[1](level)).flatten(2))
        return torch.cat(boxes, 2), torch.cat(classes, 2)


class Exported(nn.Module):
    """The detector with Ultralytics' output: ``(1, 4 + classes, anchors)``, centre x, y, width, height, scores."""

    def __init__(self, detector: Detector, side: int) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("centres", anchors(side)[0].T[None].contiguous())

    def forward(self, images: Tensor) -> Tensor:
        distances, logits = self.detector(images)
        before, after = distances.split(2, 1)
        centre, size = self.centres + (after - before) / 2, before + after
        return torch.cat((centre, size, logits.sigmoid()), 1)


def anchors(side: int) -> tuple[Tensor, Tensor]:
    """Centres of all cells ``(A, 2)`` in pixels, and their strides ``(A,)``."""
    centres, strides = [], []
    for stride in STRIDES:
        line = (torch.arange(side // stride) + 0.5) * stride
        y, x = torch.meshgrid(line, line, indexing="ij")
        centres.append(torch.stack((x, y), -1).reshape(-1, 2))
        strides.append(torch.full((len(centres[-1]),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def scenes(folder: Path, belts: int, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 ``(N, 3, 320, 320)`` RGB, boxes ``(N, 24, 4)``, classes ``(N, 24)``: −1 is none, −2 is unsure."""
    garments = from_idx(
        folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    )
    random = np.random.default_rng(SEED)
    images = np.empty((belts * frames, 3, SIDE, SIDE), np.uint8)
    boxes = np.zeros((belts * frames, MOST_BOXES, 4), np.float32)
    classes = np.full((belts * frames, MOST_BOXES), -1, np.int64)
    canvas = np.empty((SIDE, SIDE, 3), np.uint8)
    for belt in range(belts):
        # Seeds of seven digits: `synthetic://conveyor` is documented with small ones.
        scene = Conveyor(garments, 1_000_000 + belt, SIDE, SIDE, side=random.uniform(70, 150))
        for frame in range(frames):
            n, index = belt * frames + frame, 40 + 150 * frame + int(random.integers(100))
            scene.render(index, canvas)
            images[n] = cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
            truth = scene.truth(index)
            found = np.where(truth.visible >= LEAST_VISIBLE, truth.class_ids, -2)[-MOST_BOXES:]
            boxes[n, : len(found)], classes[n, : len(found)] = truth.boxes_xyxy[-MOST_BOXES:], found
    return images, boxes, classes


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and complete IoU (Zheng et al., 2020) of boxes left, top, right, bottom; shapes broadcast."""
    inner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    size_a, size_b = (a[..., 2:] - a[..., :2]).clamp(1e-3), (b[..., 2:] - b[..., :2]).clamp(1e-3)
    both = inner.clamp(0).prod(-1)
    iou = both / (size_a.prod(-1) + size_b.prod(-1) - both)
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).pow(2).sum(-1)
    angle_a, angle_b = (torch.atan(size[..., 0] / size[..., 1]) for size in (size_a, size_b))
    shape = 4 / math.pi**2 * (angle_a - angle_b).pow(2)
    with torch.no_grad():
        weight = shape / (1 - iou + shape + 1e-6)
    return iou, iou - apart / outer.pow(2).sum(-1).clamp(1e-3) - weight * shape


class Loss:
    """Task-aligned assignment (Feng et al., 2021): an anchor learns the box that it already predicts best."""

    def __init__(self, side: int) -> None:
        self.centres, self.strides = anchors(side)

    def __call__(self, distances: Tensor, logits: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        distances, logits = distances.transpose(1, 2), logits.transpose(1, 2)  # (B, A, ·)
        predicted = torch.cat(
            (self.centres - distances[..., :2], self.centres + distances[..., 2:]), -1
        )
        with torch.no_grad():
            owner, quality, unsure = self.assign(predicted, logits.sigmoid(), boxes, classes)
        mine = owner >= 0
        rows, cells = mine.nonzero(as_tuple=True)
        goal = torch.zeros_like(logits)
        goal[rows, cells, classes[rows, owner[mine]]] = quality[mine]
        known = (mine | ~unsure)[..., None]
        # Quality focal: what is far from its goal counts.
        focus = (logits.sigmoid() - goal).detach().pow(2)
        entropy = functional.binary_cross_entropy_with_logits(logits, goal, reduction="none")
        total = quality.sum().clamp(1)
        class_loss = (entropy * focus * known).sum() / total
        _, ciou = overlap(predicted[mine], boxes[rows, owner[mine]])
        return 4 * class_loss + 2 * ((1 - ciou) * quality[mine]).sum() / total

    def assign(
        self, predicted: Tensor, scores: Tensor, boxes: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For each anchor: which box it learns (−1 none), how well it shall score, whether it is unsure."""
        c = self.centres[:, None]
        inside = ((c > boxes[:, None, :, :2]) & (c < boxes[:, None, :, 2:])).all(-1)  # (B, A, M)
        iou, _ = overlap(predicted[:, :, None], boxes[:, None])
        score = torch.gather(scores, 2, classes.clamp(0)[:, None].expand(-1, scores.shape[1], -1))
        metric = score.sqrt() * iou.clamp(0).pow(6) * (inside & (classes >= 0)[:, None])
        least = metric.topk(10, dim=1).values[:, -1:].clamp(1e-9)
        metric = metric * (metric >= least)
        value, owner = metric.max(2)
        # Normalized so that a box's best anchor is told the box's best IoU.
        best = metric.amax(1).clamp(1e-9)
        best_iou = (iou * (metric > 0)).amax(1)
        quality = value * torch.gather(best_iou / best, 1, owner)
        unsure = (inside & (classes == -2)[:, None]).any(2)
        return torch.where(value > 0, owner, -1), quality * (value > 0), unsure


def train(data: tuple[np.ndarray, np.ndarray, np.ndarray], steps: int, batch: int = 32) -> Detector:
    """The rate falls along a cosine; what is kept is the average of the latest weights."""
    images, boxes, classes = data
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED + 1)
    model, loss = Detector(), Loss(SIDE)
    model.to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    began, shown = time.monotonic(), 0.0
    for step in range(steps):
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 200) * (0.01 + 0.99 * cosine)
        chosen = random.integers(len(images), size=batch)
        x, b, c = (torch.from_numpy(a[chosen]) for a in (images, boxes, classes))
        x = x.float().div_(255).contiguous(memory_format=torch.channels_last)
        if random.random() < 0.5:
            x, b = (
                x.flip(3),
                torch.stack((SIDE - b[..., 2], b[..., 1], SIDE - b[..., 0], b[..., 3]), -1),
            )
        # bfloat16 halves the time where the processor has it, and hurts nothing here.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            distances, logits = model(x)
        value = loss(distances.float(), logits.float(), b, c)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        average.update_parameters(model)
        shown = 0.98 * shown + 0.02 * value.item()
        if step % 100 == 99:
            print(
                f"step {step + 1}, {time.monotonic() - began:.0f} s, loss {shown:.3f}", flush=True
            )
    return average.module.eval()


def export(detector: Detector, path: Path, side: int) -> None:
    """Writes ONNX with the metadata that Ultralytics' exporter writes."""
    import onnx

    torch.onnx.export(
        Exported(detector, side), (torch.zeros(1, 3, side, side),), str(path), dynamo=False,
        input_names=["images"], output_names=["output0"], opset_version=17,
    )  # fmt: skip
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {
        "description": "Garments on a conveyor belt, trained on Fashion-MNIST by examples/train_demo.py",
        "author": "edgevision", "license": "Apache-2.0", "task": "detect", "stride": "32", "batch": "1",
        "imgsz": json.dumps([side, side]), "names": str(dict(enumerate(CLASSES))),
    })  # fmt: skip
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--belts", type=int, default=3000)
    parser.add_argument("--size", type=int, default=640)
    arguments = parser.parse_args()
    began = time.monotonic()
    data = scenes(arguments.data, arguments.belts, 6)
    print(f"{len(data[0])} pictures in {time.monotonic() - began:.0f} s", flush=True)
    detector = train(data, arguments.steps)
    print(f"{sum(p.numel() for p in detector.parameters())} parameters")
    torch.save(detector.state_dict(), arguments.output.with_suffix(".pt"))
    export(detector, arguments.output, arguments.size)


if __name__ == "__main__":
    main()
