"""A request to a reader."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgevision.converters.readers import Request
from edgevision.spec import InputSpec


@pytest.fixture
def request_for(tmp_path: Path) -> Request:
    """A request for an archive that is recognised as ``.keras``, and holds nothing."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    return Request(path, "keras", InputSpec(size=(64, 64)), None, 17, None, ())
