"""The published JSON schema of records: https://json-schema.org, draft 2020-12."""

from __future__ import annotations

from pathlib import Path

__all__ = ["schema_text"]


def schema_text() -> str:
    """The schema as JSON text; it comes with the package."""
    return Path(__file__).with_name("record.schema.json").read_text(encoding="utf-8")
