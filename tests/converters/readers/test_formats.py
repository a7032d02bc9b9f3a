"""Files are recognised by what is in them, and those that are known and not read say what to do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from edgevision.converters.readers.formats import members, recognise
from edgevision.errors import ModelError


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (archive("m/archive_format", "m/models/model.json", "m/data.pkl"), "torch-export"),
        (archive("archive_format", "models/model.json"), "torch-export"),
        (archive("m/data.pkl", "m/constants.pkl", "m/code/a.py", "m/data/0"), "torchscript"),
        (archive("m/data.pkl", "m/data/0", "m/version"), "state-dict"),
        (OLD_TORCH, "state-dict"),
        (archive("config.json", "metadata.json", "model.weights.h5"), "keras"),
        (HDF5, "keras-h5"),
        (b"\x08\x08\x12\x07pytorch:\x00", "onnx"),
        (b"text", "onnx"),
        (b"", "onnx"),
    ],
)
def test_a_file_is_what_is_in_it_whatever_it_is_called(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "m.bin").write_bytes(content)
    assert recognise(tmp_path / "m.bin") == kind


@pytest.mark.parametrize("name", ["absent.onnx", "."])
def test_what_is_no_file_is_left_to_the_onnx_loader(tmp_path: Path, name: str) -> None:
    assert recognise(tmp_path / name) == "onnx"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(20), ["TensorFlow Lite", "Keras model"]),
        ("m.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00{" + b" " * 63, ["safetensors"]),
        ("m.engine", b"ftrt" + bytes(50), ["TensorRT engine", "ONNX"]),
        ("m.pkl", b"\x80\x04\x95" + bytes(20), ["bare pickle", "runs code"]),
        ("m.xml", b'<?xml version="1.0"?>\n<net name="m">', ["OpenVINO"]),
        ("m.zip", archive("m/saved_model.pb", "m/variables/v"), ["SavedModel", ".keras"]),
        ("m.mlpackage", archive("Manifest.json", "Data/com.apple.CoreML/m"), ["Core ML"]),
        ("m.pt2", archive("version", "serialized_exported_program.json"), ["2.8", "save"]),
        ("m.zip", archive("photo.jpg"), ["no kind that can be read", "photo.jpg"]),
        ("m.zip", archive("\x1b[2J.txt"), ["�[2J.txt"]),
        ("m.keras", archive("config.json", "metadata.json")[:-30], ["truncated", "size"]),
        ("m.pt", b"", ["no model", "empty file"]),
        ("m.h5", b"\x89PNG\r\n\x1a\n" + bytes(30), ["no model", "PNG"]),
    ],
)
def test_what_is_not_read_is_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, words: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as caught:
        recognise(tmp_path / name)
    assert "try:" in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_the_folder_of_a_savedmodel_is_named(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ModelError, match="SavedModel"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("m/a", "m/b/c"), {"a": "m/a", "b/c": "m/b/c"}),
        (("a", "b/c"), {"a": "a", "b/c": "b/c"}),
        (("a",), {"a": "a"}),
        ((), {}),
    ],
)
def test_the_folder_around_all_members_is_taken_off(
    names: tuple[str, ...], expected: dict[str, str]
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(*names))) as file:
        assert members(file) == expected


@pytest.mark.parametrize("cut", [1, 10, 22])
def test_an_archive_without_its_end_is_truncated(tmp_path: Path, cut: int) -> None:
    (tmp_path / "m.pt").write_bytes(archive("m/data.pkl")[:-cut])
    with pytest.raises(ModelError, match="truncated"):
        recognise(tmp_path / "m.pt")
