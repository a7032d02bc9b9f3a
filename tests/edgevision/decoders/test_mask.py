from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders.mask import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.preprocess import Preprocessor
from edgevision.results import NOTHING
from edgevision.spec import InputSpec

VALUES = np.array([[0.9, 0.5, 0.1, 0.0], [0.6, 0.49, 0.2, 1.0]], np.float32)
SHOWN = [[1, 1, 0, 0], [1, 0, 0, 1]]
SAME = Transform.identity(2, 4)


def decode(values, transform=SAME, row=0, **params):
    return plugin(**params).decode({"mask": values}, row, transform)


def shown(result):
    class_map = result.class_map()
    assert set(np.unique(class_map).tolist()) <= {0, NOTHING}
    return (class_map == 0).astype(int).tolist()


@pytest.mark.parametrize("shape", [(1, 2, 4, 1), (1, 1, 2, 4), (2, 4, 1), (1, 2, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_what_reaches_the_threshold_is_shown_in_every_layout(shape, dtype):
    assert shown(decode(VALUES.reshape(shape).astype(dtype))) == SHOWN


def test_the_threshold_is_a_parameter():
    assert shown(decode(VALUES.reshape(1, 1, 2, 4), score=0.95)) == [[0] * 4, [0, 0, 0, 1]]
    assert shown(decode(VALUES.reshape(1, 1, 2, 4), score=0.0)) == [[1] * 4] * 2


def test_logits_are_compared_without_a_sigmoid():
    logits = np.log(VALUES.clip(1e-6, 1 - 1e-6) / (1 - VALUES.clip(1e-6, 1 - 1e-6)))
    found = decode(logits.reshape(1, 2, 4, 1), activation="sigmoid", score=0.45)
    assert shown(found) == [[1, 1, 0, 0], [1, 1, 0, 1]]  # 0.49 too


def test_the_right_row_is_decoded():
    two = np.stack([np.zeros_like(VALUES), VALUES])[:, None]
    assert shown(decode(two, row=1)) == SHOWN
    assert len(decode(two, row=0)) == 0


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_what_is_no_number_is_not_shown(bad):
    values = VALUES.copy()
    values[0, 0] = bad
    assert shown(decode(values.reshape(1, 2, 4, 1)))[0][0] == 0


def test_a_mask_may_be_coarser_than_the_input():
    # 8×16 tensor pixels of half a source pixel each; every mask pixel covers 2×2 source pixels.
    way = Transform(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 8, 4, (8, 16))
    found = decode(VALUES.reshape(1, 2, 4, 1), way)
    assert found.transform.tensor_hw == (2, 4)
    np.testing.assert_allclose(found.transform.to_source, [[2, 0, 0], [0, 2, 0]])
    assert found.mask().shape == (4, 8)
    assert found.share(0) == 0.5


def test_what_lies_in_the_padding_is_left_out():
    # A source of 40×40 in the middle two of four columns, 20 source pixels a mask pixel.
    way = Transform(np.array([[20.0, 0, -20], [0, 20.0, 0]]), 40, 40, (2, 4))
    found = decode(np.ones((1, 2, 4, 1), np.float32), way)
    assert shown(found) == [[0, 1, 1, 0]] * 2
    assert found.share(0) == 1
    assert found.mask().all()


@pytest.mark.parametrize(("pad", "first"), [(0, 0), (9, 0), (11, 1), (29, 1), (31, 2)])
def test_a_pixel_counts_where_its_centre_lies_in_the_source(pad, first):
    way = Transform(np.array([[20.0, 0, -pad], [0, 20.0, 0]]), 80 - pad, 40, (2, 4))
    assert shown(decode(np.ones((1, 2, 4, 1), np.float32), way))[0] == [0] * first + [1] * (
        4 - first
    )


def test_a_turned_region_keeps_all_of_its_mask():
    turned = Transform(np.array([[0.0, -20, 80], [20.0, 0, 0]]), 40, 40, (2, 4))
    assert shown(decode(np.ones((1, 2, 4, 1), np.float32), turned)) == [[1] * 4] * 2


def test_the_next_frame_does_not_change_the_last_result():
    decoder, values = plugin(), VALUES.reshape(1, 2, 4, 1).copy()
    first = decoder.decode({"mask": values}, 0, SAME)
    values[:] = 0
    decoder.decode({"mask": values}, 0, SAME)
    assert shown(first) == SHOWN


def test_buffers_follow_a_mask_of_another_size():
    decoder = plugin()
    for size in ((2, 4), (4, 8), (1, 1), (6, 2)):
        values = np.random.default_rng(0).random((1, *size, 1)).astype(np.float32)
        found = decoder.decode({"mask": values}, 0, Transform.identity(*size))
        np.testing.assert_array_equal(found.class_map() == 0, values[0, ..., 0] >= 0.5)


def test_decoding_takes_a_fraction_of_what_the_mask_would():
    picture = np.zeros((256, 256), np.float32)
    cv2.circle(picture, (128, 128), 90, 1.0, cv2.FILLED)
    decoder, outputs = plugin(), {"mask": picture[None, :, :, None]}
    way = Transform.identity(256, 256)
    decoder.decode(outputs, 0, way)
    tracemalloc.start()
    try:
        decoder.decode(outputs, 0, way)
        assert tracemalloc.get_traced_memory()[1] < 16384  # of 65536
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "shape", [(1, 2, 4, 2), (1, 3, 2, 4), (1, 1, 17, 3), (1, 4, 2, 1), (8,), (1, 2, 4, 1, 1)]
)
def test_other_layouts_are_refused_by_shape(shape):
    with pytest.raises(SpecError, match="cannot read these outputs") as refused:
        decode(np.zeros(shape, np.float32))
    assert str(shape) in refused.value.received


def test_whole_numbers_are_refused():
    with pytest.raises(SpecError):
        decode(np.zeros((1, 2, 4, 1), np.uint8))


def test_the_output_can_be_named():
    outputs = {n: np.full((1, 2, 4, 1), v, np.float32) for n, v in (("a", 0.0), ("b", 1.0))}
    with pytest.raises(SpecError):
        plugin().decode(outputs, 0, SAME)
    assert len(plugin(outputs="b").decode(outputs, 0, SAME)) == 1


@pytest.mark.parametrize(
    "params", [{"scores": 0.5}, {"score": 2}, {"activation": "softmax"}, {"outputs": ""}]
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError):
        plugin(**params)


def test_the_one_class_may_have_a_name():
    values = VALUES.reshape(1, 2, 4, 1)
    assert decode(values, labels=("person",)).label(0) == "person"
    with pytest.raises(SpecError, match="labels"):
        decode(values, labels=("cat", "dog"))


def test_real_selfie_segmentation_shows_the_man_and_not_the_wall(test_data):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        str(test_data / "models/selfie.onnx"), providers=["CPUExecutionProvider"]
    )
    preset = presets.load("selfie")
    tensor = np.zeros((1, 256, 256, 3), np.float32)
    loader = Preprocessor(InputSpec.from_dict(preset["input"]), tensor)
    transform = loader.load(cv2.imread(str(test_data / "images/basketball1.png")))
    outputs = {"mask": session.run(None, {"input_1:0": tensor})[0]}
    found = plugin(**preset["output"]["params"]).decode(outputs, 0, transform)
    mask = found.mask()
    assert mask.shape == (480, 640)
    # By eye: the man on the right stands in columns 520 to 630; the wall between the two is bare.
    assert mask[60:440, 560:600].mean() > 0.97
    assert not mask[:, 230:400].any()
    assert 0.15 < found.share(0) < 0.3
