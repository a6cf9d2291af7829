import itertools

import numpy as np
import pytest

from orthotrace.analysis import similarity
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.dissimilarity import correlation
from orthotrace.analysis.studies.correspondence import (
    accuracy,
    activation_similarities,
    correspondence,
    layer_similarities,
)
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
SHARED = [RNG.standard_normal((20, 8)) for _ in range(3)]
NETWORKS = [
    [shared @ RNG.standard_normal((8, 30)) + RNG.standard_normal((20, 30)) for shared in SHARED] for _ in range(4)
]
RDMS = [np.stack([correlation(layer) for layer in network]) for network in NETWORKS]


@pytest.mark.parametrize("method", ["pearson", "spearman", "norm_difference"])
def test_similarities_of_layers(method):
    found = layer_similarities(RDMS, method)
    assert list(found) == list(itertools.combinations(range(4), 2))
    sign = -1 if method == "norm_difference" else 1
    for (a, b), values in found.items():
        for i, j in itertools.product(range(3), repeat=2):
            expected = sign * compare.METHODS[method](RDMS[a][i][None], RDMS[b][j][None])[0, 0]
            assert values[i, j] == pytest.approx(expected, abs=1e-12)
    assert accuracy(found) == 1


@pytest.mark.parametrize("measure", [similarity.linear_cka, similarity.procrustes, similarity.regression])
def test_similarities_of_activations(measure):
    narrow = [[layer[:, :9] for layer in network] for network in NETWORKS]
    found = activation_similarities(narrow, measure)
    x, y = narrow[1][0], narrow[2][2]
    both = (measure(x, y) + measure(y, x)) / 2
    assert found[1, 2][0, 2] == pytest.approx(-both if measure is similarity.procrustes else both, rel=1e-9)


def test_accuracy_by_a_loop():
    found = {(a, b): RNG.random((3, 3)) for a, b in itertools.combinations(range(4), 2)}
    right = []
    for values in found.values():
        for layer in range(3):
            right.append(np.argmax(values[layer]) == layer)
            right.append(np.argmax(values[:, layer]) == layer)
    assert accuracy(found) == pytest.approx(np.mean(right))


def test_nearest_layers():
    assert correspondence([[0.1, 0.9, 0.3], [0.5, 0.2, 0.4]]).tolist() == [1, 0]


BAD = {
    "one": (lambda: layer_similarities(RDMS[:1]), "two networks or more"),
    "one of activations": (lambda: activation_similarities(NETWORKS[:1], similarity.cca), "two networks or more"),
    "NaN": (lambda: correspondence([[np.nan, 1.0]]), "finite similarities"),
    "vector": (lambda: correspondence([1.0, 2.0]), r"got shape \(2,\)"),
    "other layers": (
        lambda: accuracy({(0, 1): np.ones((2, 3))}),
        r"as many layers, two or more, are needed \(got \[\(2, 3\)",
    ),
    "one layer": (lambda: accuracy({(0, 1): np.ones((1, 1))}), "as many layers"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
