"""Values that were 0, or never finite, on the calibration frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgevision.converters.int8.schemes import SCHEMES
from edgevision.errors import ModelError


def test_dead_activations_and_weights_are_guarded_and_reported(kit: Any) -> None:
    model = kit.graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            c = Conv(x, none, minus)
            r = Relu(c)
            y = Conv(r, w, b) }""",
        none=np.zeros((16, 16, 1, 1), np.float32), minus=np.full(16, -1, np.float32),
        w=kit.normal(16, 16, 1, 1), b=kit.normal(16, 1)[:, 0],
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 4, 4), scheme="x86")
    assert any("'r' was 0 everywhere" in w for w in made.report["warnings"])
    assert made.report["int8"] == ["node_c", "node_y"]
    assert kit.agreement(model, made.model, kit.noise(1, 16, 4, 4), "y") > 33


@pytest.mark.parametrize("scheme", SCHEMES)
def test_branch_that_its_weights_make_zero_stays_int8(kit: Any, scheme: str) -> None:
    model = kit.graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            c = Conv(x, vanishing, minus)
            r = Relu(c)
            t = Transpose<perm=[0,1,3,2]>(r)
            d = Conv(t, w)
            l = Conv(x, w1)
            j = Concat<axis=1>(d, l)
            y = Conv(j, w2) }""",
        vanishing=np.full((16, 16, 1, 1), 1e-20, np.float32), minus=np.full(16, -1, np.float32),
        w=kit.normal(16, 16, 1, 1), w1=kit.normal(16, 16, 1, 1), w2=kit.normal(16, 32, 1, 1),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 4, 4), scheme=scheme)
    assert {"node_c", "node_d", "node_l", "node_j", "node_y"} <= set(made.report["int8"])
    assert kit.agreement(model, made.model, kit.noise(1, 16, 4, 4), "y") > 33


# The second half of x wakes a branch that the calibration frames leave at 0.
SLEEPING = {
    "relu": "c = Conv(x, second)  r = Relu(c)",
    "clip": "c = Conv(x, second)  r = Clip(c, zero, top)",
    "moved": "c = Conv(x, second)  q = Relu(c)  r = MaxPool<kernel_shape=[1,1]>(q)",
    "layers": "c = Conv(x, second)  q = Relu(c)  d = Conv(q, w)  r = Relu(d)",
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("text", SLEEPING.values(), ids=SLEEPING)
def test_branch_that_was_zero_on_all_calibration_frames_may_wake(
    kit: Any, scheme: str, text: str
) -> None:
    second = np.abs(kit.normal(16, 32, 1, 1))
    second[:, :16] = 0
    model = kit.graph(
        f"""g (float[1,32,4,4] x) => (float[1,16,4,4] y, float[1,16,4,4] z) {{
            {text}
            y = Conv(r, w)
            l = Conv(x, w1)
            z = Conv(l, w) }}""",
        second=second, w=kit.normal(16, 16, 1, 1), w1=kit.normal(16, 32, 1, 1),
        zero=np.array(0, np.float32), top=np.array(6, np.float32),
    )  # fmt: skip

    def frames(*, awake: bool) -> Iterator[dict[str, np.ndarray]]:
        for feed in kit.noise(1, 32, 4, 4)():
            feed["x"][:, 16:] = np.abs(feed["x"][:, 16:]) if awake else 0
            yield feed

    made = kit.quantize(model, lambda: frames(awake=False), scheme=scheme)
    assert kit.agreement(model, made.model, lambda: frames(awake=True), "y") > 30
    assert kit.agreement(model, made.model, lambda: frames(awake=False), "z") > 30
    assert "0 in every calibration picture" in made.report["float"]["node_y"]
    assert any("was 0 everywhere" in w for w in made.report["warnings"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_was_never_finite_stays_float(kit: Any, scheme: str) -> None:
    model = kit.graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            l = Log(minus)
            n = Mul(x, l)
            c = Conv(n, w)
            s = IsNaN(c)
            o = Conv(x, w)
            h = Where(s, x, c)
            j = Add(h, o)
            y = Conv(j, w) }""",
        minus=np.array(-1, np.float32), w=kit.normal(16, 16, 1, 1),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 4, 4), scheme=scheme)
    assert made.report["float"]["node_c"] == "beside values that were never finite"
    assert {"node_o", "node_y"} <= set(made.report["int8"])
    assert any("'n' was never finite" in w for w in made.report["warnings"])
    assert kit.agreement(model, made.model, kit.noise(1, 16, 4, 4), "y") > 33


@pytest.mark.parametrize("scheme", SCHEMES)
def test_model_that_is_never_finite_says_why_nothing_is_left(kit: Any, scheme: str) -> None:
    model = kit.graph(
        "g (float[1,16] x) => (float[1,16] y) { y = MatMul(x, w) }", w=kit.normal(16, 16)
    )
    with pytest.raises(ModelError, match="never finite"):
        kit.quantize(
            model, lambda: iter([{"x": np.full((1, 16), np.nan, np.float32)}]), scheme=scheme
        )


@pytest.mark.filterwarnings("error")
def test_inputs_too_large_for_second_moments_are_rounded_to_nearest_and_reported(kit: Any) -> None:
    model = kit.graph("g (float[1,16,4,4] x) => (float[1,16,4,4] y) { y = Conv(x, w) }",
                  w=kit.normal(16, 16, 1, 1))  # fmt: skip

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for feed in kit.noise(1, 16, 4, 4)():
            yield {"x": feed["x"] * np.float32(1e25)}  # squared it is beyond float32

    made = kit.quantize(model, feeds, scheme="trt")
    assert any("'node_y'" in w and "too large" in w for w in made.report["warnings"])
    plain = kit.quantize(model, feeds, scheme="trt", rounding=False)
    assert not plain.report["warnings"]
    integers = [kit.constants(m.model)["node_y/weights/integers"] for m in (made, plain)]
    np.testing.assert_array_equal(*integers)
