"""The networks that this machine's peak rates are measured with: stacks of equal convolutions, as ONNX text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgevision.benchmarks.estimate.flops import DENSE, DEPTHWISE, NARROW

__all__ = ["STACKS", "Stack"]


@dataclass(frozen=True, slots=True)
class Stack:
    """Convolutions of one kind in a row, behind a small one that takes a picture.

    Weights are made in the graph, so its text is short; those of heads side by side differ, for an engine
    computes what is equal only once.

    Attributes:
        kind: Of work: dense, depthwise, or narrow (heads of four channels side by side).
        channels: Of every tensor.
        side: Height and width of every tensor.
        window: Height and width of the filters.
        layers: How many follow on each other.
    """

    kind: str
    channels: int
    side: int
    window: int
    layers: int

    def __str__(self) -> str:
        kind = f"{self.kind} " if self.kind else ""
        size = f"{self.window}×{self.window}×{self.channels} on {self.side}×{self.side}"
        return f"{self.layers} {kind}convolutions {size}"

    @property
    def flops(self) -> int:
        """Of the whole network, a multiply-add twice."""
        taken = 1 if self.kind == DEPTHWISE else self.channels
        macs = self.channels * self.side**2 * (3 + self.layers * taken * self.window**2)
        return 2 * macs

    def text(self, *, quantized: bool) -> str:
        """In ONNX's text form; quantized, each tensor that a convolution takes or gives is int8."""
        body = [*_CONSTANTS, *self._convolution("image", "x0", (self.channels, 3, 1), quantized)]
        for number in range(self.layers):
            body += self._layer(f"x{number}", f"x{number + 1}", quantized)
        last = f"x{self.layers}"
        body += _through(last, "y") if quantized else [f"y = Identity({last})"]
        shapes = f"(float[1,3,{self.side},{self.side}] image) => (float[1,{self.channels},{self.side},{self.side}] y)"
        lines = "\n".join(body)
        return f'<ir_version: 8, opset_import: ["": 17]>\nprobe {shapes} {{\n{lines}\n}}'

    def _layer(self, x: str, y: str, quantized: bool) -> Iterator[str]:
        if self.kind == DENSE:
            yield from self._convolution(
                x, y, (self.channels, self.channels, self.window), quantized
            )
        elif self.kind == DEPTHWISE:
            yield from self._convolution(x, y, (self.channels, 1, self.window), quantized)
        else:
            heads = [f"{y}h{head}" for head in range(self.channels // _HEAD)]
            for number, head in enumerate(heads):
                dims = (_HEAD, self.channels, self.window)
                yield from self._convolution(x, head, dims, quantized, number)
            yield f"{y} = Concat<axis = 1>({', '.join(heads)})"

    def _convolution(
        self, x: str, y: str, dims: tuple[int, int, int], quantized: bool, number: int = 0
    ) -> Iterator[str]:
        out, taken, window = dims
        groups = self.channels if (self.kind == DEPTHWISE and taken == 1) else 1
        yield f"{y}s = Constant<value_ints = [{out}, {taken}, {window}, {window}]>()"
        if quantized:
            yield from _through(x, f"{y}a")
            yield f"{y}v = ConstantOfShape<value = int8[1] {{{3 + number}}}>({y}s)"
            yield f"{y}w = DequantizeLinear({y}v, scale, none)"
        else:
            yield f"{y}a = Identity({x})"
            yield f"{y}w = ConstantOfShape<value = float[1] {{{0.01 * (1 + number):.2f}}}>({y}s)"
        pads = ", ".join([str(window // 2)] * 4)
        yield f"{y} = Conv<pads = [{pads}], group = {groups}>({y}a, {y}w)"


def _through(x: str, y: str) -> list[str]:
    """From float to int8 and back."""
    return [
        f"{y}q = QuantizeLinear({x}, scale, zero)",
        f"{y} = DequantizeLinear({y}q, scale, zero)",
    ]


_HEAD = 4  # channels, as flops.py draws the line
_CONSTANTS = (
    "scale = Constant<value = float {0.01}>()",
    "zero = Constant<value = uint8 {128}>()",
    "none = Constant<value = int8 {0}>()",
)
#: Of each kind several: which one an engine is best at differs.
STACKS = (
    Stack(DENSE, 128, 28, 3, 4),
    Stack(DENSE, 512, 28, 1, 3),
    Stack(DENSE, 256, 56, 1, 3),
    Stack(DENSE, 64, 28, 3, 12),
    Stack(DEPTHWISE, 64, 28, 5, 32),
    Stack(DEPTHWISE, 256, 14, 5, 32),
    Stack(DEPTHWISE, 64, 28, 3, 32),
    Stack(NARROW, 48, 40, 1, 2),
    Stack(NARROW, 48, 40, 3, 2),
)
