"""A network as layers: nodes that an engine can run in one pass over memory, with what each computes and moves.

What is assumed, each of it in favour of the engine, so that a floor stays one:

1. An operator on single elements (activation, addition, batch normalization, quantization) is done in the pass
   that makes the latest of its inputs. What is only between the two never reaches memory.
2. Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout and Pad move nothing; Concat, Split and Slice
   neither: who comes before or after writes or reads the right place.
3. DequantizeLinear costs nothing and leaves its integers as they are: who reads it reads integers.
4. Weights are read once, and every other tensor once by each layer that takes it; gathering reads what it takes.
5. What is fed and handed out keeps the type that the graph gives it, in every precision: it is the interface.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgevision.benchmarks.estimate.flops import POINTWISE, is_matrix, work_of
from edgevision.benchmarks.estimate.network import BITS, Network, Node, Tensor

__all__ = ["AS_WRITTEN", "Layer", "Layers", "layers_of"]

#: In place of a precision: every tensor in the type that the graph gives it.
AS_WRITTEN = "as-written"

_WIDTHS = {"fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "int8": 8, "fp8": 8}
_FLOATS = {"float32", "float64", "float16", "bfloat16"}
_COMPUTED_IN = {"float32": "fp32", "float64": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_SMALL_INTEGERS = {"int8", "uint8"}
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Pad"}
_PLACED = {"Concat", "Split", "Slice"}
_GATHERS = {"Gather", "GatherElements", "GatherND"}
_INTEGER_PRODUCTS = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}


@dataclass(frozen=True, slots=True)
class Layer:
    """One pass: a node and those that are done along with it.

    Attributes:
        name: Of its first node.
        op: Its type.
        fused: Types of the others, in order.
        shape: What comes out of its first node; None if that is not known.
        macs: Multiply-adds.
        flops: ``(precision, kind of work)`` → operations, multiply-adds twice; kinds as in `flops.Work`.
        weight_bytes: Constants that it reads.
        read_bytes: What it reads of what others made.
        write_bytes: What it leaves for others.
        unknown: Types of its operators of which the work, or a size, is not known: not counted.
    """

    name: str
    op: str
    fused: tuple[str, ...]
    shape: tuple[int, ...] | None
    macs: int
    flops: Mapping[tuple[str, str], int]
    weight_bytes: int
    read_bytes: int
    write_bytes: int
    unknown: tuple[str, ...] = ()

    @property
    def total_flops(self) -> int:
        return sum(self.flops.values())

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.read_bytes + self.write_bytes

    @property
    def intensity(self) -> float | None:
        """Operations for each byte moved; None if none is."""
        return self.total_flops / self.bytes if self.bytes else None


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers in one precision, and what of their tensors lies in memory when.

    Attributes:
        precision: What was asked for.
        layers: In order.
        parameters: Elements of all constants that are read, but those that are shapes.
        weight_bytes: Of all constants that are read, each once.
        input_bytes: Of what is fed.
        output_bytes: Of what is handed out.
        lives: ``(first, last, bytes)`` of every other tensor that reaches memory, and of inputs and
            outputs: from the step that writes it to the last that reads it, both included.
    """

    precision: str
    layers: tuple[Layer, ...]
    parameters: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    lives: tuple[tuple[int, int, int], ...]

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        return sum(layer.total_flops for layer in self.layers)

    @property
    def precisions(self) -> tuple[str, ...]:
        """In which multiply-adds are done, the widest first; where there are none: all work."""
        found = {p for layer in self.layers if layer.macs for p, _ in layer.flops}
        found = found or {p for layer in self.layers for p, _ in layer.flops}
        return tuple(p for p in _WIDTHS if p in found)

    @property
    def main_precision(self) -> str | None:
        """In which most is computed; None if nothing is."""
        done: dict[str, int] = defaultdict(int)
        for layer in self.layers:
            for (precision, _), flops in layer.flops.items():
                done[precision] += flops
        return max(done, key=lambda p: done[p], default=None)

    @property
    def unknown(self) -> dict[str, int]:
        """Operators whose work or sizes are not known → how many."""
        count: dict[str, int] = defaultdict(int)
        for layer in self.layers:
            for op in layer.unknown:
                count[op] += 1
        return dict(count)


def layers_of(network: Network, precision: str = AS_WRITTEN) -> Layers:
    """Groups a network's nodes into layers.

    Args:
        network: What `cost.read_network` gives.
        precision: `AS_WRITTEN`, or one in which everything is taken to be computed and stored, whatever
            the graph says: ``fp32``, ``tf32``, ``fp16``, ``bf16``, ``int8``, ``fp8``.
    """
    return _Grouping(network, precision).layers()


@dataclass(slots=True)
class _Group:
    """Nodes of one pass.

    Attributes:
        root: Place of its first node; groups run in this order, for none takes what a later one makes.
        open: Whether operators on single elements may join.
    """

    root: int
    open: bool
    nodes: list[Node] = field(default_factory=list)


class _Grouping:
    def __init__(self, network: Network, precision: str) -> None:
        self.network, self.precision = network, precision
        self.uniform = None if precision == AS_WRITTEN else _WIDTHS[precision]
        self.quantized = {node.outputs[0] for node in network.nodes if node.op == "QuantizeLinear"}
        self.quantized |= {node.inputs[0] for node in network.nodes if node.op in _DEQUANTIZE}
        self.stored: dict[str, str] = {}
        self.made_by: dict[str, _Group] = {}
        self.taken_by: dict[str, set[int]] = defaultdict(set)
        self.groups: list[_Group] = []
        for place, node in enumerate(network.nodes):
            if self._is_view(node):
                self.stored[node.outputs[0]] = self._storage(node.inputs[0])
            else:
                self._place(place, node)
        self.handed_out = {self._storage(name) for name in network.outputs}

    def layers(self) -> Layers:
        weights = {n for node in self.network.nodes for n in node.inputs}
        weights = {s for n in weights if self._constant(s := self._storage(n))}
        weights &= {s for g in self.groups for n in g.nodes for s in self._read(n)}
        layers = [self._layer(group) for group in self.groups]
        return Layers(
            precision=self.precision,
            layers=tuple(la for la in layers if la.bytes or la.total_flops or la.unknown),
            parameters=sum(map(self._parameters, weights)),
            weight_bytes=sum(map(self._bytes, weights)),
            input_bytes=sum(map(self._bytes, self.network.inputs)),
            output_bytes=sum(map(self._bytes, self.handed_out)),
            lives=tuple(self._lives()),
        )

    def _is_view(self, node: Node) -> bool:
        """Whether its output is its input, in the same place."""
        if (
            node.op == "QuantizeLinear"
        ):  # where all is taken to be of one type, nothing is converted
            return self.uniform is not None
        return node.op in _VIEWS or node.op in _DEQUANTIZE

    def _place(self, place: int, node: Node) -> None:
        read = self._read(node)
        before = [self.made_by[name] for name in read if name in self.made_by]
        latest = max(before, key=lambda group: group.root, default=None)
        if node.op in POINTWISE and latest is not None and latest.open:
            group = latest
        else:
            group = _Group(place, node.op not in _PLACED)
            self.groups.append(group)
        group.nodes.append(node)
        for name in node.outputs:
            self.made_by[name] = group
        for name in read:
            self.taken_by[name].add(group.root)

    def _layer(self, group: _Group) -> Layer:
        first = group.nodes[0]
        flops: dict[tuple[str, str], int] = defaultdict(int)
        macs, unknown = 0, []
        for node in group.nodes:
            work = work_of(node, self.network)
            if work is None or not self._sized(node):
                unknown.append(node.op)
            if work is not None and work.flops:
                flops[self._computed_in(node), work.kind] += work.flops
                macs += work.macs
        weights, read, written = (0, 0, 0) if first.op in _PLACED else self._traffic(group)
        return Layer(
            name=first.name,
            op=first.op,
            fused=tuple(node.op for node in group.nodes[1:]),
            shape=self.network.shape(first.outputs[0]) if first.outputs else None,
            macs=macs,
            flops=dict(flops),
            weight_bytes=weights,
            read_bytes=read,
            write_bytes=written,
            unknown=tuple(unknown),
        )

    def _traffic(self, group: _Group) -> tuple[int, int, int]:
        """Bytes of constants and of others' tensors read, and of what is written for others."""
        made = {name for node in group.nodes for name in node.outputs if name}
        sizes: dict[str, int] = {}
        for node in group.nodes:
            for name in self._read(node):
                size = self._bytes(name)
                if node.op in _GATHERS and name == self._storage(node.inputs[0]):
                    size = min(size, self._bytes(node.outputs[0]))
                sizes[name] = max(size, sizes.get(name, 0))
        weights = sum(size for name, size in sizes.items() if self._constant(name))
        outside = {n: s for n, s in sizes.items() if n not in made and not self._constant(n)}
        return weights, sum(outside.values()), sum(map(self._bytes, self._left(group)))

    def _left(self, group: _Group) -> list[str]:
        """What a group makes and others take, or is handed out."""
        made = [name for node in group.nodes for name in node.outputs if name]
        return [n for n in made if n in self.handed_out or self.taken_by[n] - {group.root}]

    def _lives(self) -> list[tuple[int, int, int]]:
        steps = {group.root: step for step, group in enumerate(self.groups)}
        last = max(len(self.groups) - 1, 0)
        born = [(name, steps[g.root]) for g in self.groups for name in self._left(g)]
        lives = []
        for name, first in [*((name, 0) for name in self.network.inputs), *born]:
            taken = [steps[root] for root in self.taken_by[name]]
            end = last if name in self.handed_out else max(taken, default=first)
            lives.append((first, end, self._bytes(name)))
        return lives

    def _read(self, node: Node) -> list[str]:
        return list(dict.fromkeys(self._storage(name) for name in node.inputs if name))

    def _storage(self, name: str) -> str:
        return self.stored.get(name, name)

    def _tensor(self, name: str) -> Tensor | None:
        return self.network.tensors.get(name)

    def _constant(self, name: str) -> bool:
        tensor = self._tensor(name)
        return tensor is not None and tensor.constant

    def _sized(self, node: Node) -> bool:
        names = [*self._read(node), *(name for name in node.outputs if name)]
        tensors = [self._tensor(name) for name in names]
        return all(t is not None and t.elements is not None for t in tensors)

    def _bytes(self, name: str) -> int:
        tensor = self._tensor(name)
        if tensor is None or tensor.elements is None:
            return 0
        bits = BITS.get(tensor.dtype, 0)
        inside = name not in self.network.inputs and name not in self.handed_out
        if (
            self.uniform is not None
            and inside
            and (tensor.dtype in _FLOATS or name in self.quantized)
        ):
            bits = self.uniform
        return (tensor.elements * bits + 7) // 8

    def _parameters(self, name: str) -> int:
        tensor = self._tensor(name)
        return (tensor.elements or 0) if tensor is not None and tensor.dtype != "int64" else 0

    def _computed_in(self, node: Node) -> str:
        if self.uniform is not None:
            return self.precision
        if node.op in _INTEGER_PRODUCTS:
            return "int8"
        operands = [
            self._tensor(self._storage(n)) for n in node.inputs[: 2 if is_matrix(node) else 1]
        ]
        types = {tensor.dtype for tensor in operands if tensor is not None}
        if types <= _SMALL_INTEGERS:
            return "int8"
        # Of two types the float one counts: weights in int8 alone are unpacked before the product.
        return next((_COMPUTED_IN[t] for t in _COMPUTED_IN if t in types), "fp32")


_DEQUANTIZE = {"DequantizeLinear"}
