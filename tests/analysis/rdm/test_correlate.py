import numpy as np
import pytest

from orthotrace.analysis.rdm import correlate


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("entries", [45, correlate.WIDE, 3 * correlate.WIDE + 5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_pass_gives_what_the_steps_give(centre, entries, dtype):
    rng = np.random.default_rng(0)
    stack = (rng.random((4, entries)) + np.linspace(0, 3, entries)).astype(dtype)
    other = rng.random((3, entries)).astype(dtype)
    for second in (stack, other):
        found = correlate.in_one_pass(stack, second, centre)
        exact = [one.astype(np.float64) for one in (stack, second)]
        steps = correlate.in_steps(exact[0], exact[0] if second is stack else exact[1], centre)
        assert np.allclose(found, steps, atol=1e-13)


DOUBTFUL = {
    "a mean that hides the variance": 1e9 + np.random.default_rng(0).random((2, 45)),
    "constant": np.ones((2, 45)),
    "missing": np.where(np.arange(45) == 7, np.nan, np.random.default_rng(0).random((2, 45))),
    "infinite": np.where(np.arange(45) == 7, np.inf, np.random.default_rng(0).random((2, 45))),
    "small": 1e-200 * np.random.default_rng(0).random((2, 45)),
    "large": 1e200 * np.random.default_rng(0).random((2, 45)),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_is_doubtful_is_not_done_in_one_pass(case):
    stack = DOUBTFUL[case]
    assert correlate.in_one_pass(stack, stack, centre=True) is None
    assert correlate.in_one_pass(stack, stack[::-1].copy(), centre=True) is None
