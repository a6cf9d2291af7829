"""Partial RDMs of overlapping stimuli, against loops over pairs of names."""

import itertools

import numpy as np
import pytest

from orthotrace.analysis.inference import bootstrap, ceiling, evaluate, permutation_test
from orthotrace.analysis.rdm import RDMs, euclidean
from orthotrace.analysis.rdm.combine import combined, expanded, rescaled
from orthotrace.analysis.rdm.compare import METHODS
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
NAMES = [f"image {number}" for number in range(10)]
X = RNG.standard_normal((10, 6))
WHOLE = RDMs(euclidean(X), "euclidean", {"image": NAMES})
PLACES = [[0, 1, 2, 3, 4, 5], [4, 2, 6, 7, 5], [9, 5, 8, 7, 6, 4]]
SCALES = [1.0, 7.0, 0.02]
KINDS = np.array(["a", "b"] * 5)
METHODS_OF = ("evidence", "setsize", "simple")


def part(places, scale=1.0, **more):
    taken = WHOLE.take_patterns(places)
    told = {**taken.pattern_descriptors, "kind": KINDS[places]}
    return RDMs(scale * taken.dissimilarities, "euclidean", told, {"subject": [len(places)]}, more)


PARTS = [part(*one) for one in zip(PLACES, SCALES, strict=True)]
SEEN = [any({i, j} <= set(places) for places in PLACES) for i, j in itertools.combinations(range(10), 2)]


def test_expanded_by_name():
    found = expanded(PARTS, "image", NAMES)
    for one, places, scale in zip(found.dissimilarities, PLACES, SCALES, strict=True):
        for value, true, pair in zip(one, WHOLE.dissimilarities[0], itertools.combinations(range(10), 2), strict=True):
            assert value == pytest.approx(scale * true) if set(pair) <= set(places) else np.isnan(value)
    assert found.pattern_descriptors["image"].tolist() == NAMES
    assert found.pattern_descriptors["kind"].tolist() == KINDS.tolist()
    assert found.rdm_descriptors["subject"].tolist() == [6, 5, 6] and found.measure == "euclidean"
    come = expanded(PARTS, "image").pattern_descriptors["image"].tolist()
    assert come == [NAMES[at] for at in dict.fromkeys(itertools.chain(*PLACES))]


@pytest.mark.parametrize("method", METHODS_OF)
def test_parts_of_one_rdm_give_it_back_whatever_their_scales(method):
    found = combined(PARTS, "image", method, NAMES)
    ratio = found.dissimilarities[0] / WHOLE.dissimilarities[0]
    assert np.array_equal(~np.isnan(ratio), SEEN)
    assert np.nanmax(ratio) / np.nanmin(ratio) == pytest.approx(1, abs=1e-8)
    aligned, weights = rescaled(expanded(PARTS, "image"), method)
    assert np.array_equal(np.isnan(aligned.dissimilarities), np.isnan(weights))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("method", ["setsize", "simple"])
def test_rdms_of_any_size(method, scale):
    huge = [RDMs(scale * one.dissimilarities, None, one.pattern_descriptors) for one in PARTS]
    right = combined(PARTS, "image", method).dissimilarities
    assert np.allclose(combined(huge, "image", method).dissimilarities, right, rtol=1e-4, equal_nan=True)
    assert np.isfinite(combined(huge, "image").dissimilarities[0][~np.isnan(right[0])]).all()


def test_on_one_scale_they_are_averaged_as_they_are():
    parts = [part(PLACES[0]), part(PLACES[0], 3.0), part(PLACES[2])]
    found = combined(parts, "image", None, NAMES).dissimilarities[0]
    for value, true, pair in zip(found, WHOLE.dissimilarities[0], itertools.combinations(range(10), 2), strict=True):
        if set(pair) <= set(PLACES[0]):
            assert value == pytest.approx(
                (5 if set(pair) <= set(PLACES[2]) else 4) * true / (3 if set(pair) <= set(PLACES[2]) else 2)
            )
        else:
            assert value == pytest.approx(true) if set(pair) <= set(PLACES[2]) else np.isnan(value)


def test_what_comes_out_is_compared_and_inferred_with():
    found = combined(PARTS, "image", "simple", NAMES)
    for name in METHODS:
        if name == "bures":
            with pytest.raises(UserError, match="without single pairs"):
                METHODS[name](found, WHOLE)
            continue
        value = METHODS[name](found.relabelled(None), RDMs(WHOLE.dissimilarities))[0, 0]
        assert value == pytest.approx(1, abs=1e-9) if name not in ("norm_difference",) else value > 0
    value, p = permutation_test(found, WHOLE, permutations=60)
    assert value == pytest.approx(1) and p < 0.04
    every = expanded(PARTS, "image", NAMES)
    assert np.allclose(evaluate({"true": WHOLE.dissimilarities[0]}, every).scores, 1)
    assert np.isfinite(bootstrap({"true": WHOLE.dissimilarities[0]}, every, over="rdms", resamples=20).means).all()
    # Parts of other stimuli are centred about other means.
    assert 0.95 < ceiling(every).upper <= 1
    with pytest.raises(UserError, match="'image' of stimulus 0"):
        METHODS["pearson"](found, WHOLE.take_patterns(range(9, -1, -1)))


OTHER_KIND = RDMs(
    PARTS[1].dissimilarities, "euclidean", {"image": PARTS[1].pattern_descriptors["image"], "kind": ["z"] * 5}
)
APART = RDMs([1.0, 2.0, 3.0], None, {"image": ["x", "y", "z"]})
BAD = {
    "none": (lambda: combined([], "image"), "no RDMs to combine"),
    "no RDMs": (lambda: combined([[1.0, 2.0, 3.0]], "image"), "part 0 is no RDMs"),
    "no name": (lambda: combined(PARTS, "imag"), "part 0 has no descriptor 'imag'; did you mean 'image'"),
    "twice": (
        lambda: combined([RDMs([1.0, 2.0, 3.0], None, {"image": ["a", "b", "a"]})], "image"), "two stimuli of the name 'a'"
    ),
    "described": (lambda: combined([PARTS[0], OTHER_KIND], "image"), "'kind' of 'image 4' is a in one part and z in"),
    "measure": (lambda: combined([PARTS[0], PARTS[1].relabelled("cosine")], "image"), "RDMs by 'cosine' and 'euclidean'"),
    "unknown": (lambda: combined(PARTS, "image", stimuli=NAMES[:9]), "stimuli: 'image 9' is not among"),
    "names twice": (lambda: combined(PARTS, "image", stimuli=[*NAMES, NAMES[0]]), "stimuli: a name comes twice"),
    "apart": (lambda: combined([PARTS[0], APART], "image"), "RDM 1 shares no pair of stimuli with RDM 0"),
    "zero": (lambda: combined([PARTS[0], part(PLACES[1], 0.0)], "image"), "RDM 1 is zero"),
    "method": (lambda: combined(PARTS, "image", "evidenc"), "there is no rescaling 'evidenc'"),
    "iterations": (lambda: rescaled(expanded(PARTS, "image"), "simple", 0, 2), "no common scale after 2"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
