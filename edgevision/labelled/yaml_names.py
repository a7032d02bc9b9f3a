"""Class names from a YOLO ``data.yaml``: a small reader of its ``names:`` only, which builds nothing else.

Read are the forms that exporters write: a list or a table from number to name, in block style

    names:            names:
      - cat             0: cat
      - dog             1: "dog"

or in flow style, ``names: [cat, 'dog']`` and ``names: {0: cat, 1: dog}``, over several lines too. Names are
text as written, so ``no`` is the name "no". Anchors, tags and multi-line scalars are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edgevision.errors import DataError
from edgevision.text import printable

__all__ = ["read_names"]

_MOST_NAMES = 100_000
_KEY = re.compile(r"""(["']?)names\1[ \t]*:""")
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\""""
#: In flow style: a quoted text, a mark, or plain text up to the next mark. A colon in plain text is part of it.
_FLOW_TOKEN = re.compile(rf"\s*({_QUOTED}|[\[\]{{}},]|:(?=[\s,\]}}]|$)|(?:[^\[\]{{}},:]|:(?!\s))+)")
_BLOCK_LINE = re.compile(rf"(?:-(?:\s+|$)|(?P<key>{_QUOTED}|[^\s:'\"]+)\s*:(?:\s+|$))(?P<text>.*)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "/": "/", "0": "\0"}


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def read_names(text: str, where: str) -> tuple[str, ...] | None:
    """The names, by class number; None if the file has no ``names:``.

    Args:
        text: The whole file.
        where: Its name, for messages.

    Raises:
        DataError: The names cannot be read, or the numbers are not 0, 1, 2 …; with the line's number.
    """
    lines = list(_lines(text))
    start = next((i for i, line in enumerate(lines) if _key_end(line)), None)
    if start is None:
        return None
    first = lines[start]
    rest = first.text[_key_end(first) :].strip()
    at = f"{where}, line {first.number}"
    if rest[:1] in ("[", "{"):
        flow = "\n".join([rest, *(line.text for line in lines[start + 1 :])])
        return _numbered(_flow(flow, at), at)
    if rest:
        raise _wrong(at, rest)
    return _numbered(_block(lines[start + 1 :], where), at)


def _lines(text: str) -> Iterator[_Line]:
    """Lines that say something, without comments."""
    for number, raw in enumerate(text.splitlines(), 1):
        clean = _without_comment(raw).rstrip()
        if clean.strip() and clean not in ("---", "..."):
            yield _Line(number, len(clean) - len(clean.lstrip(" ")), clean.strip())


def _without_comment(line: str) -> str:
    """The line up to a ``#`` that stands at its start or after a space, outside of quotes."""
    quote, i = "", 0
    while i < len(line):
        character, before = line[i], line[i - 1] if i else " "
        if quote:
            i += character == "\\" and quote == '"'  # what is escaped ends nothing
            quote = "" if character == quote else quote
        elif character in "'\"" and before in " \t[{,":  # inside a word it is an apostrophe
            quote = character
        elif character == "#" and before in " \t":
            return line[:i]
        i += 1
    return line


def _key_end(line: _Line) -> int:
    """Where the value of ``names:`` begins in its line; 0 if the line is another."""
    match = _KEY.match(line.text) if line.indent == 0 else None
    return match.end() if match else 0


def _block(lines: list[_Line], where: str) -> list[tuple[str | None, str]]:
    found: list[tuple[str | None, str]] = []
    indent = lines[0].indent if lines else 0
    for line in lines:
        item = line.text == "-" or line.text.startswith("- ")
        if line.indent < indent or (line.indent == 0 and not item):
            break
        match = _BLOCK_LINE.fullmatch(line.text)
        if match is None or line.indent != indent:
            raise _wrong(f"{where}, line {line.number}", line.text)
        key = match["key"]
        at = f"{where}, line {line.number}"
        found.append((None if key is None else _scalar(key, at), _scalar(match["text"], at)))
    return found


def _flow(text: str, at: str) -> list[tuple[str | None, str]]:
    tokens = _tokens(text, at)
    table = next(tokens) == "{"
    close = "}" if table else "]"
    found: list[tuple[str | None, str]] = []
    entry: list[str] = []
    for token in tokens:
        if token not in (",", close):
            entry.append(token)
            continue
        if entry or token == ",":
            found.append(_flow_entry(entry, table, at))
            entry = []
        if token == close:
            return found
    raise _wrong(at, f"no {close!r} to the end of the file")


def _flow_entry(entry: list[str], table: bool, at: str) -> tuple[str | None, str]:
    if table and len(entry) == 3 and entry[1] == ":":
        return _scalar(entry[0], at), _scalar(entry[2], at)
    if not table and len(entry) == 1:
        return None, _scalar(entry[0], at)
    raise _wrong(at, " ".join(entry) or "an empty place between two commas")


def _tokens(text: str, at: str) -> Iterator[str]:
    position, end = 0, len(text)
    while position < end:
        match = _FLOW_TOKEN.match(text, position)
        if match is None:
            if text[position:].strip():
                raise _wrong(at, text[position:].strip())
            return
        position = match.end()
        if match[1].strip():
            yield match[1].strip()


def _scalar(text: str, at: str) -> str:
    """The text that a scalar stands for."""
    text = text.strip()
    if not re.fullmatch(_QUOTED, text):
        if not text or text[0] in "&*!|>%@`[]{},'\"":
            raise _wrong(at, text or "a name without text")
        return " ".join(text.split())
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", lambda escape: _unescaped(escape[1], at), text[1:-1])


def _unescaped(character: str, at: str) -> str:
    if character not in _ESCAPES:
        raise _wrong(at, f"the escape \\{character}")
    return _ESCAPES[character]


def _numbered(entries: list[tuple[str | None, str]], at: str) -> tuple[str, ...]:
    if not entries or len(entries) > _MOST_NAMES:
        raise _wrong(at, f"{len(entries)} names")
    if len({key is None for key, _ in entries}) > 1:
        raise _wrong(at, "a list and a table in one")
    if entries[0][0] is None:
        return tuple(name for _, name in entries)
    numbers = [str(key) for key, _ in entries]
    by_number = {
        int(n): name for n, name in zip(numbers, _texts(entries), strict=True) if _count(n)
    }
    if sorted(by_number) != list(range(len(entries))):
        raise _wrong(at, "the numbers " + ", ".join(numbers[:20]))
    return tuple(by_number[i] for i in range(len(entries)))


def _texts(entries: list[tuple[str | None, str]]) -> list[str]:
    return [name for _, name in entries]


def _count(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,6}", text) is not None


def _wrong(at: str, received: str) -> DataError:
    return DataError(
        f"{at}: the class names cannot be read",
        received=printable(received, 100),
        expected="names: [cat, dog], or a line for each: '- cat' or '0: cat', numbered from 0",
        hint="write them so, or put them in a classes.txt beside it, one a line",
    )
