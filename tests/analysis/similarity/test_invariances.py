import numpy as np
import pytest

from orthotrace.analysis.similarity.invariances import check, declare, declared
from orthotrace.core.errors import UserError


def rms(x, y):
    """Of the difference of all distances from the mean pattern."""
    x, y = (np.linalg.norm(one - one.mean(0), axis=1) for one in (np.asarray(x), np.asarray(y)))
    return float(np.sqrt(np.mean((x - y) ** 2)))


RIGHT = ("orthogonal", "permutation", "translation")


def test_a_right_declaration_passes():
    check(declare(*RIGHT, metric=True)(rms))


@pytest.mark.parametrize(
    ("invariant", "options", "line"),
    [
        ((*RIGHT, "scaling"), {"metric": True}, "rms is not invariant to scaling"),
        (RIGHT[:2], {"metric": True}, "rms is invariant to translation, undeclared"),
        (RIGHT, {"metric": True, "symmetric": False}, "rms: symmetric is declared wrongly"),
        (RIGHT, {}, "rms: of equal representations it is not 1"),
    ],
)
def test_wrong_declarations_are_told(invariant, options, line):
    with pytest.raises(AssertionError, match=line):
        check(declare(*invariant, **options)(rms))


def test_a_distance_that_is_no_metric_is_told():
    @declare(*RIGHT, metric=True)
    def squared(x, y):
        return rms(x, y) ** 4

    with pytest.raises(AssertionError, match="triangle inequality"):
        for seed in range(20):
            check(squared, seed)


def test_what_is_not_declared():
    with pytest.raises(UserError, match="<lambda> declares no invariances"):
        declared(lambda x, y: 1.0)
    with pytest.raises(UserError, match="there is no transformation 'rotation'; there are: orthogonal"):
        declare("rotation")
