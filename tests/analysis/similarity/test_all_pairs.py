"""All pairs of representations at once: as each pair by itself, and by itself wherever something is wrong."""

import functools
from functools import partial

import numpy as np
import pytest
import torch
from array_draws import Draw

from orthotrace.analysis import similarity
from orthotrace.analysis.similarity import all_pairs as module
from orthotrace.analysis.similarity.all_pairs import by_vectors, pairwise
from orthotrace.core.errors import UserError

G = torch.Generator().manual_seed(0)


def drawn(p):
    return (
        torch.randn(40, p, generator=G, dtype=torch.float64) @ torch.randn(p, p, generator=G, dtype=torch.float64) + 1
    )


XS = [drawn(p) for p in (1, 5, 30, 70)]
YS = [x[:, :3] + torch.randn(40, min(3, x.shape[1]), generator=G) for x in XS[:3]]
BY_VECTORS = {
    "linear_cka": similarity.linear_cka,
    "debiased_cka": similarity.debiased_cka,
    "debiased_cka, lange": partial(similarity.debiased_cka, estimator="lange"),
    "rbf_cka": similarity.rbf_cka,
    "rbf_cka, wide": partial(similarity.rbf_cka, fraction=0.8),
    "distance_correlation": similarity.distance_correlation,
}


def each(measure, xs, ys):
    return np.array([[measure(x, y) for y in ys] for x in xs])


@pytest.mark.parametrize("held", [module.HELD, 4 * 1600, 1])
@pytest.mark.parametrize("name", BY_VECTORS)
def test_it_is_the_measure_of_each_pair(name, held, monkeypatch):
    """Also where not all vectors are held at a time."""
    monkeypatch.setattr(module, "HELD", held)
    measure = BY_VECTORS[name]
    assert by_vectors(measure, XS) is not None
    assert np.allclose(pairwise(measure, XS), each(measure, XS, XS), atol=1e-12)
    assert np.allclose(pairwise(measure, XS, YS), each(measure, XS, YS), atol=1e-12)
    assert np.array_equal(pairwise(measure, XS), pairwise(measure, XS).T)
    # Of any kind of array.
    assert np.allclose(pairwise(measure, [x.numpy() for x in XS]), pairwise(measure, XS), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
@pytest.mark.parametrize("name", BY_VECTORS)
def test_squares_that_are_no_numbers_are_none_of_its_business(name, scale):
    scaled = [scale * x for x in XS]
    assert by_vectors(BY_VECTORS[name], scaled) is not None
    assert np.allclose(pairwise(BY_VECTORS[name], scaled), pairwise(BY_VECTORS[name], XS), atol=1e-9)


def test_a_common_mean_takes_no_digits():
    xs = [x.float() + 1000 for x in XS]
    for measure in BY_VECTORS.values():
        assert np.allclose(pairwise(measure, xs), each(measure, xs, xs), atol=1e-6)


def test_every_measure_that_is_a_cosine_is_among_them():
    assert {name for name, one in similarity.MEASURES.items() if hasattr(one, "cosine")} == {
        name.partition(",")[0] for name in BY_VECTORS
    }


def answer(call):
    try:
        return float(call())
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", BY_VECTORS)
def test_flawed_representations_are_refused_or_answered_as_each_pair_is(name, dtype):
    measure, answered = BY_VECTORS[name], 0
    for seed in range(60):
        d = Draw(seed)
        with np.errstate(over="ignore"):
            x, y = (d.array(d.n, width).astype(dtype) for width in (d.p, d.q))
        plain = answer(lambda: measure(x, y))  # noqa: B023 (called here)
        found = answer(lambda: pairwise(measure, [x], [y])[0, 0])  # noqa: B023
        assert found == (plain if isinstance(plain, str) else pytest.approx(plain, abs=1e-8)), seed
        answered += not isinstance(plain, str)
    assert 20 < answered < 60


def unsymmetric(x, y):
    return float(x.sum() - 2 * y.sum())


@pytest.mark.parametrize("measure", [similarity.procrustes_cosine, similarity.mutual_knn, unsymmetric])
def test_other_measures_are_asked_for_each_pair(measure):
    assert by_vectors(measure, XS) is None
    assert np.array_equal(pairwise(measure, XS, YS), each(measure, XS, YS))
    assert np.allclose(pairwise(measure, XS), each(measure, XS, XS), atol=1e-12)


WRONG = {
    "constant": ([XS[1], torch.ones(40, 3)], "constant"),
    "not finite": ([XS[1], torch.full((40, 3), torch.nan)], "not finite"),
    "other stimuli": ([XS[1], XS[2][:30]], "the same stimuli are needed"),
    "too few": ([XS[1][:2], XS[2][:2]], "at least"),
    "no array": ([XS[1], "x"], "numbers"),
    "none": ([], "xs: a representation or more"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("measure", [similarity.linear_cka, similarity.debiased_cka, similarity.rbf_cka])
def test_what_is_wrong_is_told_as_the_measure_tells_it(case, measure):
    xs, line = WRONG[case]
    with pytest.raises(UserError, match=line):
        pairwise(measure, xs)
    with pytest.raises(UserError):
        pairwise(measure, XS, xs)


def test_a_function_that_wraps_a_measure_is_asked_itself():
    @functools.wraps(similarity.linear_cka)
    def distance(x, y):
        return 1 - similarity.linear_cka(x, y)

    assert np.allclose(pairwise(distance, XS), each(distance, XS, XS), atol=1e-12)


def test_patterns_without_structure_are_left_to_the_measure():
    """Of orthonormal patterns nothing but rounding is left without the diagonal."""
    y = torch.randn(20, 3, generator=G)
    assert by_vectors(similarity.debiased_cka, [torch.eye(20), y]) is None


def test_options_out_of_their_range_are_refused():
    with pytest.raises(UserError, match="fraction"):
        pairwise(partial(similarity.rbf_cka, fraction=-1), XS)
    with pytest.raises(UserError, match="there is no estimator"):
        pairwise(partial(similarity.debiased_cka, estimator="other"), XS)


def test_nothing_is_written_to():
    before = [x.clone() for x in XS]
    for measure in BY_VECTORS.values():
        pairwise(measure, XS)
    assert all(torch.equal(x, kept) for x, kept in zip(XS, before, strict=True))
