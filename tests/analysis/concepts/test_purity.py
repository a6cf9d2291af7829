import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from orthotrace.analysis.concepts.purity import ConceptFeatures, best_filter, concept_vector, linear_probe, purity
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


def images(n: int, directions: np.ndarray, noise: float = 1.0, seed: int = 0) -> ConceptFeatures:
    """Features that hold each concept along its direction, (k, channels), and noise."""
    rng = np.random.default_rng(seed)
    has = rng.random((n, len(directions))) < 0.4
    return ConceptFeatures(has @ directions + noise * rng.standard_normal((n, directions.shape[1])), has)


# Concept 0 along channel 2; concept 1 spread over all channels, so that no single one tells it well.
DIRECTIONS = np.stack([3.0 * np.eye(8)[2], np.tile([1.2, -1.2], 4)])
TRAIN, VALIDATION, TEST = (images(200, DIRECTIONS, seed=seed) for seed in range(3))


def test_axis_by_axis_against_all_other_images():
    activations = RNG.standard_normal((60, 5))
    has = RNG.random((60, 3)) < 0.3
    found = purity(activations, has)
    expected = [roc_auc_score(has[:, j], activations[:, j]) for j in range(3)]
    assert np.allclose(found.auc.value, expected, atol=1e-12) and found.scores.shape == (60, 3)
    assert (found.auc.low < expected).all() and (expected < found.auc.high).all()


def test_a_turned_axis_is_below_chance():
    has = np.arange(40)[:, None] < [10]
    assert purity(-1.0 * has, has).auc.value[0] == 0


def test_readings_find_what_is_there():
    single, probe = best_filter(VALIDATION, TEST), linear_probe(TRAIN, VALIDATION, TEST)
    vector = concept_vector(TRAIN, TEST)
    assert single.chosen[0] == 2 and single.chosen[1] % 2 == 0
    assert single.auc.value[0] > 0.95 > 0.9 > single.auc.value[1]
    # The best that there is: the direction itself.
    best = roc_auc_score(TEST.has[:, 1], TEST.features @ DIRECTIONS[1])
    assert best > 0.97 and probe.auc.value[1] > best - 0.03 and vector.auc.value[1] > best - 0.03
    gain = probe.minus(single)
    assert gain.p[1] < 1e-4 and gain.low[1] > 0 and gain.value[1] == probe.auc.value[1] - single.auc.value[1]


def test_the_filter_is_not_chosen_on_test_images():
    """Filter 0 is best in validation, filter 1 on test: the first is chosen, however poor it is there."""
    has = np.arange(40)[:, None] < [20]
    noise = RNG.standard_normal((40, 1))
    found = best_filter(ConceptFeatures(np.hstack([has, noise]), has), ConceptFeatures(np.hstack([noise, has]), has))
    assert found.chosen == (0,)
    assert found.auc.value[0] == pytest.approx(roc_auc_score(has[:, 0], noise[:, 0])) and found.auc.value[0] < 1


DETECTORS = {
    "filter": lambda test: best_filter(VALIDATION, test),
    "probe": lambda test: linear_probe(TRAIN, VALIDATION, test),
    "vector": lambda test: concept_vector(TRAIN, test),
}


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_test_image_is_scored_alone(detector):
    """Other test images, and which concepts they have, change no score but their own."""
    whole = DETECTORS[detector](TEST)
    other = ConceptFeatures(np.vstack([TEST.features[:50], 9 + 5 * TEST.features[50:]]), ~TEST.has)
    found = DETECTORS[detector](other)
    assert np.allclose(found.scores[:50], whole.scores[:50], atol=1e-12) and found.chosen == whole.chosen
    assert not np.allclose(found.scores[50:], whole.scores[50:])


def test_the_strength_is_the_one_that_is_best_in_validation():
    """Few images of many channels: the weakest penalty fits noise, the strongest is the mean difference."""
    directions = 0.5 * np.ones((1, 60))
    train, validation, test = (images(n, directions, seed=seed) for n, seed in ((40, 3), (400, 4), (400, 5)))
    found = linear_probe(train, validation, test)
    each = [linear_probe(train, validation, test, [one]).auc.value[0] for one in (0.01, found.chosen[0])]
    assert found.chosen[0] > 0.01 and found.auc.value[0] == each[1] > each[0]


def test_units_of_channels_do_not_matter_to_the_probe():
    units = np.array([1e-3, 1, 1e3, 1, 1, 1, 1, 1])
    scaled = [ConceptFeatures(part.features * units + 7, part.has) for part in (TRAIN, VALIDATION, TEST)]
    assert np.allclose(
        linear_probe(*scaled, [1.0]).scores, linear_probe(TRAIN, VALIDATION, TEST, [1.0]).scores, atol=1e-2
    )


def test_a_channel_that_is_constant_in_training_is_not_read():
    train = ConceptFeatures(np.where(np.arange(8) == 7, 5.0, TRAIN.features), TRAIN.has)
    found = linear_probe(train, VALIDATION, TEST, [1.0])
    moved = ConceptFeatures(TEST.features + 1e6 * (np.arange(8) == 7), TEST.has)
    assert np.array_equal(linear_probe(train, VALIDATION, moved, [1.0]).scores, found.scores)


def test_separable_images_need_no_patience():
    """Warnings are errors: neither fit may stop before it has converged."""
    train = images(60, 50 * np.eye(2, 300), seed=6)
    for found in (linear_probe(train, train, train), concept_vector(train, train)):
        assert (found.auc.value == 1).all()


X, HAS = TEST.features, TEST.has
HOLE = np.where(np.arange(200)[:, None] == 4, np.nan, X)
BAD = {
    "axes": (lambda: purity(X[:, :1], HAS), "an axis for each of 2 concepts is needed, got 1 axes"),
    "NaN": (lambda: purity(HOLE, HAS), "test: the features of image 4 are not finite"),
    "none": (lambda: purity(X, HAS & [True, False]), "test: no image has concept 1"),
    "every": (lambda: best_filter(ConceptFeatures(X, HAS | True), TEST), "validation: every image has concept 0"),
    "train": (lambda: concept_vector(ConceptFeatures(X, HAS & False), TEST), "train: no image has concept 0"),
    "one image": (lambda: purity(X[:1], HAS[:1]), "image has concept 0: nothing to tell apart"),
    "no image": (lambda: purity(X[:0], HAS[:0]), "image has concept 0: nothing to tell apart"),
    "number": (lambda: purity(X, HAS[:7]), r"test: .* got \(200, 8\) and \(7, 2\)"),
    "labels": (lambda: purity(X, HAS * 3), "test: each image has a concept or not"),
    "no concepts": (lambda: purity(X, HAS[:, :0]), r"\(200, 0\)"),
    "channels": (
        lambda: linear_probe(TRAIN, ConceptFeatures(X[:, :5], HAS), TEST),
        "got train 8 and 2, validation 5 and 2, test 8 and 2",
    ),
    "concepts": (lambda: best_filter(ConceptFeatures(X, HAS[:, :1]), TEST), "got validation 8 and 1, test 8 and 2"),
    "strength": (lambda: linear_probe(TRAIN, VALIDATION, TEST, [1.0, 0.0]), "strengths above 0"),
    "no strengths": (lambda: linear_probe(TRAIN, VALIDATION, TEST, []), "strengths above 0"),
    "constant": (
        lambda: concept_vector(ConceptFeatures(np.ones_like(X), HAS), TEST),
        "train: all features are constant",
    ),
    "other images": (lambda: purity(X, HAS).minus(purity(X[1:], HAS[1:])), "the same test images"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
