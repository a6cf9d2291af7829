import numpy as np
import pytest

from orthotrace.analysis.inference.resampling import BLOCK, draw, moments, quadratic
from orthotrace.analysis.inference.samplers import resampled
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("least", [1, 2, 3])
def test_draws_have_enough_different_things(least):
    drawn = draw(5, 400, np.random.default_rng(1), least)
    assert (drawn.sum(axis=1) == 5).all() and (drawn == drawn.round()).all()
    assert ((drawn > 0).sum(axis=1) >= least).all()


def test_draws_are_as_often_as_chance_says():
    drawn = draw(4, 20000, np.random.default_rng(0))
    assert np.allclose(drawn.mean(0), 1, atol=0.03) and np.allclose(drawn.var(0), 0.75, atol=0.03)


@pytest.mark.parametrize("n", [5, BLOCK, BLOCK + 7, 2 * BLOCK + 1])
def test_quadratic_forms(n):
    matrix = RNG.standard_normal((n, n))
    matrix += matrix.T
    np.fill_diagonal(matrix, 0)
    weights = draw(n, 3, RNG)
    assert np.allclose(quadratic(matrix, weights), [w @ matrix @ w for w in weights], rtol=1e-10)


@pytest.mark.parametrize("centre", [True, False])
def test_moments_are_those_of_the_resampled_rdms(centre):
    stack = RNG.random((4, 66)) + np.array([[0], [5], [0], [1]])
    weights = draw(12, 20, RNG, least=3)
    for found, w in zip(moments(stack, weights, centre), weights, strict=True):
        made = resampled(stack, w)
        expected = np.cov(made, bias=True) if centre else made @ made.T / made.shape[1]
        assert np.allclose(found, expected, atol=1e-12)
    skipped = moments(stack, weights, centre, skip=2)
    assert (skipped[:, 0, 1] == 0).all() and np.allclose(
        skipped[:, 1, 2:], moments(stack, weights, centre)[:, 1, 2:], atol=1e-12
    )


def test_a_resample_leaves_out_a_stimulus_with_its_copy():
    vector = RNG.random(28)
    w = np.array([2, 0, 1, 3, 0, 1, 1, 0.0])
    at = np.repeat(np.arange(8), w.astype(int))
    whole = square(vector)
    expected = [whole[a, b] for place, a in enumerate(at) for b in at[place + 1 :] if a != b]
    assert np.array_equal(resampled(vector[None], w)[0], expected)


@pytest.mark.parametrize(("call", "line"), [((4, 5, 3), "at least 5"), ((4, 0, 1), "at least one resample")])
def test_refused(call, line):
    number, resamples, least = call
    with pytest.raises(UserError, match=line):
        draw(number, resamples, RNG, least)
