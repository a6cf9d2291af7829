"""Products tile by tile: every RDM beside a dense one, to the same bits for any number of threads."""

import array_oracles
import numpy as np
import pytest
import torch
from array_calls import differs
from array_cases import PATTERNS
from array_draws import Draw

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import patterns, pieces, products, rounding
from orthotrace.core.errors import UserError

N, P = 45, 30


@pytest.fixture(params=[7, 44, 100])
def small_tiles(request, monkeypatch):
    monkeypatch.setattr(products, "TILE", request.param)
    monkeypatch.setattr(rounding, "TILE", request.param)
    # Means over all stimuli of a few features.
    monkeypatch.setattr(rounding, "AVERAGED", 8 * N)
    monkeypatch.setattr(rounding, "ROWS", 10)


def dense(x, name):
    """By differences, pair by pair."""
    x = x.astype(np.longdouble)
    rows, columns = np.triu_indices(len(x), 1)
    if name == "correlation":
        x = x - x.mean(axis=1, keepdims=True)
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))
    if name == "norm_difference":
        return np.abs(length[rows] - length[columns])[:, 0]
    if name in ("correlation", "cosine", "unit_euclidean"):
        x = x / length
    if name == "cityblock":
        return np.abs(x[rows] - x[columns]).sum(axis=1)
    squares = ((x[rows] - x[columns]) ** 2).sum(axis=1)
    return {"correlation": squares / 2, "cosine": squares / 2, "squared_euclidean": squares}.get(name, np.sqrt(squares))


rng = np.random.default_rng(3)
PLAIN = rng.standard_normal((N, P)) + 1
NEAR = np.where(np.arange(N)[:, None] % 3 == 0, PLAIN, PLAIN[1] + 1e-5 * PLAIN)
ONE = np.where(np.arange(N)[:, None] == 31, PLAIN[3] + 1e-5 * PLAIN[31], PLAIN)
GIVEN = {
    "one pair nearly the same": ONE,
    "plain": PLAIN,
    "some nearly the same": NEAR,
    "large": 1e100 * PLAIN,
    "alike": PLAIN[0] + 1e-6 * PLAIN,
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", rdm.MEASURES)
def test_rdms_of_many_tiles_are_those_of_dense_ones(small_tiles, name, given):
    x = GIVEN[given]
    options = {} if name == "cityblock" else {"block": 8}
    # Lengths of numbers near 1 are rounded before they are subtracted.
    rounded = 1e-15 * np.linalg.norm(x, axis=1).max() if name == "norm_difference" else 0
    assert np.allclose(rdm.MEASURES[name](x, **options), dense(x, name).astype(float), rtol=1e-8, atol=rounded)


@pytest.mark.parametrize("given", ["plain", "one pair nearly the same", "some nearly the same", "alike"])
@pytest.mark.parametrize("name", ["correlation", "cosine", "squared_euclidean"])
def test_those_in_float32_too(small_tiles, monkeypatch, name, given):
    monkeypatch.setattr(patterns, "LARGE", 0)
    x = GIVEN[given].astype(np.float32)
    found, right = rdm.MEASURES[name](x, block=8), dense(x.astype(float), name).astype(float)
    assert np.allclose(found, right, rtol=1e-4, atol=1e-6 * right.max())


@pytest.mark.parametrize("name", ["correlation", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("given", ["plain", "alike"])
def test_they_are_the_same_to_the_bit_for_any_number_of_threads(small_tiles, monkeypatch, name, dtype, given):
    monkeypatch.setattr(patterns, "LARGE", 0)
    monkeypatch.setattr(pieces, "threads", torch.get_num_threads)
    before, x = torch.get_num_threads(), GIVEN[given].astype(dtype)
    found = []
    for number in (1, 3):
        torch.set_num_threads(number)
        found.append(rdm.MEASURES[name](x, block=8))
    torch.set_num_threads(before)
    assert np.array_equal(*found)


def test_all_stimuli_that_are_undefined_are_told_though_they_are_in_several_tiles(small_tiles):
    x = PLAIN.copy()
    x[[3, 20, 44]] = 1
    with pytest.raises(patterns.UndefinedPatternsError) as line:
        rdm.correlation(x)
    assert line.value.stimuli == [3, 20, 44]
    # What was begun has ended, though the error is held.
    assert pieces._OPEN.here == 0


def answer(name, x, **options):
    try:
        return rdm.MEASURES[name](x, **options)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("name", [name for name in rdm.MEASURES if name != "cityblock"])
def test_flawed_patterns_are_refused_or_right_in_tiles_as_they_are_whole(monkeypatch, name):
    tolerance, beside = PATTERNS[name]
    answered = 0
    for seed in range(40):
        d = Draw(seed)
        x = d.array(d.n + 4, d.p)
        with monkeypatch.context() as small:
            for module in (products, rounding):
                small.setattr(module, "TILE", 3)
            small.setattr(rounding, "ROWS", 4)
            found = answer(name, x, block=2)
        if isinstance(found, str):
            assert found == answer(name, x)
        else:
            size = {"one": 1.0, "result": 0.0, "largest": np.abs(x).max()}[beside]
            right = np.asarray(getattr(array_oracles, name)(x))
            assert not differs(found, right, tolerance, False, size), seed
            answered += 1
    assert answered > 20


def test_the_matrix_is_never_there_as_a_whole(monkeypatch):
    largest = []
    before = products._products

    def seen(*given):
        found = before(*given)
        largest.append(found.numel())
        return found

    monkeypatch.setattr(products, "_products", seen)
    rdm.correlation(np.random.default_rng(0).standard_normal((2100, 3)))
    assert max(largest) == products.TILE**2 and len(largest) == 6
