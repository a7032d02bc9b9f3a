"""The bundle: a folder with a manifest that names and hashes everything in it. Opening, choosing, checking.

Nothing in the manifest may point outside the folder, through a link, or at something that is no plain file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.errors import BundleError, SpecError
from edgevision.metadata import spec_from_metadata
from edgevision.onnx_header import read_header
from edgevision.spec import ModelSpec
from edgevision.text import printable
from edgevision.variant import Variant

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "Bundle",
    "canonical_json",
    "hash_file",
    "open_bundle",
]

MANIFEST = "manifest.json"
SCHEMA = 1
_LARGEST_MANIFEST = 16 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle, or a single ONNX file that says enough about itself to be run.

    Attributes:
        path: The folder, or the ONNX file.
        name: Its name, without the suffix.
        identity: SHA-256 of the canonical manifest (of the file itself for a single ONNX file).
        variants: At least one, by id, in the manifest's order.
        manifest: The whole manifest; empty for a single file.
    """

    path: Path
    name: str
    identity: str
    variants: Mapping[str, Variant]
    manifest: Mapping[str, Any]

    @property
    def files(self) -> Mapping[str, str]:
        """Every hashed file: path in the bundle → SHA-256."""
        listed = {v.file.name: v.sha256 for v in self.variants.values()} if self.manifest else {}
        return listed | dict(self.manifest.get("files", {}))

    def check(self, name: str) -> None:
        """Compares a file with its hash.

        Raises:
            BundleError: It is missing, unsafe or has changed.
        """
        path = safe_file(self.path, name)
        found, wanted = hash_file(path), self.files[name]
        if found != wanted:
            raise BundleError(
                f"{name} in {self.path} is not the file this bundle was made with",
                received=f"SHA-256 {found[:16]}…",
                expected=f"{wanted[:16]}…",
                hint="copy the bundle again, or convert the model again",
            )


def open_bundle(path: Path) -> Bundle:
    """Opens a bundle's folder or a single ONNX file. Files are hashed when they are used (`Bundle.check`).

    Raises:
        BundleError: The folder is no bundle, damaged, unsafe or of a newer schema.
        ModelError: The file is no ONNX model.
        SpecError: The ONNX file does not say how to run it.
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        raise BundleError(
            f"there is no {path}", expected="a bundle (a folder ending in .evb) or an ONNX file"
        )
    return _open_file(path)


def safe_file(folder: Path, name: str) -> Path:
    """The path of a file that a manifest names.

    Raises:
        BundleError: The name leads out of the folder, through a link, or to nothing.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BundleError(
            f"the manifest of {folder} names an unsafe file",
            received=printable(repr(name)),
            expected="a plain relative path of letters, digits, '.', '_' and '-'",
            hint="do not use this bundle",
        )
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise BundleError(
                f"{name} in {folder} is a link",
                expected="plain files only",
                hint="do not use this bundle",
            )
    if not path.is_file():
        raise BundleError(
            f"{name} is missing from {folder}",
            hint="copy the bundle again, or convert the model again",
        )
    return path


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """The one spelling of a JSON object: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _open_file(path: Path) -> Bundle:
    header = read_header(path)
    found = spec_from_metadata(header.metadata, header.inputs)
    if found is None:
        raise SpecError(
            f"{path.name} does not say how to run it",
            received="inputs " + "; ".join(map(str, header.inputs)),
            expected="metadata from edgevision or from Ultralytics' exporter",
            hint=f"edgevision convert {path.name} --preset NAME -o {path.stem}.evb",
        )
    variant_id, precision, spec = found
    size = path.stat().st_size
    variant = Variant(variant_id, precision, path, spec, "", size, header.opsets.get("", 0))
    return Bundle(path, path.stem, hash_file(path), {variant_id: variant}, {})


def _open_folder(path: Path) -> Bundle:
    if not (path / MANIFEST).exists():
        raise BundleError(
            f"{path} is no bundle: it has no {MANIFEST}", hint="'edgevision convert' makes bundles"
        )
    file = safe_file(path, MANIFEST)
    if file.stat().st_size > _LARGEST_MANIFEST:
        raise BundleError(
            f"{file} is too large to be true", received=f"{file.stat().st_size:,} bytes"
        )
    try:
        manifest = json.loads(file.read_bytes())
        schema = manifest["schema"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"{MANIFEST} cannot be read: {printable(repr(error))}") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BundleError(
            f"{path} was written by a newer edgevision",
            received=f"schema {printable(str(schema), 20)}",
            expected=f"at most {SCHEMA}",
            hint="upgrade edgevision on this machine",
        )
    try:
        variants = [_variant(path, manifest, entry) for entry in manifest["variants"]]
        identity = hashlib.sha256(canonical_json(manifest)).hexdigest()
        name = printable(str(manifest["name"]))
        bundle = Bundle(path, name, identity, {v.id: v for v in variants}, manifest)
        for file_name, value in bundle.files.items():
            _check_entry(path, file_name, value)
        _check_references(path, bundle)
    except SpecError as error:
        raise _damaged(path, f"a spec in {MANIFEST} is wrong: {error.problem}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise _damaged(path, f"{MANIFEST} lacks something: {printable(repr(error))}") from error
    if not variants:
        raise _damaged(path, f"{MANIFEST} lists no variant")
    return bundle


def _variant(path: Path, manifest: Mapping[str, Any], entry: Mapping[str, Any]) -> Variant:
    spec = ModelSpec.from_dict(
        {
            "task": manifest["task"],
            "labels": manifest["labels"],
            "input": entry["input"],
            "output": entry["output"],
        }
    )
    file = safe_file(path, entry["file"])
    for key in ("id", "precision", "file"):  # the ONNX files lie beside the manifest
        if not _ID.fullmatch(entry[key]):
            raise _damaged(path, f"a variant's {key} is {printable(repr(entry[key]))}")
    if not all(isinstance(target, str) for target in entry["targets"]):
        raise _damaged(path, f"a variant's targets are {printable(repr(entry['targets']))}")
    return Variant(
        id=entry["id"],
        precision=entry["precision"],
        file=file,
        spec=spec,
        sha256=str(entry["sha256"]),
        size_bytes=file.stat().st_size,
        opset=int(entry["opset"]),
        targets=tuple(entry["targets"]),
        verified=tuple(dict(line) for line in entry.get("verified", ())),
    )


def _check_entry(path: Path, name: str, value: str) -> None:
    safe_file(path, name)
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise _damaged(path, f"{MANIFEST} has no SHA-256 for {name}")


def _check_references(path: Path, bundle: Bundle) -> None:
    """What the manifest refers to by name is in it."""
    manifest = bundle.manifest
    golden = manifest.get("golden", {})
    names = [*golden.get("frames", []), *golden.get("results", {}).values()]
    unknown = [name for name in names if name not in bundle.files]
    unknown += [v for v in manifest.get("default", {}).values() if v not in bundle.variants]
    if unknown:
        raise _damaged(path, f"{MANIFEST} refers to {printable(repr(unknown[0]))}, which it lacks")


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(
        f"{path} is damaged: {what}", hint="copy the bundle again, or convert the model again"
    )
