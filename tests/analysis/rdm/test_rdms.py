import itertools
from functools import partial

import numpy as np
import pytest
import torch

from orthotrace.analysis import rdm
from orthotrace.analysis.rdm import compare
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.rdm.rdms import RDMs, check_comparable, joined
from orthotrace.analysis.rdm.whitened import crossnobis
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
LAYERS = {"conv": RNG.standard_normal((8, 3, 4)), "fc": RNG.standard_normal((8, 6))}
KINDS = ["cat", "dog", "cat", "eel", "dog", "dog", "cat", "eel"]


@pytest.fixture
def made() -> RDMs:
    return RDMs.of(LAYERS, "euclidean", {"kind": KINDS, "image": np.arange(8)})


def test_made_of_activations(made):
    assert made.measure == "euclidean" and len(made) == 2 and made.stimuli == 8
    assert made.rdm_descriptors["name"].tolist() == ["conv", "fc"]
    assert np.array_equal(made.dissimilarities[1], rdm.euclidean(LAYERS["fc"]))
    assert np.array_equal(np.asarray(made), made.dissimilarities)
    assert np.array_equal(np.asarray(made, dtype=np.float32), made.dissimilarities.astype(np.float32))


@pytest.mark.parametrize(
    "given", [LAYERS["fc"], torch.from_numpy(LAYERS["fc"]), [LAYERS["fc"]], {"0": LAYERS["fc"].tolist()}]
)
def test_of_one_or_several_and_by_any_function(given):
    def mine(patterns):
        return rdm.custom(patterns, lambda a, b: np.abs(a - b).max())

    found = RDMs.of(given, mine)
    assert found.measure == "mine" and np.allclose(found.dissimilarities, mine(LAYERS["fc"]))


def test_subsets_keep_the_descriptors(made):
    assert made.subset(name="fc").rdm_descriptors["name"].tolist() == ["fc"]
    assert np.array_equal(made.subset(name=["fc", "conv"]).dissimilarities, made.dissimilarities)
    part = made.subset_patterns(kind=["cat", "eel"])
    kept = [0, 2, 3, 6, 7]
    assert part.pattern_descriptors["image"].tolist() == kept
    assert np.allclose(part.dissimilarities[1], rdm.euclidean(LAYERS["fc"][kept]))


def test_patterns_in_another_order(made):
    order = [5, 0, 7, 3]
    assert np.allclose(made.take_patterns(order).dissimilarities[1], rdm.euclidean(LAYERS["fc"][order]))
    flags = np.isin(np.arange(8), order)
    assert np.allclose(made.take_patterns(flags).dissimilarities[1], rdm.euclidean(LAYERS["fc"][sorted(order)]))


def test_averaged_by_category_against_a_loop(made):
    kinds = sorted(set(KINDS))
    for one, matrix in zip(made.averaged("kind").dissimilarities, made.matrices(), strict=True):
        expected = [
            np.mean([matrix[i, j] for i in range(8) for j in range(8) if (KINDS[i], KINDS[j]) == pair])
            for pair in itertools.combinations(kinds, 2)
        ]
        assert np.allclose(one, expected, atol=1e-12)
    assert made.averaged("kind").pattern_descriptors["kind"].tolist() == kinds


def test_ranked_and_means(made):
    from scipy.stats import rankdata

    assert np.array_equal(made.ranked().dissimilarities, rankdata(made.dissimilarities, axis=1))
    assert made.ranked().measure == "euclidean (ranks)"
    assert np.array_equal(RDMs([3.0, np.nan, 1.0]).ranked().dissimilarities, [[2, np.nan, 1]], equal_nan=True)
    assert np.allclose(made.mean().dissimilarities[0], made.dissimilarities.mean(0))
    twice = joined([made, made.take([1])])
    means = twice.mean(by="name")
    assert means.rdm_descriptors["name"].tolist() == ["conv", "fc"]
    assert np.allclose(means.dissimilarities, made.dissimilarities)


def test_compared_as_they_are(made):
    assert np.allclose(compare.pearson(made), compare.pearson(made.dissimilarities))
    assert np.allclose(compare.cosine(made, made.take([0])), compare.cosine(made.dissimilarities)[:, :1])


ORDERED = RDMs(RNG.random((1, 28)), "euclidean", {"image": np.arange(8)}, {}, {"stimuli": "ab12"})
FAULTS = {
    "size": (RDMs(RNG.random(15)), "RDMs of 8 and of 6 stimuli"),
    "measure": (RDMs(RNG.random(28), "cosine"), "RDMs by 'euclidean' and by 'cosine'"),
    "order": (ORDERED.take_patterns([0, 1, 2, 4, 3, 5, 6, 7]), "'image' of stimulus 3 is 3 and 4"),
    "digest": (RDMs(RNG.random(28), descriptors={"stimuli": "cd34"}), "digests are ab12 and cd34"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_compared_is_refused(fault):
    other, line = FAULTS[fault]
    for refuse in (lambda: compare.pearson(ORDERED, other), lambda: joined([ORDERED, other])):
        with pytest.raises(UserError, match=line):
            refuse()


def test_an_unknown_measure_goes_with_any(made):
    check_comparable(made, made.relabelled(None))
    check_comparable(made.relabelled("cosine"), made.relabelled("cosine"))


BAD = {
    "vector": (lambda: RDMs(RNG.random(7)), "7 entries are no upper triangle"),
    "empty": (lambda: RDMs(np.zeros((0, 3))), "are needed, got shape"),
    "descriptor": (
        lambda: RDMs(RNG.random(3), pattern_descriptors={"kind": np.arange(4)}),
        r"shape \(4,\), not \(3,\)",
    ),
    "of RDMs": (lambda: RDMs(RNG.random(3), rdm_descriptors={"seed": np.arange(2)}), r"shape \(2,\), not \(1,\)"),
    "measure": (lambda: RDMs.of(LAYERS, "euclidan"), "there is no measure 'euclidan'; did you mean 'euclidean'"),
    "constant": (
        lambda: RDMs.of({"fc": np.ones((4, 3))}),
        "representation 'fc': the pattern of stimulus 0 is constant",
    ),
    "number": (lambda: RDMs.of([np.eye(4), np.eye(5)]), "'1' has another number of stimuli than '0'"),
    "key": (lambda: ORDERED.subset(sed=3), "there is no descriptor 'sed'"),
    "near": (lambda: ORDERED.subset_patterns(imag=3), "did you mean 'image'"),
    "nothing": (lambda: ORDERED.subset_patterns(image=99), "nothing matches image=99"),
    "few": (lambda: ORDERED.take_patterns([1, 2]), "three different stimuli"),
    "twice": (lambda: ORDERED.take_patterns([1, 2, 2, 3]), "three different stimuli"),
    "one kind": (
        lambda: RDMs(RNG.random(3), pattern_descriptors={"kind": np.zeros(3)}).averaged("kind"),
        "all stimuli have the same 'kind'",
    ),
    "missing": (
        lambda: RDMs([1.0, np.nan, 2.0], pattern_descriptors={"kind": [0, 0, 1]}).averaged("kind"),
        "some are missing",
    ),
    "no parts": (lambda: joined([]), "no RDMs to join"),
}


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()


def test_other_stimuli_have_another_digest():
    turned, first, last = (ORDERED.take_patterns(places) for places in (range(7, -1, -1), range(4), range(4, 8)))
    plain = [RDMs(one.dissimilarities, descriptors=one.descriptors) for one in (turned, first, last)]
    for one, other in ((RDMs(ORDERED.dissimilarities, descriptors=ORDERED.descriptors), plain[0]), plain[1:]):
        with pytest.raises(UserError, match="their digests are"):
            compare.pearson(one, other)
    assert ORDERED.take_patterns(range(8)).descriptors["stimuli"] == "ab12"


def test_nan_in_a_descriptor_is_equal_to_itself():
    one = RDMs(RNG.random(3), pattern_descriptors={"value": np.array([1.0, np.nan, 2.0])})
    check_comparable(one, one)


def test_joined_sets_tell_what_differed_between_them():
    sets = [
        RDMs(
            RNG.random((2, 3)), "cosine", {}, {"name": np.array(["a", "b"])}, {"method": m, "stimuli": "x", "more": {}}
        )
        for m in ("gpm", "hlop")
    ]
    found = joined(sets)
    assert found.rdm_descriptors["method"].tolist() == ["gpm", "gpm", "hlop", "hlop"]
    assert found.descriptors == {"stimuli": "x", "more": {}} and len(found.subset(method="hlop", name="b")) == 1
    assert joined([sets[0], sets[1].relabelled(None)]).measure is None
    assert joined([sets[0].relabelled(None), sets[1]]).measure is None


def test_taken_and_told_like_a_sequence(made):
    assert [one.rdm_descriptors["name"].tolist() for one in made] == [["conv"], ["fc"]]
    assert len(made[0]) == 1 and len(made[[1, 0, 1]]) == 3 and made[-1:].rdm_descriptors["name"].tolist() == ["fc"]
    assert repr(made) == "RDMs(2 of 8 stimuli, measure='euclidean', described by name, kind, image)"


MORE = {
    "place": (lambda: ORDERED.take([7]), r"there are 1 RDMs, places 0 to 0 \(got \[7\]\)"),
    "no place": (lambda: ORDERED.take([]), "places of some RDMs"),
    "stimulus": (lambda: ORDERED.take_patterns([0, 1, 9]), "there are 8 stimuli"),
    "nothing": (lambda: RDMs.of([]), "no activations"),
    "none": (lambda: RDMs.of({}), "no activations"),
    "number": (lambda: RDMs.of(np.eye(20), lambda x: 1.0), "of 20 stimuli .* must give 190 dissimilarities"),
    "NaN": (lambda: RDMs.of(np.eye(4), lambda x: np.full(6, np.nan)), "gives dissimilarities that are not finite"),
    "kinds": (
        lambda: RDMs(RNG.random((2, 3)), rdm_descriptors={"a": np.array([None, 1], dtype=object)}).mean("a"),
        "values of several kinds",
    ),
}


@pytest.mark.parametrize("bad", MORE)
def test_refused_too(bad):
    call, line = MORE[bad]
    with pytest.raises(UserError, match=line):
        call()


def test_values_by_sets():
    assert len(ORDERED.subset_patterns(image={1, 2, 3}).pattern_descriptors["image"]) == 3
    assert ORDERED.subset_patterns(image=[1, "a", 2, 3]).stimuli == 3


CONDITIONS, FOLDS = ["dog", "cat", "cow"] * 4, [0] * 6 + [1] * 6


@pytest.mark.parametrize(
    "made",
    [
        lambda x: RDMs.of(x, crossnobis, conditions=CONDITIONS, folds=FOLDS),
        lambda x: RDMs.of(x, crossnobis, conditions=np.array(CONDITIONS), folds=FOLDS, precision=np.eye(5)),
        lambda x: RDMs.of([x, x], partial(crossnobis, conditions=CONDITIONS), folds=FOLDS),
        lambda x: RDMs.of({"a": x}, partial(partial(crossnobis, folds=FOLDS), conditions=CONDITIONS)),
    ],
    ids=["options", "arrays", "partial", "nested"],
)
def test_rdms_of_conditions_are_described_by_them(made):
    x = np.random.default_rng(0).standard_normal((12, 5))
    found = made(x)
    # In the order in which crossnobis has them.
    assert found.pattern_descriptors["conditions"].tolist() == ["cat", "cow", "dog"]
    assert found.measure == "crossnobis" and found.subset_patterns(conditions=["cat", "cow", "dog"]).stimuli == 3
    dog = found.matrices()[0][2, 0]
    assert dog == pytest.approx(crossnobis(x, CONDITIONS, FOLDS)[1])
    told = RDMs.of(x, crossnobis, {"conditions": ["x", "y", "z"]}, conditions=CONDITIONS, folds=FOLDS)
    assert told.pattern_descriptors["conditions"].tolist() == ["x", "y", "z"]
    with pytest.raises(UserError, match="'conditions' of stimulus 0 is cat and x"):
        pearson(found, told)
