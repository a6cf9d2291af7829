import numpy as np
import pytest

from orthotrace.analysis.inference import partial, semi_partial, variance_partition
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(7)
MODELS = RNG.random((3, 45))
# With ties.
MODELS[2] = np.round(MODELS[2] * 3)
DATA = MODELS[0] + 0.5 * MODELS[1] * MODELS[2] + 0.3 * RNG.random((2, 45))
# Of mne_rsa.rsa(list(DATA), list(MODELS), metric=...), mne-rsa 1.0.
MNE_RSA = {
    "pearson": [
        [0.8996029538877879, 0.8152124416206492, 0.8759973855740619],
        [0.8801578861093639, 0.832195283612939, 0.8509290345034521],
    ],
    "spearman": [
        [0.8513787895075254, 0.7587744264269716, 0.8106317760493178],
        [0.8460994265173435, 0.8125874508962609, 0.8083899421592007],
    ],
}


@pytest.mark.parametrize("method", MNE_RSA)
def test_values_of_mne_rsa(method):
    assert np.allclose(partial(DATA, MODELS, method), MNE_RSA[method], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", MNE_RSA)
def test_the_square_of_a_semi_partial_correlation_is_the_unique_share(method):
    unique = variance_partition(DATA, MODELS, method=method).unique
    assert np.allclose(semi_partial(DATA, MODELS, method) ** 2, np.stack(list(unique.values()), axis=1), atol=1e-12)


def test_what_no_entry_is_known_of_is_left_out():
    holes, gaps = MODELS.copy(), DATA.copy()
    holes[1, 4] = gaps[1, 9] = np.nan
    found = partial(gaps, holes)
    for number, places in enumerate(([4], [4, 9])):
        kept = np.delete(np.arange(45), places)
        assert np.allclose(found[number], partial(DATA[[number]][:, kept], MODELS[:, kept]), atol=1e-12)


BAD = [
    (DATA, MODELS[:1], "model_rdms: at least 2 models"),
    (DATA, np.vstack([MODELS, MODELS[:1] + 2 * MODELS[1:2]]), "model 0 is a sum of the other models"),
    (DATA, np.vstack([MODELS, np.ones(45)]), "model RDM 3 is constant"),
    (np.ones((1, 45)), MODELS, "RDM 0 is constant"),
    (DATA[:, :4], MODELS[:, :4], "share 4 entries: 5 are needed"),
    (DATA, MODELS[:, :3], "of one size"),
    (MODELS[:1], MODELS, "RDM 0 is a sum of the models without model 1: nothing is left of it"),
]


@pytest.mark.parametrize(("rdms", "models", "line"), BAD)
def test_models_without_a_part_of_their_own_are_named(rdms, models, line):
    with pytest.raises(UserError, match=line):
        partial(rdms, models)


def test_another_comparison_is_refused():
    with pytest.raises(UserError, match="there is no comparison 'kendall'"):
        partial(DATA, MODELS, "kendall")
