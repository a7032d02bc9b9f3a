"""Reads the config of a Keras model as data, before Keras does: is everything in it Keras' own, and no code?

Keras builds a model by looking up classes and functions by the names in its config and calling them. What
carries code there: Lambda layers (marshalled Python), wrappers around other frameworks (pickles, SavedModels),
and any name outside Keras. Keras' ``safe_mode`` stops some of it; this list is of what may stand there instead.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgevision.errors import ModelError
from edgevision.text import printable

__all__ = ["check_config", "config_of_archive", "parse_config"]

_LARGEST = 64 * 2**20
#: Modules of Keras whose classes only compute: public names, and those of models and operations.
_MODULES = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|quantizers|dtype_policies|activations|ops|random))?"
    r"|keras\.src\.(models\.(functional|sequential|model)|ops\.(numpy|nn|core|image|math|linalg|operation|symbolic_arguments))"
    r"|keras\.src\.layers\.(\w+\.)*\w+"
)
#: Layers of Keras that run what their config or another file says.
_CODE = {
    "Lambda": "Python code in its config",
    "TFSMLayer": "it loads a SavedModel, which runs code",
    "TorchModuleWrapper": "a pickled PyTorch module",
    "JaxLayer": "pickled functions",
    "FlaxLayer": "pickled functions",
    "StringLookup": "it reads the file that its config names",
    "IntegerLookup": "it reads the file that its config names",
    "TextVectorization": "it reads the file that its config names",
}
#: Functions that a config may name: they stand where an activation or the like is given as a function.
_FUNCTIONS = re.compile(
    r"keras(\.src)?\.(activations|initializers|regularizers|constraints|ops)(\.\w+)*"
)
_OWN = re.compile(r"[A-Za-z_]\w*")

_WAY_OUT = "export it where the class is defined: model.export('model.onnx', format='onnx'), and convert that"


def config_of_archive(path: Path) -> dict[str, Any]:
    """The config in a ``.keras`` file.

    Raises:
        ModelError: It is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo("config.json").file_size
            if size > _LARGEST:
                raise ValueError(f"a config of {size} bytes")
            return parse_config(path, archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise _damaged(path, error) from error


def parse_config(path: Path, text: str | bytes) -> dict[str, Any]:
    """A config from its JSON.

    Raises:
        ModelError: It is no JSON, or no model.
    """
    try:
        config = json.loads(text)
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
            raise ValueError("there is no model in it")
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    return config


def check_config(path: Path, config: dict[str, Any]) -> None:
    """Refuses what is not Keras' own.

    Args:
        path: For messages.
        config: As `parse_config` gives it. How it was compiled for training does not count: it is not loaded.

    Raises:
        ModelError: A layer or function carries code, or is not Keras' own; it is named.
    """
    for entry in _objects({k: v for k, v in config.items() if k != "compile_config"}):
        kind = str(entry["class_name"])
        if kind in _CODE or kind == "__lambda__":
            raise _refused(path, f"{_called(entry)}: {_CODE.get(kind, 'marshalled Python code')}")
        own = _is_own_function(entry) if kind == "function" else _is_own_class(entry, kind)
        if not own:
            raise _custom(path, entry)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a config that names a class, from the outside in."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def _is_own_function(entry: dict[str, Any]) -> bool:
    return _FUNCTIONS.fullmatch(str(entry.get("module"))) is not None


def _is_own_class(entry: dict[str, Any], kind: str) -> bool:
    """Whether it is Keras': by its module, or in files of Keras 2, which have none, by a plain name."""
    if re.fullmatch(r"__(keras_tensor|tensor|numpy|bytes|ellipsis|slice)__", kind):
        return True
    registered = entry.get("registered_name")
    if registered is not None and registered != kind:
        return False
    if "module" not in entry:
        return _OWN.fullmatch(kind) is not None
    module = entry["module"]
    return isinstance(module, str) and _MODULES.fullmatch(module) is not None


def _called(entry: dict[str, Any]) -> str:
    """``Lambda 'lambda_1'``."""
    config = entry.get("config")
    name = (
        config.get("name")
        if isinstance(config, dict)
        else config
        if isinstance(config, str)
        else None
    )
    kind = entry.get("registered_name") or entry["class_name"]
    return printable(f"{kind} {name!r}" if name else str(kind), 80)


def _refused(path: Path, received: str) -> ModelError:
    return ModelError(
        f"{path} is not loaded: it carries code",
        received=received,
        expected="layers of Keras, without Lambda",
        hint="put layers or keras.ops in the Lambda's place and save it again, or " + _WAY_OUT,
    )


def _custom(path: Path, entry: dict[str, Any]) -> ModelError:
    return ModelError(
        f"{path} needs a class or function that is not Keras' own",
        received=f"{_called(entry)} of module {printable(str(entry.get('module')), 60)}",
        expected="layers, activations and operations of Keras",
        hint=_WAY_OUT,
    )


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} is truncated or damaged",
        received=printable(f"{type(error).__name__}: {error}"),
        expected="a whole model, as model.save writes it",
        hint="save or download it again",
    )
