"""The file of ``--list``: models with their own options each, in TOML.

Keys are named like the options of ``edgevision convert``, without the dashes before them. Those above the first
``[[model]]`` hold for all models; a model's own come before them, and they before the command line's.
Paths are relative to the file's folder.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from edgevision.converters.orders import Job, job_for
from edgevision.errors import SpecError, UsageError
from edgevision.text import printable

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same module under its former name
    import tomli as tomllib

__all__ = ["read_list"]

#: Options of the whole call, and not of one model.
_OF_THE_CALL = {"output", "list", "json", "help", "debug"}
_MODEL, _NAME, _TABLES = "model", "name", "model"
_LARGEST = 4 * 2**20
#: Words that stand for no file, where a path may be given.
_NO_PATHS = ("synthetic", "none")


def read_list(
    path: Path, folder: Path, options: Sequence[click.Parameter], given: Mapping[str, Any]
) -> list[Job]:
    """The jobs of a list file.

    Args:
        path: The file.
        folder: Where the bundles go.
        options: The command's; they say which keys there are, and check the values.
        given: The command line's values, by the options' names in Python.

    Raises:
        SpecError: It cannot be read, or something in it is wrong; the entry and the key are named.
    """
    data = _parsed(path)
    entries = data.pop(_TABLES, [])
    if (
        not isinstance(entries, list)
        or not all(isinstance(e, dict) for e in entries)
        or not entries
    ):
        raise SpecError(
            f"{path} lists no models",
            expected="a table [[model]] with a key model for each of them",
            hint="docs/convert.md shows such a file",
        )
    known = {
        option.opts[-1].removeprefix("--"): option
        for option in options
        if isinstance(option, click.Option)
    }
    keys = {name: option for name, option in known.items() if name not in _OF_THE_CALL}
    common = _values(data, keys, path, f"{path}, above the first model")
    jobs = []
    for number, entry in enumerate(entries, 1):
        model, name, own = _named(entry, f"{path}, model {number}")
        values = _values(own, keys, path, f"{path}, model {number} ({printable(model)})")
        jobs.append(job_for(path.parent / model, folder, {**given, **common, **values}, name))
    return jobs


def _named(entry: Mapping[str, Any], where: str) -> tuple[str, str, dict[str, Any]]:
    """An entry's model, the name of its bundle, and its options."""
    own = dict(entry)
    model, name = own.pop(_MODEL, None), own.pop(_NAME, "")
    if not isinstance(model, str) or not model:
        raise SpecError(f"{where} has no key 'model'", expected='model = "FILE"')
    if (
        not isinstance(name, str)
        or "/" in name
        or name in (".", "..")
        or name != printable(name, 255)
    ):
        raise SpecError(
            f"{where} ({printable(model)}): its name cannot be a bundle's",
            received=printable(repr(name)),
            expected="a file name of letters that can be seen, without a folder",
        )
    return model, name, own


def _parsed(path: Path) -> dict[str, Any]:
    expected = "a TOML file with a table [[model]] for each model"
    try:
        with path.open("rb") as file:  # perhaps a pipe, which has no size
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise SpecError(f"{path} is too large", expected=f"at most {_LARGEST:,} bytes")
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        parsed: dict[str, Any] = tomllib.loads(text)
        return parsed
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is no text in UTF-8", expected=expected) from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}", expected=expected) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(f"{path} is no TOML: {error}", expected=expected) from error


def _values(
    table: Mapping[str, Any], keys: Mapping[str, click.Option], path: Path, where: str
) -> dict[str, Any]:
    """The options that a table gives, by their names in Python."""
    return {
        str(_option(key, keys, where).name): _value(value, _option(key, keys, where), path, where)
        for key, value in table.items()
    }


def _option(key: str, keys: Mapping[str, click.Option], where: str) -> click.Option:
    if key not in keys:
        near = difflib.get_close_matches(key.replace("_", "-"), keys, n=1)
        of_call = key in _OF_THE_CALL
        raise SpecError(
            f"{where}: {'the' if of_call else 'unknown'} key {printable(key, 60)!r}"
            + (" is for the whole call" if of_call else ""),
            expected=f"of: model, name, {', '.join(sorted(keys))}",
            hint=f"did you mean {near[0]!r}?" if near else "",
        )
    return keys[key]


def _value(value: Any, option: click.Option, path: Path, where: str) -> Any:
    """A value as the option takes it from the command line."""
    kind, key = option.type, option.opts[-1].removeprefix("--")
    if option.is_flag:
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(kind, click.types.IntParamType):
        fits, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(kind, click.types.FloatParamType):
        fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    else:
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            value = ",".join(value)
        fits, wanted = isinstance(value, str), 'text, in "quotes"'
    if not fits:
        raise SpecError(
            f"{where}: {key} has a value of the wrong kind",
            received=printable(repr(value), 80),
            expected=wanted,
        )
    if isinstance(kind, click.Path) or (key == "golden" and _is_path(value)):
        value = str(path.parent / value)
    context = click.Context(click.Command("convert"))
    try:
        return option.process_value(context, value)
    except click.BadParameter as error:
        raise SpecError(f"{where}: {key}: {error.message}") from error
    except UsageError as error:
        raise SpecError(f"{where}: {key}: {error}") from error


def _is_path(golden: str) -> bool:
    return golden not in _NO_PATHS and "://" not in golden
