"""What PyTorch's files may hold, checked as data before PyTorch sees them: no code, no foreign operators.

What runs code in them, by the loaders of PyTorch 2.13:

1. A pickle, in ``data.pkl`` of a state dict and in the weights, constants and example inputs of a ``.pt2``.
   PyTorch loads those of a ``.pt2`` with ``weights_only=False``, or falls back to it.
2. Compiled code in a ``.pt2``: ``data/aotinductor/`` is loaded as a library.
3. Names in the graph of a ``.pt2``, which are looked up in ``torch`` and called: ``torch.os.system`` is one.
4. Sizes in it, which sympy evaluates, and trees, whose JSON may name a module to import.
5. TorchScript has its own interpreter and runs no Python, but it knows operators that write files.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from edgevision.converters.readers.formats import members
from edgevision.converters.readers.pickles import foreign_imports
from edgevision.errors import ModelError
from edgevision.text import printable

__all__ = ["check_program", "check_state_dict", "check_torchscript"]

_LARGEST = 256 * 2**20  # bytes of a pickle or a description, unpacked; weights lie elsewhere
_SHOWN = 6

#: Case 3: operators of ATen and what torch.export itself writes. Others belong to an extension.
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|prim|torchvision|quantized_decomposed)\.[a-zA-Z]\w*(\.[a-zA-Z]\w*)?"
    r"|torch\.ops\.aten\._[a-z]\w*(\.[a-zA-Z]\w*)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_\w+)"
    r"|torch\.sym_\w+|torch\._sym_sqrt|math\.[a-z]\w*"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
#: Of these namespaces, what reads or writes files.
_FILES = re.compile(r"\b(from_file|save|load\w*|_save\w*)\b")
#: Case 4: a size is written as sympy's constructors, ``Mul(Integer(2), Symbol('s34', positive=True))``, and these
#: functions (torch/_export/serde/serialize.py, `sympy_functions`). No text in it but names of symbols and numbers.
_SIZE_FUNCTION = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Piecewise|\w+Than|\w*quality"
    r"|FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural"
    r"|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt"
    r"|RoundDecimal|ToFloat|Identity"
)
_SIZE_TEXT = re.compile(r"[suz]\w*\d|[-+.\de]+|true|false")
_SIZE_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Name, ast.Load, ast.Constant, ast.Call,
    ast.keyword, ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip
#: Case 4: in the JSON of a tree, what makes PyTorch import a module by name.
_IMPORTING = ("__enum__", "default_factory_module")

_SAVE_SAFELY = (
    "where the model is defined: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2'), or "
    "torch.save(model.state_dict(), 'weights.pt') and here --factory module:function"
)


def check_state_dict(path: Path) -> None:
    """Case 1 for a file of `torch.save`, which before PyTorch 1.6 was no archive.

    Raises:
        ModelError: Its pickle would import more than tensors need, or is damaged.
    """
    try:
        if not zipfile.is_zipfile(path):
            # The storages behind the pickles are not looked at, but they come in the same stream.
            foreign = foreign_imports(path.read_bytes(), old=True)
        else:
            with zipfile.ZipFile(path) as archive:
                foreign = foreign_imports(_read(archive, members(archive)["data.pkl"]))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    if foreign:
        _refuse_pickle(path, foreign)


def check_program(path: Path) -> None:
    """Cases 1 to 4 for a ``.pt2``.

    Raises:
        ModelError: It carries code, uses operators of an extension, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = members(archive)
            if len({name.lower() for name in names}) < len(archive.namelist()):
                raise ValueError("two files of one name")  # PyTorch might load the other one
            if any(name.startswith("serialized_") for name in names):
                raise ValueError("two formats in one")  # PyTorch falls back to the older one
            _refuse_compiled(path, names)
            for name in sorted(names):
                if (
                    name.startswith("data/sample_inputs/")
                    and archive.getinfo(names[name]).file_size
                ):
                    _check_inner(path, archive, names[name])
                elif name.startswith(("data/weights/", "data/constants/")) and name.endswith(
                    ".json"
                ):
                    _check_payload(path, archive, names, name)
                elif name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"):
                    _check_inner(path, archive, names[name])
                elif name.startswith("models/"):
                    _check_graph(path, json.loads(_read(archive, names[name])))
    except (ValueError, KeyError, RecursionError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def check_torchscript(path: Path) -> None:
    """Case 5.

    Raises:
        ModelError: Its code reads or writes files, or it is damaged.
    """
    call = re.compile(r"\b(?:torch|ops\.\w+)\.(\w+)\(")
    try:
        with zipfile.ZipFile(path) as archive:
            for name, whole in members(archive).items():
                if name.startswith("code/") and name.endswith(".py"):
                    for called in call.findall(_read(archive, whole).decode(errors="replace")):
                        if _FILES.fullmatch(called):
                            _refuse(
                                path,
                                f"TorchScript that calls {called}",
                                "operators on tensors only",
                            )
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _refuse_compiled(path: Path, names: dict[str, str]) -> None:
    """Case 2."""
    compiled = [
        n for n in names if n.startswith("data/aotinductor") or n.endswith((".so", ".pyd", ".dll"))
    ]
    if compiled:
        _refuse(
            path,
            f"compiled code: {printable(compiled[0])}",
            "a program of torch.export, without AOTInductor",
        )


def _check_inner(path: Path, archive: zipfile.ZipFile, whole: str) -> None:
    """Case 1 for what `torch.save` wrote into a member of the archive."""
    inner = io.BytesIO(_read(archive, whole))
    with zipfile.ZipFile(inner) as saved:
        foreign = foreign_imports(_read(saved, members(saved)["data.pkl"]))
    if foreign:
        _refuse_pickle(path, foreign)


def _check_payload(path: Path, archive: zipfile.ZipFile, names: dict[str, str], name: str) -> None:
    """Case 1 for weights and constants: plain bytes, or a pickle that the table beside them announces."""
    folder = name.rpartition("/")[0]
    for entry in json.loads(_read(archive, names[name]))["config"].values():
        file = str(entry["path_name"])
        if not file.startswith(("weight_", "tensor_")):
            _refuse(path, f"an object of a class of its own: {printable(file)}", "tensors only")
        if entry.get("use_pickle"):
            _check_inner(path, archive, names[f"{folder}/{file}"])


def _check_graph(path: Path, program: Any) -> None:
    """Cases 3 and 4."""
    for key, value in _strings(program):
        if key == "target" and not _known_operator(value):
            _refuse_operator(path, value)
        if key == "expr_str" and not _is_size(value):
            _refuse(
                path,
                f"a size that is no formula: {printable(value, 80)!r}",
                "numbers, symbols and their sums",
            )
        if any(word in value for word in _IMPORTING):
            _refuse(
                path,
                "inputs or outputs in containers of a class of its own",
                "tuples, lists and dicts",
            )


def _known_operator(target: str) -> bool:
    return _OPERATOR.fullmatch(target) is not None and not _FILES.search(target)


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a JSON document, each with the key it stands under."""
    stack = [(key, value)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, item) for item in value]


def _is_size(text: str) -> bool:
    """Whether a formula holds numbers, symbols and the functions of sizes, and nothing else."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except SyntaxError:
        return False
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    return (
        all(isinstance(node, _SIZE_NODES) for node in nodes)
        and all(isinstance(node, ast.Name) and _SIZE_FUNCTION.fullmatch(node.id) for node in called)
        and all(isinstance(c, int | float) or _SIZE_TEXT.fullmatch(str(c)) for c in constants)
        and all(
            _SIZE_TEXT.fullmatch(node.id) or node in called
            for node in nodes
            if isinstance(node, ast.Name)
        )
    )


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _LARGEST:
        raise ValueError(f"{name} of {size} bytes")
    return archive.read(name)


def _refuse_pickle(path: Path, foreign: list[str]) -> NoReturn:
    foreign = sorted(foreign, key=lambda name: name.startswith("torch."))  # what says most first
    shown = ", ".join(printable(name, 80) for name in foreign[:_SHOWN])
    more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
    ours = any(name.startswith("ultralytics.") for name in foreign)
    raise ModelError(
        f"{path} is not loaded: it is a pickle that runs code",
        received=f"it imports {shown}{more}",
        expected="tensors only, which PyTorch loads with weights_only=True",
        hint="yolo export model=… format=onnx" if ours else _SAVE_SAFELY,
    )


def _refuse_operator(path: Path, target: str) -> NoReturn:
    own = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(\.\w+)?", target)
    if own is None or _FILES.search(target) or own[1] in ("aten", "higher_order"):
        _refuse(path, f"a graph that calls {printable(target)}", "operators of ATen")
    raise ModelError(
        f"{path} uses an operator that only its own extension knows",
        received=printable(f"{own[1]}::{own[2]}"),
        expected="operators of ATen or torchvision",
        hint="write it with PyTorch's own operators, or export to ONNX yourself: "
        "torch.onnx.export(…, custom_translation_table={…})",
    )


def _refuse(path: Path, received: str, expected: str) -> NoReturn:
    raise ModelError(
        f"{path} is not loaded: it could run code",
        received=received,
        expected=expected,
        hint=_SAVE_SAFELY,
    )


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} is truncated or damaged",
        received=printable(f"{type(error).__name__}: {error}"),
        expected="a whole file",
        hint="save or download it again, and compare the size with the source",
    )
