"""What the verb ``verify`` does: every file against its hash, every variant on the golden frames, here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgevision.backends import BackendOptions, Variant
from edgevision.bundle import Bundle, open_bundle
from edgevision.choice import Choice
from edgevision.errors import BackendError, BundleError, DependencyError, UsageError
from edgevision.golden import compare, golden_frames, golden_results
from edgevision.model import load_variant
from edgevision.text import printable

__all__ = ["verify_bundle"]


def verify_bundle(path: Path, *, backend: str, as_json: bool) -> int:
    """Verifies a bundle and prints what came out; 0 if all is as it was made, 3 if a variant differs here."""
    bundle = open_bundle(path)
    if not bundle.manifest:
        raise UsageError(
            f"{path} is a single file",
            expected="a bundle: it has hashes and golden frames to check",
        )
    for name in bundle.files:
        bundle.check(name)
    variants = {v.id: _check_variant(bundle, v, backend) for v in bundle.variants.values()}
    failed = any(v["verdict"] == "fail" for v in variants.values())
    facts = {
        "identity": bundle.identity,
        "files": len(bundle.files),
        "golden": list(bundle.manifest.get("golden", {}).get("frames", [])),
        "variants": variants,
        "verdict": "fail" if failed else "pass",
    }
    print(json.dumps(facts, indent=2) if as_json else _text(bundle, facts))
    return 3 if failed else 0


def _check_variant(bundle: Bundle, variant: Variant, backend: str) -> dict[str, Any]:
    stored, frames = golden_results(bundle, variant.id), golden_frames(bundle)
    if not stored:
        return {"verdict": "no golden frames", "differences": []}
    try:
        model = load_variant(bundle, Choice(variant, "verify"), BackendOptions(), backend=backend)
    except DependencyError:  # says nothing about the bundle
        raise
    except BackendError as error:
        return {"verdict": "fail", "differences": [error.problem]}
    with model:
        try:
            found = [
                f"golden frame {number}: {line}"
                for number, (image, record) in enumerate(zip(frames, stored, strict=True))
                for line in compare(model, image, record)
            ]
        except BackendError as error:
            found = [error.problem]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BundleError(
                f"the golden results of {variant.id} in {bundle.path} are not usable: {error!r}",
                hint="convert the model again",
            ) from error
        engine = str(model.executed)
    return {"verdict": "fail" if found else "pass", "engine": engine, "differences": found}


def _text(bundle: Bundle, facts: dict[str, Any]) -> str:
    lines = [
        f"{bundle.name}: {facts['files']} files are what the bundle was made with",
        f"identity {facts['identity']}",
    ]
    for variant_id, found in facts["variants"].items():
        engine = f" ({found['engine']})" if "engine" in found else ""
        lines.append(f"{variant_id}: {found['verdict']}{engine}")
        lines += [f"  {printable(line, 400)}" for line in found["differences"][:10]]
    unchecked = [i for i, v in facts["variants"].items() if v["verdict"] == "no golden frames"]
    if unchecked:
        lines.append(f"only the hash was checked of: {', '.join(unchecked)}")
    return "\n".join(lines)
