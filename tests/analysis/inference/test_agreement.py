import numpy as np
import pytest

from orthotrace.analysis.inference import ceiling, ceiling_test
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
SHARED = RNG.random(36)


def test_rdms_that_agree_do_so_better_than_chance():
    stack = SHARED + 0.5 * RNG.random((4, 36))
    lower, p = ceiling_test(stack, permutations=199)
    assert lower == ceiling(stack).lower and p == 1 / 200
    assert ceiling_test(stack, permutations=199) == (lower, p)


@pytest.mark.parametrize("method", ["pearson", "spearman", "cosine"])
def test_p_of_rdms_that_have_nothing_in_common_is_uniform(method):
    p = np.array([ceiling_test(RNG.random((3, 15)), method, 19, seed)[1] for seed in range(60)])
    # 3 of 60 are expected below .06, half below .5.
    assert (p < 0.06).sum() <= 9 and 0.3 < (p <= 0.5).mean() < 0.7


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
