from __future__ import annotations

import math

import numpy as np
import pytest

from edgevision.decoders.softmax import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(10, 10)


def decode(values, row=0, **params):
    return plugin(**params).decode({"logits": np.asarray(values, np.float32)}, row, SAME)


def test_logits_become_probabilities_best_first():
    found = decode([[1.0, 3.0, 2.0]])
    total = math.exp(1) + math.exp(2) + math.exp(3)
    assert found.class_ids.tolist() == [1, 2, 0]
    expected = [math.exp(v) / total for v in (3, 2, 1)]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert (found.class_ids.dtype, found.scores.dtype) == (np.int32, np.float32)


def test_probabilities_are_left_as_they_are():
    found = decode([[0.1, 0.7, 0.2]], activation="none", labels=("a", "b", "c"), top_k=2)
    np.testing.assert_allclose(found.scores, [0.7, 0.2])
    assert [found.label(i) for i in range(2)] == ["b", "c"]


def test_large_logits_do_not_overflow():
    np.testing.assert_allclose(decode([[1e4, 0.0, 1e4]], top_k=3).scores, [0.5, 0.5, 0])


def test_equal_values_come_in_the_order_of_class_ids():
    assert decode(np.zeros((1, 1000)), top_k=4).class_ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_left_out(bad):
    found = decode([[bad, 0.0, 0.0]])
    assert found.class_ids.tolist() == [1, 2]
    np.testing.assert_allclose(found.scores, [0.5, 0.5])


def test_nothing_finite_is_an_empty_result():
    assert len(decode([[np.nan, np.nan]])) == 0


def test_one_class_has_all_the_probability():
    assert decode([[-7.0]]).scores.tolist() == [1.0]


def test_trailing_sides_of_one_and_batches_are_read():
    batch = np.array([[1.0, 2.0], [5.0, 2.0]]).reshape(2, 2, 1, 1)
    assert [decode(batch, row).class_ids[0] for row in (0, 1)] == [1, 0]


def test_float16_outputs_are_read():
    found = plugin().decode({"o": np.array([[1, 3]], np.float16)}, 0, SAME)
    np.testing.assert_allclose(
        found.scores, [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))], rtol=1e-6
    )


def test_the_output_is_not_changed_and_results_are_the_callers_own():
    values = np.array([[1.0, 3.0, 2.0]], np.float32)
    decoder = plugin()
    first = decoder.decode({"o": values}, 0, SAME)
    assert values.tolist() == [[1, 3, 2]]
    kept = first.scores.copy()
    decoder.decode({"o": values[:, ::-1] * 5}, 0, SAME)
    np.testing.assert_array_equal(first.scores, kept)


def test_labels_of_another_number_are_refused():
    with pytest.raises(SpecError, match="2 labels for 3 classes"):
        decode([[1, 2, 3]], labels=("a", "b"))


@pytest.mark.parametrize("shape", [(3,), (1, 3, 7, 7), (1, 0)])
def test_other_layouts_are_refused(shape):
    with pytest.raises(SpecError, match="softmax"):
        decode(np.zeros(shape))


@pytest.mark.parametrize(
    "params", [{"top_k": 0}, {"activation": "sigmoid"}, {"topk": 3}, {"outputs": 3}], ids=str
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


def test_agrees_with_a_full_sort_on_random_logits():
    values = np.random.default_rng(0).integers(0, 50, (1, 1000)).astype(np.float64)  # many ties
    expected = sorted(range(1000), key=lambda i: (-values[0, i], i))
    for top_k in (1, 5, 1000, 2000):
        assert decode(values, top_k=top_k).class_ids.tolist() == expected[:top_k]
