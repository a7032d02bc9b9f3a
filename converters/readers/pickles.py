"""Reads a pickle as data: which objects it would import. Nothing is unpickled here.

A pickle is a program (docs.python.org/3/library/pickletools.html): its ``GLOBAL`` opcode imports any object, and
``REDUCE`` calls it. PyTorch's ``weights_only=True`` allows what tensors need and nothing else; the list here is
that list, so that what it would refuse is named before PyTorch is imported.
"""

from __future__ import annotations

import io
import pickletools
import re

__all__ = ["foreign_imports"]

#: torch/_weights_only_unpickler.py, `_get_allowed_globals`.
_ALLOWED = re.compile(
    r"collections\.(OrderedDict|Counter)"
    r"|torch\.(Size|Tensor|device|serialization\._get_layout|nn\.parameter\.Parameter)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.(\w+\.)*\w+(Storage|Tensor)"
    r"|torch\.(u?int\d+|b?float\d\w*|complex\d+|bool|half|q\w+|bits\w+|per_\w+)"
    r"|_codecs\.encode|(builtins|__builtin__)\.(bytearray|set|complex)"
)
#: A file of before PyTorch 1.6 is five pickles, then raw numbers: magic, version, system, object, names of storages.
_OLD_PICKLES = 5


def foreign_imports(data: bytes, *, old: bool = False) -> list[str]:
    """Names of what a pickle would import besides tensors and plain containers, sorted.

    Args:
        data: The pickle.
        old: Several pickles in a row, as `torch.save` wrote them before PyTorch 1.6.

    Raises:
        ValueError: It is cut short, or no pickle.
    """
    stream, found = io.BytesIO(data), set()
    for _ in range(_OLD_PICKLES if old else 1):
        found |= _imports(stream)
    return sorted(name for name in found if not _ALLOWED.fullmatch(name))


def _imports(stream: io.BytesIO) -> set[str]:
    found, texts = set(), ["?", "?"]
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            found.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            # Its names lie on the stack, perhaps by way of the memo: these are the likely ones. PyTorch refuses
            # the opcode whatever they are, and so it is not taken for one that is allowed.
            found.add(f"{texts[-2]}.{texts[-1]} (by STACK_GLOBAL)")
        elif opcode.name.startswith("EXT"):
            found.add(f"number {argument} of the extension registry")
        elif isinstance(argument, str):
            texts.append(argument)
    return found
