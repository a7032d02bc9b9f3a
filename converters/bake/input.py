"""Bakes colour order and normalization into a graph, which then takes uint8 pictures as cameras give them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgevision.converters.bake.builder import Builder, replace_nodes
from edgevision.converters.bake.fold import fold, is_padded
from edgevision.converters.bake.paths import Channels, Found, follow
from edgevision.converters.graph.index import GraphIndex, attribute, bodies, inferred_shapes
from edgevision.converters.graph.pruning import prune
from edgevision.errors import ModelError
from edgevision.spec import InputSpec

__all__ = ["BakedInput", "bake_input"]


@dataclass(frozen=True)
class BakedInput:
    """A model that takes uint8 pictures.

    Attributes:
        model: The copy that was rewritten.
        spec: Its input spec: uint8, blue-green-red or gray, scale 1, mean 0, std 1.
        same: Tensors to compare: name in the original → name here.
        changes: Sentences for people.
    """

    model: onnx.ModelProto
    spec: InputSpec
    same: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)


def bake_input(model: onnx.ModelProto, spec: InputSpec) -> BakedInput:
    """Rewrites a cleaned model to take the resized picture itself, rounded to uint8 as the input spec has it.

    1. Where the input reaches convolutions and nothing else, the colour order and the scale go into
       their weights and the mean into their bias, or is subtracted first; see `fold`. Nodes of the
       model that scale, shift, cast or transpose the input on its way go with them. Transposes are done
       on uint8.
    2. In front of a grouped convolution the channels are swapped by a node: its outputs are in the
       order of its groups.
    3. Elsewhere the normalization becomes nodes in front of the model as it was.

    Args:
        model: Cleaned; not changed.
        spec: How a picture becomes its input; names the tensor.

    Raises:
        ModelError: The input is an output too.
    """
    gain = np.broadcast_to(spec.scale / np.array(spec.std, np.float64), spec.channels)
    offset = np.broadcast_to(-np.array(spec.mean) / np.array(spec.std, np.float64), spec.channels)
    swap = spec.colour == "rgb"
    baked = [*(["colour"] if swap else [])]
    baked += ["normalization"] if (gain != 1).any() or offset.any() else []
    colour = "bgr" if swap else spec.colour
    plain = replace(
        spec, colour=colour, scale=1.0, mean=(0.0,), std=(1.0,), dtype="uint8",
        baked=(*spec.baked, *baked),
    )  # fmt: skip
    if plain == spec:
        return BakedInput(
            model, spec, changes=["the input takes uint8 pictures as they are already"]
        )
    work = onnx.ModelProto()
    work.CopyFrom(model)
    start = Channels(gain, offset, (0, 1, 2, 3), 1 if spec.layout == "nchw" else 3)
    rewriter = _Rewriter(work, spec, start, swap)
    same, changes = rewriter.rewrite()
    return BakedInput(_inferred(work), plain, same, changes)


class _Rewriter:
    def __init__(
        self, model: onnx.ModelProto, spec: InputSpec, start: Channels, swap: bool
    ) -> None:
        self.model, self.spec, self.start, self.swap = model, spec, start, swap
        self.value = next(v for v in model.graph.input if v.name == spec.tensor)
        self.index = GraphIndex(model.graph)
        self.shapes = inferred_shapes(model)
        self.builder = Builder(model, self.value.name)
        self.made: dict[object, str] = {}

    def rewrite(self) -> tuple[dict[str, str], list[str]]:
        """Tensors to compare, and sentences."""
        graph = self.model.graph
        found = follow(graph, self.value.name, self.start)
        kind = self.value.type.tensor_type.elem_type
        self.value.type.tensor_type.elem_type = TensorProto.UINT8
        if found.obstacle:
            same, told = self._nodes_in_front(kind, found.obstacle)
        else:
            same, told = self._folded(found)
        replace_nodes(graph, [*self.builder.nodes, *graph.node])
        prune(self.model, [])
        return same, [told]

    def _folded(self, found: Found) -> tuple[dict[str, str], str]:
        """Cases 1 and 2."""
        grouped = any(attribute(conv, "group", 1) != 1 for conv, _ in found.convs)
        swap_weights = self.swap and not grouped
        means = False
        for conv, channels in found.convs:
            means |= self._fold(conv, channels, swap_weights, grouped and self.swap)
        for node, channels in found.shapes:
            node.input[0] = self._pixels(channels.dims, False)
        names = [conv.output[0] for conv, _ in found.convs]
        where = "the first convolution" if len(names) == 1 else f"{len(names)} first convolutions"
        what = "its colour order and scale" if swap_weights else "its scale"
        told = f"baked the input, uint8 {self._colour()} now: {what} into the weights of {where}"
        if means:
            told += "; the mean is subtracted before it, as it pads with zeros"
        elif np.abs(found.convs[0][1].means).max() > 0:
            told += ", its mean into the bias"
        if grouped and self.swap:
            told += "; the channels are swapped by a node, as it works in groups"
        return {name: name for name in names}, told

    def _colour(self) -> str:
        return "gray" if self.spec.colour == "gray" else "BGR"

    def _fold(
        self, conv: onnx.NodeProto, channels: Channels, swap: bool, swap_pixels: bool
    ) -> bool:
        """Rewires one convolution; whether a mean is subtracted in front of it."""
        weights = self.index.array(conv.input[1])
        assert weights is not None  # `follow` takes no others
        bias = self.index.array(conv.input[2]) if len(conv.input) > 2 else None
        shape = self.shapes.get(conv.input[0]) or ["", "", "", ""]
        folded = fold(
            weights,
            bias,
            channels,
            groups=attribute(conv, "group", 1),
            padded=is_padded(conv, weights.shape[2:], shape[2:]),
            swap=swap,
        )
        data = self._cast(channels.dims, swap_pixels, weights.dtype)
        if folded.means is not None:
            data = self._subtract(data, folded.means.astype(weights.dtype))
        del conv.input[:]
        conv.input.extend([data, self.builder.constant(folded.weights, f"{conv.name}/weights")])
        if folded.bias is not None:
            conv.input.append(self.builder.constant(folded.bias, f"{conv.name}/bias"))
        return folded.means is not None

    def _pixels(self, dims: tuple[int, ...], swap: bool) -> str:
        """The uint8 input in that order of dims."""
        key = (dims, swap)
        if key not in self.made:
            tensor = self._swapped() if swap else self.value.name
            if dims != (0, 1, 2, 3):
                tensor = self.builder.add("Transpose", [tensor], "transposed", perm=dims)
            self.made[key] = tensor
        return self.made[key]

    def _swapped(self) -> str:
        order = self.builder.whole([2, 1, 0], "channels")
        inputs = [self.value.name, order]
        return self.builder.add("Gather", inputs, "swapped", axis=self.start.axis)

    def _cast(self, dims: tuple[int, ...], swap: bool, dtype: np.dtype[np.generic]) -> str:
        key = (dims, swap, dtype)
        if key not in self.made:
            kind = helper.np_dtype_to_tensor_dtype(dtype)
            pixels = self._pixels(dims, swap)
            self.made[key] = self.builder.add("Cast", [pixels], "float", to=kind)
        return self.made[key]

    def _subtract(self, data: str, means: np.ndarray) -> str:
        """Once for all convolutions that need the same; of one channel, or of each its own."""
        values = means[:1] if (means == means[0]).all() else means.reshape(1, -1, 1, 1)
        key = (data, means.tobytes())
        if key not in self.made:
            mean = self.builder.constant(values, "mean")
            self.made[key] = self.builder.add("Sub", [data, mean], "centred")
        return self.made[key]

    def _nodes_in_front(self, kind: int, obstacle: str) -> tuple[dict[str, str], str]:
        """Case 3."""
        builder, name = self.builder, self.value.name
        if name in self.index.outputs:
            raise ModelError(
                f"the input {name!r} is an output as well, which baking would change",
                expected="a model that gives something else than what it is given",
                hint="leave out --bake input",
            )
        tensor = self._swapped() if self.swap else name
        if kind != TensorProto.UINT8:
            floats = kind in (TensorProto.FLOAT, TensorProto.FLOAT16)
            tensor = builder.add("Cast", [tensor], "cast", to=TensorProto.FLOAT if floats else kind)
        shape = [1, -1, 1, 1] if self.start.axis == 1 else [1, 1, 1, -1]
        for op, values, idle in (("Mul", self.start.gain, 1.0), ("Add", self.start.offset, 0.0)):
            if (values != idle).any():
                constant = builder.constant(values.astype(np.float32).reshape(shape), op.lower())
                tensor = builder.add(op, [tensor, constant], "normalized")
        if kind == TensorProto.FLOAT16:
            tensor = builder.add("Cast", [tensor], "half", to=kind)
        _read_instead(self.model.graph, name, tensor)
        told = (
            f"baked the input, uint8 {self._colour()} now: its normalization became nodes in front of the "
            f"model, as {obstacle}"
        )
        return {name: tensor}, told


def _read_instead(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Lets every node that reads one tensor read another, in bodies too."""
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new
        for body in bodies(node):
            _read_instead(body, old, new)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """What shape inference knew of tensors that are gone goes too."""
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)
