"""Recognises a model file by what is in it: its first bytes, and the names in it where it is a zip archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgevision.errors import ModelError
from edgevision.text import printable

__all__ = ["ONNX", "members", "recognise"]

ONNX = "onnx"

_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"  # docs.hdfgroup.org, "Format Signature"
#: What torch.save wrote before PyTorch 1.6: a pickle of the number 0x1950a86a20f9469cfc6c comes first.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Suffixes of formats that are read here: of such a file nobody should be told that it is no ONNX.
_SUFFIXES = frozenset({".pt", ".pth", ".pt2", ".ckpt", ".keras", ".h5", ".hdf5"})

#: Formats that are known and not read: what they are called, and the way out.
_ONNX_OUT = "export it to ONNX with the tools it was made with, and convert that"
_UNREAD = {
    "tflite": ("a TensorFlow Lite model", "convert the Keras model that it was made from"),
    "safetensors": (
        "a safetensors file, which holds weights and no network",
        "load it where the network is defined, and save that with torch.export.save",
    ),
    "tensorrt": (
        "a TensorRT engine, which runs on one kind of device only",
        "convert the ONNX model that it was built from",
    ),
    "pickle": (
        "a bare pickle, which runs code when it is loaded",
        "save the model in its framework's own format, or " + _ONNX_OUT,
    ),
    "openvino": ("an OpenVINO model", "convert the model that it was made from"),
    "savedmodel": (
        "a TensorFlow SavedModel",
        "save it as .keras (model.save('model.keras')), or " + _ONNX_OUT,
    ),
    "coreml": ("a Core ML model", "convert the model that it was made from"),
    "old-export": (
        "a program of torch.export from before PyTorch 2.8",
        "load it with the PyTorch that wrote it, and torch.export.save it with a current one",
    ),
}
_LARGEST_LISTING = 200_000  # members of an archive


def recognise(path: Path) -> str:
    """What a file is: a key of `edgevision.converters.readers.KINDS`, or `ONNX` for all that may be that.

    Raises:
        ModelError: It is of a kind that is known and not read, or a damaged archive.
    """
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            raise _unread(path, "savedmodel")
        return ONNX  # its loader says that this is a folder
    if not path.is_file():
        return ONNX  # its loader says that there is none, or that it is a pipe
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return ONNX  # its loader says what is wrong
    kind = _by_members(path) if head.startswith(_ZIP) else _by_head(head)
    if kind in _UNREAD:
        raise _unread(path, kind)
    if kind == ONNX and path.suffix.lower() in _SUFFIXES:
        raise ModelError(
            f"{path} is no model that can be read",
            received=f"{path.stat().st_size} bytes, starting with {head[:8]!r}"
            if head
            else "an empty file",
            expected="ONNX, .pt2, TorchScript, a state dict, .keras or .h5, whole",
            hint="export or download it again",
        )
    return kind


def members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Names inside an archive, each without the folder that PyTorch puts around all → the whole name."""
    names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    around = f"{tops.pop()}/" if len(tops) == 1 and all("/" in n for n in names) else ""
    return {name.removeprefix(around): name for name in names}


def _by_head(head: bytes) -> str:
    if head.startswith(_HDF5):
        return "keras-h5"
    if head.startswith(_OLD_TORCH):
        return "state-dict"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head[:4] in (b"ptrt", b"ftrt"):
        return "tensorrt"
    # The length of a header in JSON, then that header (huggingface.co/docs/safetensors).
    if head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 10**8:
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    if head.lstrip()[:1] == b"<" and b"<net" in head:
        return "openvino"
    return ONNX


def _by_members(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _LARGEST_LISTING:
                raise zipfile.BadZipFile("too many files in it")
            names = members(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{path} is truncated or damaged",
            received=f"an archive that cannot be listed: {error}",
            expected="a whole file",
            hint="save or download it again, and compare the size with the source",
        ) from error
    for kind, signs in _SIGNS.items():
        if all(sign in names or any(n.startswith(sign) for n in names) for sign in signs):
            return kind
    some = ", ".join(printable(name, 40) for name in sorted(names)[:5])
    raise ModelError(
        f"{path} is an archive of no kind that can be read",
        received=f"a zip file with {some or 'nothing in it'}",
        expected="ONNX, .pt2, TorchScript, a state dict or .keras",
        hint="unpack it first if the model lies inside",
    )


#: What an archive must hold, a name or the start of one, to be of a kind; the first that fits.
_SIGNS = {
    "torch-export": ("archive_format", "models/"),
    "old-export": ("serialized_exported_program.json",),
    "torchscript": ("constants.pkl", "data.pkl", "code/"),
    "state-dict": ("data.pkl",),
    "keras": ("config.json", "metadata.json"),
    "savedmodel": ("saved_model.pb",),
    "coreml": ("Manifest.json", "Data/"),
}


def _unread(path: Path, kind: str) -> ModelError:
    what, way_out = _UNREAD[kind]
    return ModelError(
        f"{path} is {what}",
        expected="ONNX, .pt2, TorchScript, a state dict, .keras or .h5",
        hint=way_out,
    )
