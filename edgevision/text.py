"""Text for people: foreign names made safe to show, no credentials, numbers as one reads them."""

from __future__ import annotations

import math
import re
import unicodedata

__all__ = ["counted", "markdown", "printable", "redacted", "score_text", "size_text"]

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+(?=@)")
_SECRET_ARGUMENT = re.compile(
    r"((?:^|[?&])(?:password|passwd|pwd|token|key|secret|auth)=)[^&\s]+", re.IGNORECASE
)


def printable(text: str, limit: int = 200) -> str:
    """One line without control or formatting characters (each becomes ``�``), shortened to ``limit``."""
    clean = "".join(
        "�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def markdown(text: str, limit: int = 200) -> str:
    """`printable`, and nothing in it is read as HTML, a table's border or emphasis."""
    import html  # with its table of entities it would be a tenth of the start of every verb

    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(printable(text, limit), quote=False))


def redacted(uri: str) -> str:
    """A URI without user, password and secret arguments."""
    # Shortened last: what is cut off must not make a password look like something else.
    clean = printable(uri, max(len(uri), 1))
    return printable(_SECRET_ARGUMENT.sub(r"\1***", _CREDENTIALS.sub("***", clean)))


def size_text(size: float) -> str:
    """Bytes for people: ``14.5 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def score_text(score: float) -> str:
    """A score from 0 to 1 in four decimals, rounded down: 0.94999 is shown as no 0.95."""
    return f"{math.floor(score * 1e4 + 1e-6) / 1e4:.4f}"


def counted(count: int, thing: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
