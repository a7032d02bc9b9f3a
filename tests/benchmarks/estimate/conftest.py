"""Networks written down from their published architectures, without weights: only shapes count here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper


class Drawing:
    """Puts an ONNX graph together; its weights are "in another file", which is not there."""

    def __init__(self, size: int, kind: int = TensorProto.FLOAT) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.channels = {"image": 3}
        self.image = helper.make_tensor_value_info("image", kind, ["batch", 3, size, size])
        self.kind = kind

    def node(self, op: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        number = len(self.nodes)
        names = [f"t{number}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{number}", **attributes))
        return names[0] if outputs == 1 else names

    def floats(self, image: str) -> str:
        """The input as float32."""
        if self.kind == TensorProto.FLOAT:
            return image
        scale = helper.make_tensor(f"w{len(self.weights)}", TensorProto.FLOAT, [], [0.02])
        self.weights.append(scale)
        y = self.node("DequantizeLinear", [image, scale.name])
        self.channels[y] = self.channels[image]
        return y

    def weight(self, *dims: int) -> str:
        tensor = TensorProto(name=f"w{len(self.weights)}", data_type=TensorProto.FLOAT, dims=dims)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="absent.bin")
        self.weights.append(tensor)
        return tensor.name

    def conv(
        self, x: str, out: int, kernel: int = 1, stride: int = 1, act: str = "", groups: int = 1
    ) -> str:
        weight = self.weight(out, self.channels[x] // groups, kernel, kernel)
        pads = [kernel // 2] * 4
        y = self.node(
            "Conv", [x, weight, self.weight(out)], strides=[stride] * 2, pads=pads, group=groups
        )
        self.channels[y] = out
        return self.act(y, act)

    def act(self, x: str, act: str) -> str:
        if not act:
            return x
        y = (
            self.node("Relu", [x])
            if act == "relu"
            else self.node("Mul", [x, self.node("Sigmoid", [x])])
        )
        self.channels[y] = self.channels[x]
        return y

    def add(self, a: str, b: str) -> str:
        y = self.node("Add", [a, b])
        self.channels[y] = self.channels[a]
        return y

    def pool(self, x: str, kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        y = self.node("MaxPool", [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        self.channels[y] = self.channels[x]
        return y

    def concat(self, *parts: str) -> str:
        y = self.node("Concat", list(parts), axis=1)
        self.channels[y] = sum(self.channels[part] for part in parts)
        return y

    def split(self, x: str) -> tuple[str, str]:
        a, b = self.node("Split", [x], outputs=2, axis=1, num_outputs=2)
        self.channels[a] = self.channels[b] = self.channels[x] // 2
        return a, b

    def numbers(self, *values: int) -> str:
        tensor = helper.make_tensor(
            f"w{len(self.weights)}", TensorProto.INT64, [len(values)], values
        )
        self.weights.append(tensor)
        return tensor.name

    def save(self, path: Path, outputs: list[str]) -> Path:
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [self.image],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            self.weights,
        )
        opset = [helper.make_opsetid("", 18)]
        path.write_bytes(helper.make_model(graph, opset_imports=opset).SerializeToString())
        return path


def resnet50(path: Path, fed: str = "float32") -> Path:
    """ResNet-50 v1.5 (He et al. 2015, table 1; stride in the 3×3, as MLPerf runs it), batch norm folded.

    ``fed`` with int8 it begins with a DequantizeLinear, as an engine that takes int8 pictures does.
    """
    g = Drawing(224, TensorProto.INT8 if fed == "int8" else TensorProto.FLOAT)
    x = g.conv(g.floats("image"), 64, 7, 2, "relu")
    x = g.pool(x, 3, 2)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = g.conv(g.conv(x, width, act="relu"), width, 3, stride, "relu")
            y = g.conv(y, 4 * width)
            x = g.act(g.add(y, x if block else g.conv(x, 4 * width, 1, stride)), "relu")
    flat = g.node("Flatten", [g.node("GlobalAveragePool", [x])])
    scores = g.node("Gemm", [flat, g.weight(1000, 2048), g.weight(1000)], transB=1)
    return g.save(path, [scores])


def yolo11n(path: Path, size: int = 640) -> Path:
    """YOLO11n as its published architecture describes it, drawn anew; no file of Ultralytics is used.

    Its published totals are 2.6 M parameters and 6.5 GFLOPs at 640×640.
    """
    g = Drawing(size)

    def cbs(x: str, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        return g.conv(x, out, kernel, stride, "silu", groups)

    def bottleneck(x: str, inner: int, out: int) -> str:
        return g.add(cbs(cbs(x, inner, 3), out, 3), x)

    def c3k(x: str, out: int) -> str:
        a, b, half = cbs(x, out // 2), cbs(x, out // 2), out // 2
        for _ in range(2):
            a = bottleneck(a, half, half)
        return cbs(g.concat(a, b), out)

    def c3k2(x: str, out: int, deep: bool, part: float = 0.5) -> str:
        inner = int(out * part)
        a, b = g.split(cbs(x, 2 * inner))
        c = c3k(b, inner) if deep else bottleneck(b, inner // 2, inner)
        return cbs(g.concat(a, b, c), out)

    def sppf(x: str) -> str:
        parts = [cbs(x, g.channels[x] // 2)]
        for _ in range(3):
            parts.append(g.pool(parts[-1], 5, 1))
        return cbs(g.concat(*parts), g.channels[x])

    def c2psa(x: str, side: int) -> str:
        a, b = g.split(cbs(x, g.channels[x]))
        b = g.add(b, attention(b, side))
        b = g.add(b, g.conv(cbs(b, 2 * g.channels[b]), g.channels[b]))
        return cbs(g.concat(a, b), g.channels[x])

    def attention(x: str, side: int) -> str:
        width, places = g.channels[x], side * side
        heads = width // 64
        qkv = g.node("Reshape", [g.conv(x, 2 * width), g.numbers(1, heads, 128, places)])
        q, k, v = g.node("Split", [qkv, g.numbers(32, 32, 64)], outputs=3, axis=2)
        scores = g.node("MatMul", [g.node("Transpose", [q], perm=[0, 1, 3, 2]), k])
        weights = g.node("Softmax", [scores], axis=-1)
        y = g.node("MatMul", [v, g.node("Transpose", [weights], perm=[0, 1, 3, 2])])
        shape = g.numbers(1, width, side, side)
        y, v = g.node("Reshape", [y, shape]), g.node("Reshape", [v, shape])
        g.channels[y] = g.channels[v] = width
        return g.conv(g.add(y, g.conv(v, width, 3, groups=width)), width)

    def up(x: str) -> str:
        scales = helper.make_tensor(f"w{len(g.weights)}", TensorProto.FLOAT, [4], [1, 1, 2, 2])
        g.weights.append(scales)
        y = g.node("Resize", [x, "", scales.name], mode="nearest")
        g.channels[y] = g.channels[x]
        return y

    def head(x: str) -> str:
        width = g.channels[x]
        box = g.conv(cbs(cbs(x, 64, 3), 64, 3), 64)
        y = cbs(cbs(x, width, 3, groups=width), 80)
        return g.concat(box, g.conv(cbs(cbs(y, 80, 3, groups=80), 80), 80))

    x = c3k2(cbs(cbs("image", 16, 3, 2), 32, 3, 2), 64, False, 0.25)
    p3 = c3k2(cbs(x, 64, 3, 2), 128, False, 0.25)
    p4 = c3k2(cbs(p3, 128, 3, 2), 128, True)
    p5 = c3k2(cbs(p4, 256, 3, 2), 256, True)
    p5 = c2psa(sppf(p5), size // 32)
    n4 = c3k2(g.concat(up(p5), p4), 128, False)
    n3 = c3k2(g.concat(up(n4), p3), 64, False)
    n4 = c3k2(g.concat(cbs(n3, 64, 3, 2), n4), 128, False)
    n5 = c3k2(g.concat(cbs(n4, 128, 3, 2), p5), 256, True)
    flat = [g.node("Reshape", [head(n), g.numbers(1, 144, -1)]) for n in (n3, n4, n5)]
    raw = g.node("Concat", flat, axis=2)
    box, scores = g.node("Split", [raw, g.numbers(64, 80)], outputs=2, axis=1)
    bins = g.node("Reshape", [box, g.numbers(1, 4, 16, -1)])
    bins = g.node("Softmax", [g.node("Transpose", [bins], perm=[0, 2, 1, 3])], axis=1)
    boxes = g.node("Conv", [bins, g.weight(1, 16, 1, 1)])
    boxes = g.node("Reshape", [boxes, g.numbers(1, 4, -1)])
    return g.save(path, [g.node("Concat", [boxes, g.node("Sigmoid", [scores])], axis=1)])


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Draws ``resnet50`` or ``yolo11n``; keywords are those of the functions here."""
    folder = tmp_path_factory.mktemp("drawn")
    draw = {"resnet50": resnet50, "yolo11n": yolo11n}

    def make(name: str, **options: Any) -> Path:
        path = folder / f"{name}{''.join(f'-{v}' for v in options.values())}.onnx"
        return path if path.exists() else draw[name](path, **options)

    return make


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a model given in ONNX's text form to a file."""

    def write(text: str, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
        path.write_bytes(model.SerializeToString())
        return path

    return write
