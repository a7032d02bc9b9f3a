"""Models that Keras 3 itself saved: what comes out runs and agrees, channels last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgevision
from edgevision.bundle import open_bundle
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.settings import Overrides
from edgevision.errors import EdgevisionError
from edgevision.progress import Progress

pytestmark = pytest.mark.slow
REASON = "Keras is not installed: pip install 'edgevision[keras]'"


@pytest.fixture
def keras() -> Any:
    for name in ("torch", "onnxscript"):
        pytest.importorskip(name, reason=REASON)
    os.environ["KERAS_BACKEND"] = "torch"
    found = pytest.importorskip("keras", reason=REASON)
    found.utils.set_random_seed(0)
    return found


@pytest.fixture
def network(keras: Any) -> Any:
    """A small residual network with what Keras models begin and end with, 64×64×3 → 3 classes."""
    layers = keras.layers
    images = keras.Input((64, 64, 3), name="image")
    x = layers.Rescaling(2.0, offset=-1)(images)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="swish")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D()(x))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(
        'task = "classify"\n[input]\nsize = [64, 64]\nresize = "stretch"\n'
        '[output]\ndecoder = "softmax"\nparams = {activation = "none"}\n'
    )
    return path


def run(model: Path, config: Path, **more: Any) -> Conversion:
    order = Order(
        model=model, output=model.parent / "m.evb", overrides=Overrides(config=config, **more),
        force=True,
    )  # fmt: skip
    return convert(order, Progress(quiet=True))


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "renamed.bin"])
def test_a_functional_model_becomes_a_bundle(
    keras: Any, network: Any, config: Path, name: str
) -> None:
    saved = config.parent / ("m.keras" if name == "renamed.bin" else name)
    network.save(saved)
    path = saved.rename(config.parent / name)
    run(path, config)
    manifest = open_bundle(config.parent / "m.evb").manifest
    source = manifest["provenance"]["source"]
    assert source["agreement"]["relative_difference"] < 1e-4
    assert source["packages"]["keras"] == keras.__version__
    assert manifest["variants"][0]["input"]["layout"] == "nhwc"
    # Independent of how the reader compares: Keras here, onnxruntime through the bundle.
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    tensor = image[None, :, :, ::-1].astype(np.float32) / 255
    expected = keras.ops.convert_to_numpy(network(tensor, training=False))[0]
    with edgevision.open(config.parent / "m.evb") as model:
        result = model(image)
    np.testing.assert_allclose(result.scores, expected[list(result.class_ids)], atol=1e-5)


def test_batch_norm_ends_up_in_the_convolution(keras: Any, network: Any, config: Path) -> None:
    network.save(config.parent / "m.keras")
    run(config.parent / "m.keras", config)
    nodes = onnx.load(config.parent / "m.evb" / "fp32.onnx").graph.node
    by_input = {node.input[0]: node.op_type for node in nodes}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == 3
    assert by_input[convolutions[0].output[0]] == "Clip", "the ReLU comes right behind"


def test_the_same_file_gives_the_same_bytes(keras: Any, network: Any, config: Path) -> None:
    network.save(config.parent / "m.keras")
    identities = set()
    for _ in range(2):
        run(config.parent / "m.keras", config)
        identities.add(open_bundle(config.parent / "m.evb").identity)
    assert len(identities) == 1


def test_a_model_of_any_size_is_read_at_the_size_asked_for(keras: Any, config: Path) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()]
    )
    model.save(config.parent / "m.keras")
    run(config.parent / "m.keras", config, size=(48, 96))
    graph = onnx.load(config.parent / "m.evb" / "fp32.onnx").graph
    dims = graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 48, 96, 3]


def test_a_second_input_is_fed_with_zeros(keras: Any, config: Path) -> None:
    layers = keras.layers
    image, more = keras.Input((64, 64, 3), name="image"), keras.Input((3,), name="more")
    x = layers.Add()([layers.Dense(3)(layers.GlobalAveragePooling2D()(image)), more])
    keras.Model({"image": image, "more": more}, x).save(config.parent / "m.keras")
    run(config.parent / "m.keras", config)
    inputs = onnx.load(config.parent / "m.evb" / "fp32.onnx").graph.input
    assert sorted(v.name for v in inputs) == ["image", "more"]


def refusal(model: Path, config: Path) -> EdgevisionError:
    with pytest.raises(EdgevisionError) as caught:
        run(model, config)
    assert "Traceback" not in str(caught.value)
    assert not (model.parent / "m.evb").exists()
    return caught.value


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_is_refused_by_name(keras: Any, config: Path, suffix: str) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((64, 64, 3)), layers.Lambda(lambda x: x * 2, name="twice"), layers.Flatten()]
    )
    path = config.parent / f"m{suffix}"
    model.save(path)
    error = refusal(path, config)
    assert "carries code" in error.problem
    assert "Lambda 'twice'" in error.received


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_layer_of_ones_own_is_refused_by_name(keras: Any, config: Path, suffix: str) -> None:
    class Twice(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    path = config.parent / f"m{suffix}"
    keras.Sequential([keras.Input((64, 64, 3)), Twice(), keras.layers.Flatten()]).save(path)
    error = refusal(path, config)
    assert "Twice" in error.received
    assert "model.export" in error.hint


def test_weights_alone_are_no_model(keras: Any, network: Any, config: Path) -> None:
    path = config.parent / "m.weights.h5"
    network.save_weights(path)
    assert "weights, and no network" in refusal(path, config).problem


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_truncated_model_is_an_error_of_ours(
    keras: Any, network: Any, config: Path, suffix: str
) -> None:
    path = config.parent / f"m{suffix}"
    network.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in refusal(path, config).problem
