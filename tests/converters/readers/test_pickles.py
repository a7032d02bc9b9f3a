"""What a pickle would import is found without unpickling it."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import pytest

from edgevision.converters.readers.pickles import foreign_imports


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/hacked",)


def a_tensor() -> bytes:
    """As torch.save writes one: GLOBALs of protocol 2, a persistent id, REDUCE."""
    return (
        b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00w"
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQK\x00)"
        b"K\x01\x85\x89ccollections\nOrderedDict\n)RtRu."
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (a_tensor(), []),
        (pickle.dumps({"a": [1, 2.0, "x", b"y", None, True]}, 2), []),
        (pickle.dumps(OrderedDict(a=1), 2), []),
        (pickle.dumps({1, 2}, 2), []),
        (pickle.dumps(Fraction(1, 2), 2), ["fractions.Fraction"]),
        (pickle.dumps(Attack(), 2), ["posix.system"]),
        (pickle.dumps(Attack(), 0), ["posix.system"]),
        (pickle.dumps([OrderedDict(), Attack()], 2), ["posix.system"]),
        (pickle.dumps(Attack(), 4), ["posix.system (by STACK_GLOBAL)"]),
        (b"\x80\x02(iposix\nsystem\n.", ["posix.system"]),
        (b"\x80\x02\x82\x05.", ["number 5 of the extension registry"]),
        (b"\x80\x02cbuiltins\neval\n.", ["builtins.eval"]),
        (b"\x80\x02ctorch.hub\nload\n.", ["torch.hub.load"]),
        (b"\x80\x02ctorch\nload\n.", ["torch.load"]),
        (b"\x80\x02ctorch.nn.modules.conv\nConv2d\n.", ["torch.nn.modules.conv.Conv2d"]),
    ],
)
def test_imports_besides_tensors_are_named(data: bytes, expected: list[str]) -> None:
    assert foreign_imports(data) == expected


def test_a_pickle_that_was_cut_is_no_pickle() -> None:
    for length in range(len(a_tensor()) - 1):
        with pytest.raises(ValueError, match=r"."):
            foreign_imports(a_tensor()[:length])


def test_all_pickles_of_an_old_file_are_looked_at_and_not_what_follows() -> None:
    stream = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(), ["0"]):
        pickle.dump(value, stream, 2)
    stream.write(b"\x00\xffraw numbers")
    assert foreign_imports(stream.getvalue(), old=True) == []
    for place in range(5):
        stream = io.BytesIO()
        for number in range(5):
            pickle.dump(Attack() if number == place else number, stream, 2)
        assert foreign_imports(stream.getvalue(), old=True) == ["posix.system"]
