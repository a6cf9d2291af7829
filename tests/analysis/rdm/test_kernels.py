"""Whitened comparisons by one pass over triangles, against kernels that are written out."""

import numpy as np
import pytest

from orthotrace.analysis.rdm import compare, kernels
from orthotrace.analysis.rdm.correlate import WIDE

RNG = np.random.default_rng(0)


def dense(stack, other, centre):
    """tr(G_a G_b) over norms, by matrices."""

    def of(one):
        full = np.zeros((n, n))
        full[np.triu_indices(n, 1)] = one - one.mean() * centre
        full += full.T
        h = np.eye(n) - 1 / n
        return -0.5 * h @ full @ h

    n = round((1 + (1 + 8 * stack.shape[1]) ** 0.5) / 2)
    a, b = ([of(one) for one in some] for some in (stack, other))
    return np.array([[np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("n", [3, 4, 50, 260])
def test_one_pass_gives_what_kernels_give(n, centre):
    assert n < 260 or n * (n - 1) // 2 > 2 * WIDE
    stack, other = RNG.random((4, n * (n - 1) // 2)), RNG.random((3, n * (n - 1) // 2))
    for second in (stack, other):
        found = kernels.of_triangles(stack, second, centre)
        assert np.allclose(found, dense(stack, second, centre), atol=1e-12)
    method = compare.corr_cov if centre else compare.cosine_cov
    assert np.array_equal(method(stack, other), kernels.of_triangles(stack, other, centre))


DOUBTFUL = {
    "missing": np.where(np.arange(45) == 7, np.nan, RNG.random((2, 45))),
    "small": 1e-200 * RNG.random((2, 45)),
    "large": 1e200 * RNG.random((2, 45)),
    "zeros": np.zeros((2, 45)),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_is_doubtful_is_not_done_in_one_pass(case):
    assert kernels.of_triangles(DOUBTFUL[case], DOUBTFUL[case], centre=True) is None
    assert kernels.of_triangles(DOUBTFUL[case], DOUBTFUL[case][::-1].copy(), centre=True) is None


def test_a_kernel_that_is_a_small_difference_is_written_out():
    """Of equal distances it has 1 / n of what is summed up."""
    n = 1100
    stack = 1 + 1e-3 * RNG.random((2, n * (n - 1) // 2))
    assert kernels.of_triangles(stack, stack, centre=False) is None
    assert np.allclose(compare.cosine_cov(stack), dense(stack, stack, False), atol=1e-12)


def test_constant_entries_off_the_diagonal_are_refused_by_name_as_before():
    stack = np.stack([RNG.random(45), np.ones(45)])
    with pytest.raises(compare.UserError, match="RDM 1 is constant"):
        compare.corr_cov(stack)
