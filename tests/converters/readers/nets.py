"""Small networks of PyTorch for the tests of its reader; their factories are named by ``--factory``."""

import torch
from torch import nn


class Classifier(nn.Module):
    """Three classes from a picture of any size."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, 2, 1)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(16, 3)

    def forward(self, images):
        x = torch.relu(self.norm(self.first(images)))
        x = nn.functional.silu(self.second(x)).mean((2, 3))
        return self.last(self.drop(x))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class Detector(nn.Module):
    """Residual blocks and a head with YOLOv8's layout, 1×3×64×64 → 1×(4+2)×64."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.down = nn.Conv2d(16, 16, 3, 2, 1)
        self.boxes, self.classes = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 2, 1)

    def forward(self, images):
        x = self.down(self.blocks(torch.relu(self.stem(images))))
        boxes = self.boxes(x).flatten(2).sigmoid() * 64
        return torch.cat((boxes, self.classes(x).flatten(2).sigmoid()), 1)


class Masked(nn.Module):
    """A picture and a second input, given as a dict."""

    def __init__(self):
        super().__init__()
        self.inner = Classifier()

    def forward(self, images, more):
        return self.inner(images) + more["bias"]


class Chooses(nn.Module):
    def forward(self, images):
        if images.sum() > 0:
            return images.mean((2, 3)) * 2
        return images.mean((2, 3))


class Unsupported(nn.Module):
    def forward(self, images):
        return torch.linalg.qr(images)[0].mean((2, 3))


class NotANumber(nn.Module):
    def forward(self, images):
        return torch.log(images.mean((2, 3)) - 10)


def seeded(kind, seed=0):
    torch.manual_seed(seed)
    return kind()


def classifier():
    return seeded(Classifier)


def detector():
    return seeded(Detector, 1)  # other weights than those of the file


def masked():
    return Masked()


def no_network():
    return "a text"


def fails():
    raise KeyError("depth")
