"""What the verb ``inspect`` shows of a bundle or an ONNX file; nothing is loaded into an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgevision.backends import Variant
from edgevision.bundle import Bundle, open_bundle
from edgevision.choice import candidates
from edgevision.errors import SpecError
from edgevision.metadata import spec_from_metadata
from edgevision.onnx_header import OnnxHeader, read_header
from edgevision.text import printable, size_text

__all__ = ["inspect_path", "inspection_text"]

_TOP_OPS = 12


def inspect_path(path: Path) -> dict[str, Any]:
    """Facts about a bundle (``kind``, ``name``, ``identity``, ``variants`` …) or an ONNX file, JSON-ready."""
    if path.is_dir():
        return _bundle_facts(open_bundle(path))
    header = read_header(path)
    return {
        "kind": "model",
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "graph": _graph(header),
        **_own_spec(header),
    }


def inspection_text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    lines = _bundle_lines(facts) if facts["kind"] == "bundle" else _model_lines(facts)
    return "\n".join(printable(line, 400) for line in lines)


def _bundle_facts(bundle: Bundle) -> dict[str, Any]:
    first = next(iter(bundle.variants.values()))
    choice = candidates(bundle)[0]
    return {
        "kind": "bundle",
        "path": str(bundle.path),
        "name": bundle.name,
        "identity": bundle.identity,
        "task": first.spec.task,
        "labels": list(first.spec.labels),
        "variants": {v.id: _variant_facts(v) for v in bundle.variants.values()},
        "chosen_here": {"variant": choice.variant.id, "reason": choice.reason},
        "golden_frames": len(bundle.manifest.get("golden", {}).get("frames", [])),
        "provenance": bundle.manifest.get("provenance", {}),
    }


def _variant_facts(variant: Variant) -> dict[str, Any]:
    return {
        "precision": variant.precision,
        "file": variant.file.name,
        "size_bytes": variant.size_bytes,
        "opset": variant.opset,
        "targets": list(variant.targets),
        "verified": [dict(line) for line in variant.verified],
        "input_spec": variant.spec.input.to_dict(),
        "output_spec": variant.spec.output.to_dict(),
        "graph": _graph(read_header(variant.file)),
    }


def _graph(header: OnnxHeader) -> dict[str, Any]:
    return {
        "producer": header.producer,
        "opsets": {domain or "ai.onnx": version for domain, version in header.opsets.items()},
        "inputs": [_tensor(t) for t in header.inputs],
        "outputs": [_tensor(t) for t in header.outputs],
        "ops": dict(header.ops.most_common()),
        "weights": {
            dtype: {"tensors": n, "bytes": size} for dtype, (n, size) in header.weights.items()
        },
        "metadata": sorted(header.metadata),
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _own_spec(header: OnnxHeader) -> dict[str, Any]:
    try:
        found = spec_from_metadata(header.metadata, header.inputs)
    except SpecError as error:
        return {"spec": None, "spec_problem": error.problem}
    return {"spec": found[2].to_dict() if found else None}


def _bundle_lines(facts: dict[str, Any]) -> list[str]:
    labels = facts["labels"]
    shown = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")
    lines = [
        f"bundle {facts['name']}  {facts['task']}, {len(labels)} classes ({shown})",
        f"identity {facts['identity']}",
        f"here runs {facts['chosen_here']['variant']}: {facts['chosen_here']['reason']}",
        f"{facts['golden_frames']} golden frames",
    ]
    for variant_id, variant in facts["variants"].items():
        proven = "; ".join(
            f"{v.get('metric')} {v.get('value')} on {v.get('backend')}: {v.get('verdict')}"
            for v in variant["verified"]
        )
        size, targets = size_text(variant["size_bytes"]), ", ".join(variant["targets"])
        lines += [
            "",
            f"{variant_id}  {size}, opset {variant['opset']}, for {targets or 'anything'}",
        ]
        lines += [f"  proof    {proven}"] if proven else []
        lines += _graph_lines(variant["graph"])
        lines += [_input_line(variant["input_spec"]), _output_line(variant["output_spec"])]
    return lines


def _model_lines(facts: dict[str, Any]) -> list[str]:
    graph = facts["graph"]
    opsets = ", ".join(f"{domain} {version}" for domain, version in graph["opsets"].items())
    lines = [
        f"{facts['path']}  {size_text(facts['size_bytes'])}, {graph['producer'] or 'unknown producer'}, opset {opsets}"
    ]
    lines += _graph_lines(graph)
    spec = facts["spec"]
    if spec:
        lines += [
            _input_line(spec["input"]),
            _output_line(spec["output"]),
            f"  task     {spec['task']}, {len(spec['labels'])} classes",
        ]
    else:
        lines.append(
            f"  spec     none: {facts.get('spec_problem', 'convert it with --preset NAME to make it runnable')}"
        )
    return lines


def _graph_lines(graph: dict[str, Any]) -> list[str]:
    ops = list(graph["ops"].items())
    more = f", and {len(ops) - _TOP_OPS} kinds more" if len(ops) > _TOP_OPS else ""
    weights = ", ".join(f"{size_text(w['bytes'])} {dtype}" for dtype, w in graph["weights"].items())
    lines = [f"  input    {_tensor_text(t)}" for t in graph["inputs"]]
    lines += [f"  output   {_tensor_text(t)}" for t in graph["outputs"]]
    lines.append("  ops      " + ", ".join(f"{op} {count}" for op, count in ops[:_TOP_OPS]) + more)
    lines.append(f"  weights  {weights or 'none'}")
    return lines


def _tensor_text(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']}  {tensor['dtype']} {'×'.join(map(str, tensor['shape']))}"


def _input_line(spec: dict[str, Any]) -> str:
    size = (
        "×".join(map(str, spec["size"]))
        if spec["size"]
        else f"any multiple of {spec['multiple_of']}"
    )
    mean, std = (", ".join(f"{v:g}" for v in spec[key]) for key in ("mean", "std"))
    return (
        f"  picture  {spec['resize']} to {size} ({spec['interpolation']}), {spec['colour']}, "
        f"(x · {spec['scale']:.6g} − [{mean}]) / [{std}], {spec['layout']} {spec['dtype']}"
    ) + _baked_text(spec)


def _output_line(spec: dict[str, Any]) -> str:
    params = ", ".join(f"{key}={value}" for key, value in spec["params"].items())
    return f"  decoder  {spec['decoder']}({params}){_baked_text(spec)}"


def _baked_text(spec: dict[str, Any]) -> str:
    baked = spec.get("baked")
    return f"; in the graph: {', '.join(baked)}" if baked else ""
