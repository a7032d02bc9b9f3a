"""Trains the demo's detector of garments and exports it to ONNX: PyTorch on a CPU, about an hour on two cores.

    pip install '.[convert]' torch==2.13.0
    python examples/train_demo.py /usr/share/datasets/fashion-mnist garments.onnx

The folder is that of Debian's package dataset-fashion-mnist. Only the training set is used: what is shipped
with edgevision to be seen by the detector comes from the test set. Same seed, same threads: same weights.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgevision.sources._conveyor import DISTANCE, Conveyor
from edgevision.sources._garments import CLASSES, Garments, from_idx

STRIDES = (8, 16, 32)
#: Most is learnt on small pictures, which are cheap; the rest at the size at which the detector is used.
#: Each stage: side, steps, pictures a step, its share of the work, belts and frames of each.
STAGES = ((320, 4300, 32, 0.72, 2500, 6), (640, 1700, 8, 0.28, 1000, 3))
RATE = 3e-3
#: At last batch norm is held still, see `settle`.
SETTLE_RATE, SETTLE_STEPS = 6e-4, 600
#: Frames as wide and high as these parts of the picture, the bars' grey, and a garment's side in pixels.
SHAPES, PAD, GARMENT = (
    ((1, 1), (1, 1), (1, 9 / 16), (1, 9 / 16), (1, 3 / 4), (3 / 4, 1), (9 / 16, 1)),
    114,
    (55, 195),
)
#: On every fourth belt there is more room between the garments, in their sides.
SPARSE = (1.0, 4.0)
#: Of a garment that is seen less than this nothing is learnt, neither that it is there nor that it is not.
LEAST_VISIBLE = 0.3
MOST_BOXES = 64
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


@dataclass(frozen=True)
class Pictures:
    """Letterboxed frames of belts: N pictures with up to M garments.

    Attributes:
        images: uint8 ``(N, 3, side, side)`` RGB.
        boxes: float32 ``(N, M, 4)``: left, top, right, bottom in pixels.
        classes: int64 ``(N, M)``: −1 is none, −2 is unsure.
    """

    images: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray


@cache
def garments(folder: Path) -> Garments:
    """The training set only."""
    return from_idx(folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz")


def pictures(folder: Path, side: int, first: int, belts: int, frames: int) -> Pictures:
    """Renders belts ``first``, ``first + 1``, …, as many frames of each."""
    n = belts * frames
    boxes = np.zeros((n, MOST_BOXES, 4), np.float32)
    classes = np.full((n, MOST_BOXES), -1, np.int64)
    images = np.full((n, 3, side, side), PAD, np.uint8)
    for belt in range(belts):
        random = np.random.default_rng((SEED, first + belt))
        # As the runtime does it: the frame is shrunk to fit, and bars fill what it leaves.
        shape = side * np.minimum(1, np.array(SHAPES[random.integers(len(SHAPES))]))
        shrink = random.uniform(1, 1.5)
        width, height = (round(float(length)) for length in shape)
        large = round(width * shrink), round(height * shrink)
        left, top = (side - width) // 2, (side - height) // 2
        scene = Conveyor(
            garments(folder),
            1_000_000 + first + belt,  # `synthetic://conveyor` is documented with small ones
            *large,
            side=shrink * random.uniform(*GARMENT),
            distance=random.choice((DISTANCE, random.uniform(*SPARSE)), p=(0.75, 0.25)),
        )
        canvas = np.empty((*large[::-1], 3), np.uint8)
        for k in range(frames):
            i, index = belt * frames + k, 40 + 150 * k + int(random.integers(100))
            scene.render(index, canvas)
            small = cv2.cvtColor(cv2.resize(canvas, (width, height)), cv2.COLOR_BGR2RGB)
            images[i, :, top : top + height, left : left + width] = small.transpose(2, 0, 1)
            truth = scene.truth(index)
            found = np.where(truth.visible >= LEAST_VISIBLE, truth.class_ids, -2)[-MOST_BOXES:]
            scaled = (
                truth.boxes_xyxy[-MOST_BOXES:] * np.tile((width, height), 2) / np.tile(large, 2)
            )
            boxes[i, : len(found)] = scaled + np.tile((left, top), 2)
            classes[i, : len(found)] = found
    return Pictures(images, boxes, classes)


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


@dataclass(frozen=True)
class Stage:
    """A size of pictures, and how long it is trained on. See `STAGES`."""

    folder: Path
    side: int
    steps: int
    batch: int
    share: float
    belts: int
    frames: int

    def render(self) -> Pictures:
        """On all cores; belts of another size are other belts."""
        jobs = [
            (self.folder, self.side, 10_000 * self.side + first, 50, self.frames)
            for first in range(0, self.belts, 50)
        ]
        # Not forked: PyTorch's threads do not survive that.
        with multiprocessing.get_context("spawn").Pool() as pool:
            parts = pool.starmap(pictures, jobs, chunksize=1)
        return Pictures(*(
            np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Pictures)
        ))  # fmt: skip


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


def train(stages: Iterable[Stage]) -> tuple[Detector, Pictures]:
    """The detector, and the last stage's pictures. The rate falls along a cosine over all stages."""
    torch.manual_seed(SEED)
    learner = Learner(Detector().to(memory_format=torch.channels_last), RATE)
    done = 0.0
    for stage in stages:
        loss, data = Loss(stage.side), stage.render()
        learner.say(f"{len(data.images)} pictures")
        for step in range(stage.steps):
            done += stage.share / stage.steps
            learner.rate(min(1, done * 30) * (0.01 + 0.99 * cosine(done)))
            learner.step(loss, data, stage.batch)
            if step % 100 == 99:
                learner.say(f"{stage.side}: step {step + 1}")
    return learner.kept, data


def settle(detector: Detector, data: Pictures) -> Detector:
    """Learns on with batch norm as it is in use, its statistics held still.

    Until here a picture was normalized by the few that came with it, and so by its own brightness. Without
    this step boxes come out two pixels too large.
    """
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    random = np.random.default_rng(SEED)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches, not of the latest
    detector.train()
    with torch.no_grad():
        for _ in range(40):
            detector(batch(data, random, 8)[0])
    learner = Learner(detector, SETTLE_RATE)
    for norm in norms:
        norm.eval()
    loss = Loss(data.images.shape[-1])
    for step in range(SETTLE_STEPS):
        learner.rate(cosine(step / SETTLE_STEPS))
        learner.step(loss, data, 8)
        if step % 100 == 99:
            learner.say(f"settling: step {step + 1}")
    return learner.kept


class Learner:
    """A model, how it is moved, and the average of its latest weights, which is what is kept."""

    def __init__(self, model: Detector, rate: float) -> None:
        self.model, self.full = model, rate
        self.average = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
        )
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
        self.random = np.random.default_rng(SEED)
        self.shown, self.began = 0.0, time.monotonic()

    @property
    def kept(self) -> Detector:
        kept: Detector = self.average.module
        return kept.eval()

    def rate(self, part: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.full * part

    def step(self, loss: Loss, data: Pictures, size: int) -> None:
        x, boxes, classes = batch(data, self.random, size)
        # bfloat16 halves the time where the processor has it, and hurts nothing here.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            distances, logits = self.model(x)
        value = loss(distances.float(), logits.float(), boxes, classes)
        self.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.shown = 0.98 * self.shown + 0.02 * value.item()

    def say(self, what: str) -> None:
        seconds = time.monotonic() - self.began
        print(f"{what} after {seconds:.0f} s, loss {self.shown:.3f}", flush=True)


def cosine(done: float) -> float:
    """From 1 to 0."""
    return (1 + math.cos(math.pi * done)) / 2


def batch(data: Pictures, random: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures by chance, half of them mirrored."""
    chosen = random.integers(len(data.images), size=size)
    x, boxes, classes = (
        torch.from_numpy(a[chosen]) for a in (data.images, data.boxes, data.classes)
    )
    most = max(1, int((classes != -1).sum(1).max()))
    boxes, classes = boxes[:, :most], classes[:, :most]
    x = x.float().div_(255).contiguous(memory_format=torch.channels_last)
    if random.random() < 0.5:
        side = x.shape[3]
        left, top, right, bottom = boxes.unbind(-1)
        x, boxes = x.flip(3), torch.stack((side - right, top, side - left, bottom), -1)
    return x, boxes, classes


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
    parser.add_argument("--size", type=int, default=640)
    arguments = parser.parse_args()
    detector, data = train(Stage(arguments.data, *stage) for stage in STAGES)
    detector = settle(detector, data)
    print(f"{sum(p.numel() for p in detector.parameters())} parameters")
    torch.save(detector.state_dict(), arguments.output.with_suffix(".pt"))
    export(detector, arguments.output, arguments.size)


if __name__ == "__main__":
    main()
