"""Peak memory, against looking at every step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.estimate.liveness import peak_bytes

LIVES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 100)).map(
        lambda life: (min(life[:2]), max(life[:2]), life[2])
    ),
    max_size=20,
)


def test_nothing_needs_nothing():
    assert peak_bytes([]) == 0


def test_a_tensor_is_there_at_its_first_and_its_last_step():
    assert peak_bytes([(0, 1, 10), (1, 2, 7)]) == 17
    assert peak_bytes([(0, 1, 10), (2, 3, 7)]) == 10


@given(LIVES)
def test_it_is_the_largest_sum_over_all_steps(lives):
    steps = range(max((last for _, last, _ in lives), default=0) + 1)
    sums = [sum(size for first, last, size in lives if first <= at <= last) for at in steps]
    assert peak_bytes(lives) == max(sums, default=0)
