import numpy as np
import pytest
from scipy.optimize import nnls

from orthotrace.analysis.inference import bootstrap, evaluate
from orthotrace.analysis.inference.models import Fixed, Selected, Weighted, as_models
from orthotrace.analysis.rdm import RDMs
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
PARTS = RNG.random((4, 30))
TARGET = PARTS.T @ [0.2, 0, 1.5, 0] + 0.1 * RNG.standard_normal(30)


def test_weights_are_those_of_non_negative_least_squares():
    expected, _ = nnls(PARTS.T, TARGET)
    assert np.allclose(Weighted(PARTS).fit(PARTS @ PARTS.T, PARTS @ TARGET), expected, atol=1e-10)


def test_weights_whatever_the_scale_of_each_rdm():
    scale = np.array([1e-6, 1, 1e6, 3])
    parts = PARTS * scale[:, None]
    found = Weighted(parts).fit(parts @ parts.T, parts @ TARGET)
    assert np.allclose(found * scale, Weighted(PARTS).fit(PARTS @ PARTS.T, PARTS @ TARGET), atol=1e-8)


def test_dependent_rdms_predict_what_the_independent_ones_do():
    parts = np.vstack([PARTS, PARTS[:2] @ np.eye(30), PARTS[2:3] + PARTS[3:]])
    found = Weighted(parts).fit(parts @ parts.T, parts @ TARGET)
    expected, _ = nnls(PARTS.T, TARGET)
    assert (found >= 0).all() and np.allclose(found @ parts, expected @ PARTS, atol=1e-8)


def test_the_selected_rdm_is_the_one_that_correlates_most():
    products, with_data = PARTS @ PARTS.T, PARTS @ TARGET
    best = np.argmax([one @ TARGET / np.linalg.norm(one) for one in PARTS])
    assert np.argmax(Selected(PARTS).fit(products, with_data)) == best
    products[best] = products[:, best] = with_data[best] = 0
    assert np.argmax(Selected(PARTS).fit(products, with_data)) != best


def test_plain_vectors_are_fixed_models():
    found = as_models({"a": [1.0, 2.0, 3.0], "b": Weighted(PARTS)})
    assert isinstance(found["a"], Fixed) and not found["a"].fitted and found["b"].fitted


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: Fixed(PARTS), r"a fixed model has one RDM \(got 4\): see Selected and Weighted"),
        (lambda: Selected(PARTS[0]), "two RDMs or more"),
        (lambda: Weighted(PARTS[:1]), "two RDMs or more"),
        (lambda: Fixed([1.0, np.nan, 2.0]), "a model needs RDMs"),
        (lambda: as_models({}), "no models"),
        (lambda: as_models({"grey": [[[1.0]]]}), "model 'grey': a model needs RDMs"),
    ],
)
def test_refused(call, line):
    with pytest.raises(UserError, match=line):
        call()


LAYERS = {"relu1": RNG.random((8, 3)), "head": RNG.random((8, 2))}
BRAIN = RNG.random((4, 28))


@pytest.mark.parametrize(
    "scored", [evaluate, lambda *given: bootstrap(*given, resamples=5)], ids=["evaluate", "bootstrap"]
)
def test_rdms_are_models_under_their_own_names(scored):
    rdms = RDMs.of(LAYERS, "euclidean")
    found = scored(rdms, BRAIN)
    assert found.models == ("relu1", "head")
    assert np.array_equal(found.scores, scored(dict(zip(found.models, rdms, strict=True)), BRAIN).scores)


@pytest.mark.parametrize(
    ("descriptors", "names"),
    [
        ({"name": ["a", "b", "a"], "seed": [0, 0, 1]}, ["a, 0", "b, 0", "a, 1"]),
        ({"name": ["a", "b", "a"], "method": ["x"] * 3, "seed": [0, 0, 1]}, ["a, 0", "b, 0", "a, 1"]),
        ({"method": ["x"] * 3, "seed": [0, 1, 2]}, ["0", "1", "2"]),
    ],
)
def test_names_say_what_tells_rdms_apart(descriptors, names):
    given = {key: np.array(values) for key, values in descriptors.items()}
    assert list(as_models(RDMs(RNG.random((3, 6)), rdm_descriptors=given))) == names


@pytest.mark.parametrize("descriptors", [{}, {"name": np.array(["a", "b", "a"])}])
def test_rdms_whose_names_do_not_tell_them_apart_are_refused(descriptors):
    with pytest.raises(UserError, match="give RDMs a descriptor 'name' that tells them apart"):
        as_models(RDMs(RNG.random((3, 6)), rdm_descriptors=descriptors))
