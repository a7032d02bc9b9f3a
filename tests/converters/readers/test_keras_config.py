"""Code in a Keras config is found by reading it; no Keras is needed for that."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgevision.converters.readers.keras_config import (
    check_config,
    config_of_archive,
    parse_config,
)
from edgevision.errors import ModelError

FILE = Path("m.keras")


def layer(kind: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    inside = {"name": f"the_{kind.lower()}"} | config
    return {"module": module, "class_name": kind, "config": inside, "registered_name": None}


def model(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = layer("Functional", "keras.src.models.functional")
    whole["config"]["layers"] = list(layers)
    return whole | more


def legacy(kind: str, **config: Any) -> dict[str, Any]:
    """A layer as Keras 2 wrote it into HDF5: without a module."""
    return {"class_name": kind, "config": {"name": "l", **config}}


PLAIN = [
    layer("InputLayer", batch_shape=[None, 64, 64, 3]),
    layer(
        "Conv2D",
        dtype=layer("DTypePolicy", "keras"),
        activation="relu",
        kernel_initializer=layer("GlorotUniform", "keras.initializers"),
        kernel_regularizer=layer("L2", "keras.regularizers"),
    ),
    layer("Add", "keras.src.ops.numpy"),
    layer("Sequential", "keras", layers=[layer("ReLU")]),
    {"class_name": "__keras_tensor__", "config": {"shape": [None, 1]}},
    layer("Dense", activation={
        "module": "keras.activations", "class_name": "function", "config": "gelu",
        "registered_name": "gelu",
    }),
]  # fmt: skip


def test_a_model_of_keras_own_layers_passes() -> None:
    check_config(FILE, model(*PLAIN))
    check_config(FILE, {"class_name": "Sequential", "config": {"layers": [legacy("Conv2D")]}})


def test_how_it_was_trained_does_not_count() -> None:
    loss = {"module": "mine", "class_name": "function", "config": "my_loss"}
    check_config(FILE, model(*PLAIN, compile_config={"loss": loss}))


@pytest.mark.parametrize(
    "kind",
    [
        "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer",
        "StringLookup", "IntegerLookup", "TextVectorization",
    ],
)  # fmt: skip
@pytest.mark.parametrize("deep", [False, True])
def test_layers_that_carry_code_are_refused_by_name(kind: str, deep: bool) -> None:
    inside = layer(kind)
    nested = layer("Sequential", "keras", layers=[layer("TimeDistributed", layer=inside)])
    with pytest.raises(ModelError, match="carries code") as caught:
        check_config(FILE, model(*PLAIN, nested if deep else inside))
    assert f"{kind} 'the_{kind.lower()}'" in caught.value.received
    assert "model.export" in caught.value.hint


def test_a_lambda_is_refused_wherever_it_stands() -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}
    with pytest.raises(ModelError, match="marshalled"):
        check_config(FILE, model(layer("Dense", activation=code)))
    with pytest.raises(ModelError, match="carries code"):
        check_config(FILE, {"class_name": "Sequential", "config": {"layers": [legacy("Lambda")]}})


@pytest.mark.parametrize(
    "entry",
    [
        layer("Swish2", "my_package.layers"),
        layer("Swish2", None),
        layer("system", "os"),
        layer("exec", "builtins"),
        layer("get_file", "keras.utils"),
        layer("Conv2D", "keras.layers.evil.attack!"),
        layer("load_model", "keras.saving"),
        layer("enable_unsafe_deserialization", "keras.config"),
        layer("Swish2") | {"registered_name": "mine>Swish2"},
        legacy("mine>Swish2"),
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        {"module": "builtins", "class_name": "function", "config": "exec"},
        {"module": "mine", "class_name": "function", "config": "mish", "registered_name": "mish"},
        {"class_name": "function", "config": "mish"},
        {"module": 7, "class_name": "Conv2D", "config": {}},
    ],
    ids=lambda entry: f"{entry.get('module')}.{entry['class_name']}",
)
def test_what_is_not_keras_own_is_refused_by_name(entry: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="not Keras' own") as caught:
        check_config(FILE, model(*PLAIN, entry))
    name = entry.get("registered_name") or entry["class_name"]
    assert str(name) in caught.value.received
    assert "try:" in str(caught.value)


def test_the_config_is_read_from_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model(*PLAIN)))
    assert config_of_archive(path) == model(*PLAIN)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": 1}', "[" * 100_000])
def test_a_damaged_config_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(ModelError, match="truncated or damaged"):
        parse_config(FILE, text)
