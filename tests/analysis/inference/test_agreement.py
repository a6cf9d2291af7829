import numpy as np
import pytest

from orthotrace.analysis.inference import ceiling, ceiling_test
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
SHARED = RNG.random(36)


def test_rdms_that_agree_do_so_better_than_chance():
    stack = SHARED + 0.5 * RNG.random((4, 36))
    lower, p = ceiling_test(stack, permutations=39)
    assert lower == ceiling(stack).lower and p == 1 / 40
    assert ceiling_test(stack, permutations=39) == (lower, p)


def test_p_of_rdms_that_have_nothing_in_common_is_uniform():
    p = np.array([ceiling_test(RNG.random((3, 15)), permutations=9, seed=seed)[1] for seed in range(40)])
    # 4 of 40 are expected at the least, half at .5 and below.
    assert (p < 0.11).sum() <= 11 and 0.25 < (p <= 0.5).mean() < 0.75


@pytest.mark.parametrize("method", ["spearman", "cosine", "tau_a", "corr_cov"])
def test_other_comparisons(method):
    stack = SHARED + 0.2 * RNG.random((3, 36))
    assert ceiling_test(stack, method, permutations=4) == (ceiling(stack, method).lower, 0.2)


def test_what_cannot_be_tested():
    with pytest.raises(UserError, match="at least four stimuli"):
        ceiling_test(RNG.random((3, 3)))
    with pytest.raises(UserError, match="two RDMs or more"):
        ceiling_test(RNG.random((1, 15)))
    with pytest.raises(UserError, match="permutations"):
        ceiling_test(RNG.random((3, 15)), permutations=0)
    holes = RNG.random((3, 15))
    holes[0, 3] = np.nan
    with pytest.raises(UserError, match="single entries are missing"):
        ceiling_test(holes)
