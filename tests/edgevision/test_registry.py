from __future__ import annotations

import sys
from importlib import metadata

import pytest

from edgevision import registry
from edgevision.errors import UsageError


def test_names_are_those_of_the_files():
    assert registry.names("tasks") == ["classify", "detect", "keypoints", "segment"]
    assert set(registry.names("backends")) >= {"fake", "ort"}
    assert not [name for kind in registry.KINDS for name in registry.names(kind) if "_" in name]


def test_listing_imports_nothing(monkeypatch):
    for name in [m for m in sys.modules if m.startswith("edgevision.sinks.")]:
        monkeypatch.delitem(sys.modules, name)
    registry.names("sinks")
    assert not [m for m in sys.modules if m.startswith("edgevision.sinks.")]


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(UsageError, match="unknown backend 'abacus'") as refused:
        registry.load("backends", "abacus")
    assert "ort" in str(refused.value)
    assert "edgevision.backends" in str(refused.value)


@pytest.mark.parametrize("name", ["_slot", "__init__", "", "../errors", "ort.py", "ort\n"])
def test_only_public_names_are_found(name):
    with pytest.raises(UsageError):
        registry.load("backends", name)


def test_an_unknown_kind_is_a_fault_of_the_caller():
    with pytest.raises(ValueError, match="no such kind"):
        registry.names("engines")


def test_outsiders_register_by_an_entry_point(monkeypatch):
    entry = metadata.EntryPoint("mine", "collections:OrderedDict", "edgevision.stages")
    shadow = metadata.EntryPoint("ort", "collections:OrderedDict", "edgevision.backends")
    entries = metadata.EntryPoints([entry, shadow])
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries.select(group=group))
    from collections import OrderedDict

    assert "mine" in registry.names("stages")
    assert registry.load("stages", "mine") is OrderedDict
    assert registry.load("backends", "ort") is not OrderedDict  # ours cannot be replaced
    assert registry.names("backends").count("ort") == 1
