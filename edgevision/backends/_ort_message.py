"""What onnxruntime's errors say, without what only its developers can use."""

from __future__ import annotations

import re

__all__ = ["plain_message"]

_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_SOURCE = r"\.(?:cc|cpp|cu|cuh|h|hpp):\d+ "
_PLACES = (
    # A path, the signature of a function and the condition that did not hold.
    re.compile(
        r"(?:\b[A-Za-z]:)?[/\\]\S+" + _SOURCE + r"[^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?"
        r"(?: \[with [^\]]*\])? (?:[^.]*? was false\. ?)?"
    ),
    re.compile(r"\b\w+" + _SOURCE + r"\w+ "),  # a file's name and a function's
)


def plain_message(exc: BaseException) -> str:
    """What onnxruntime says is wrong, in one line, without error codes and places in its source."""
    text = _CODE.sub("", " ".join(str(exc).split()))
    for place in _PLACES:
        text = place.sub("", text)
    return text.strip()[:300] or type(exc).__name__
