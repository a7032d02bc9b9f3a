from __future__ import annotations

import hashlib
import json

import pytest

from edgevision import bundle as bundle_module
from edgevision.bundle import canonical_json, hash_file, open_bundle, safe_file
from edgevision.choice import choose
from edgevision.errors import BundleError, EdgevisionError, ModelError


def test_a_good_bundle(bundle):
    opened = open_bundle(bundle)
    assert (opened.name, list(opened.variants)) == ("squares", ["fp32"])
    variant = opened.variants["fp32"]
    assert (variant.precision, variant.opset, variant.spec.labels) == (
        "fp32",
        17,
        ("red", "green", "blue"),
    )
    assert variant.size_bytes == (bundle / "fp32.onnx").stat().st_size
    for name in opened.files:
        opened.check(name)
    assert set(opened.files) == {
        "fp32.onnx",
        "golden/000.png",
        "golden/001.png",
        "golden/fp32.json",
    }


def test_identity_is_the_hash_of_the_canonical_manifest(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert open_bundle(bundle).identity == hashlib.sha256(text.encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest, indent=4))
    assert open_bundle(bundle).identity == hashlib.sha256(text.encode()).hexdigest()


def test_canonical_json():
    assert canonical_json({"b": [1, "ö"], "a": None}) == '{"a":null,"b":[1,"ö"]}'.encode()


def test_hashes_are_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2
    assert hash_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_a_single_file_is_a_bundle_of_one(models):
    opened = open_bundle(models.detector)
    assert (opened.name, opened.manifest, opened.files) == ("squares", {}, {})
    assert choose(opened).variant.file == models.detector


@pytest.mark.parametrize("name", ["fp32.onnx", "golden/000.png", "golden/fp32.json"])
def test_a_file_that_changed_is_found(bundle, name):
    data = bytearray((bundle / name).read_bytes())
    data[-1] ^= 1
    (bundle / name).write_bytes(data)
    opened = open_bundle(bundle)
    with pytest.raises(BundleError, match="not the file this bundle was made with"):
        opened.check(name)


@pytest.mark.parametrize("name", ["fp32.onnx", "golden/001.png", "manifest.json"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["fp32.onnx", "golden/000.png", "manifest.json"])
def test_a_link_is_refused(bundle, name, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (bundle / name).rename(elsewhere)
    (bundle / name).symlink_to(elsewhere)
    with pytest.raises(BundleError, match="is a link"):
        open_bundle(bundle)


def test_a_folder_that_is_a_link_is_refused(bundle, tmp_path):
    (bundle / "golden").rename(tmp_path / "elsewhere")
    (bundle / "golden").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="is a link"):
        open_bundle(bundle)


UNSAFE = ["../fp32.onnx", "/etc/passwd", "a/../../b", "./fp32.onnx", "a//b", "", ".", "..", "a\\b", "~/x",
          "a\x00b", "fp32.onnx\n", ".hidden", "a b", "C:x", "\x1b[2J", "fp32.onnx/"]  # fmt: skip


@pytest.mark.parametrize("name", [*UNSAFE, None, 3, ["x"], {}])
def test_a_path_that_is_none_of_the_bundle_is_refused(bundle, edit_manifest, name):
    with pytest.raises(BundleError, match="unsafe"):
        safe_file(bundle, name)
    edit_manifest(bundle, lambda m: m["variants"][0].update(file=name))
    with pytest.raises(BundleError):
        open_bundle(bundle)


@pytest.mark.parametrize("name", UNSAFE)
def test_other_hashed_files_are_held_to_the_same(bundle, edit_manifest, name):
    edit_manifest(bundle, lambda m: m["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="unsafe"):
        open_bundle(bundle)


@pytest.mark.parametrize("schema", [2, 99, "1", None, 1.5, [], 10**400])
def test_a_newer_schema_asks_for_an_upgrade(bundle, edit_manifest, schema):
    edit_manifest(bundle, lambda m: m.update(schema=schema))
    with pytest.raises(BundleError, match="newer edgevision"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"x"', "null", "{}", "[" * 100_000, '{"schema": 1}', "\x00", "NaN"]
)
def test_a_manifest_that_is_none_is_damage(bundle, text):
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="damaged"):
        open_bundle(bundle)


def test_a_manifest_that_is_no_text_or_too_large(bundle, monkeypatch):
    monkeypatch.setattr(bundle_module, "_LARGEST_MANIFEST", 100)
    with pytest.raises(BundleError, match="too large"):
        open_bundle(bundle)
    (bundle / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="damaged"):
        open_bundle(bundle)


WRONG = [
    None,
    3,
    "x",
    [],
    {},
    [1],
    [[]],
    [{}],
    {"x": 1},
    {"x": []},
    float("inf"),
    -1,
    True,
    "\x1b",
    "\ud800",
]


def _paths(value, path=()):
    if path:
        yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def test_any_wrong_value_in_the_manifest_is_a_clear_error_or_harmless(bundle, load, draw_square):
    """Each value of the manifest in turn becomes each kind of nonsense; then the bundle is used."""
    path = bundle / "manifest.json"
    text = path.read_text()
    for place in [p for p in _paths(json.loads(text)) if "labels" not in p[:-1]]:
        for wrong in WRONG:
            manifest = json.loads(text)
            inner = manifest
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = wrong
            path.write_text(json.dumps(manifest))
            try:
                choose(open_bundle(bundle))
            except EdgevisionError as error:
                assert str(error)


def test_what_is_not_there_or_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="there is no"):
        open_bundle(tmp_path / "none.evb")
    with pytest.raises(BundleError, match="is no bundle"):
        open_bundle(tmp_path)
    (tmp_path / "x.onnx").write_text("text")
    with pytest.raises(ModelError):
        open_bundle(tmp_path / "x.onnx")
