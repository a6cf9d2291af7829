"""What is gone, what has turned, and what a readout no longer sees."""

from __future__ import annotations

import numpy as np
import pytest
import readout_oracles as oracle

from orthotrace.analysis.studies.readout import LinearReadout, diagnose_readout, drift_split, fitted_readout
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
CLASSES = np.repeat(np.arange(4), 30)
OLD = 3 * np.eye(4)[CLASSES] @ RNG.standard_normal((4, 6)) + 0.3 * RNG.standard_normal((120, 6))
ROTATION = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
READOUT = fitted_readout(OLD, CLASSES)
# A direction that the readout does not see.
NULL = np.linalg.svd(READOUT.weight - READOUT.weight.mean(0))[2][-1]
LOST = OLD @ (np.eye(6) - np.ones((6, 6)) / 6)
# What became of the activations -> which readouts classify as before.
CHANGES = {
    "nothing": (OLD, {"kept", "aligned", "refitted"}),
    "turned and moved": (OLD @ ROTATION + 5, {"aligned", "refitted"}),
    "moved where the readout is blind": (OLD + 40 * NULL, {"kept", "aligned", "refitted"}),
    "units that are cut and turned": (np.tanh(OLD @ ROTATION) - 2, {"refitted"}),
    "gone": (RNG.standard_normal((120, 6)), set()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_which_readouts_find_the_classes_again(change):
    new, right = CHANGES[change]
    found = diagnose_readout((OLD[::2], new[::2]), (OLD[1::2], new[1::2]), CLASSES[::2], CLASSES[1::2])
    assert found.before > 0.98
    assert {name for name in ("kept", "aligned", "refitted") if getattr(found, name) > 0.95} >= right
    if change in ("turned and moved", "gone"):
        assert found.kept < 0.5
    if change == "gone":
        assert max(found.aligned, found.refitted) < 0.5


@pytest.mark.parametrize("images", [120, 12, 5])
def test_the_rotation_is_that_of_scipy_where_the_images_tell_it(images):
    from orthotrace.analysis.studies.readout import _turned

    source, target = RNG.standard_normal((2, images, 6))
    shown = source if images <= 6 else RNG.standard_normal((9, 6))
    assert np.allclose(_turned(shown, source, target), oracle.turned(shown, source, target), atol=1e-9)


def test_the_networks_own_readout_is_taken_where_it_is_given():
    own = LinearReadout(-READOUT.weight, -READOUT.bias, READOUT.labels)
    found = diagnose_readout((OLD, OLD), (OLD, OLD), CLASSES, CLASSES, own)
    assert found.before == found.kept == found.aligned == own.accuracy(OLD, CLASSES) < 0.5 < found.refitted


@pytest.mark.parametrize("classes", [CLASSES, CLASSES % 2, np.array(list("abcd"))[CLASSES]], ids=["4", "2", "text"])
def test_a_readout_is_as_good_at_any_scale(classes):
    for scale in (1e-200, 1.0, 1e200):
        assert fitted_readout(OLD * scale, classes).accuracy(OLD * scale, classes) > 0.98


def test_a_movement_is_split_between_what_the_readout_sees_and_what_not():
    blind = drift_split(OLD, OLD + NULL, READOUT.weight)
    assert blind.seen == pytest.approx(0, abs=1e-12) and blind.size > 0
    seen = drift_split(OLD, OLD + READOUT.weight[0] - READOUT.weight.mean(0), READOUT.weight)
    assert seen.seen == pytest.approx(1) and seen.expected == 3 / 6
    random = [drift_split(OLD, OLD + RNG.standard_normal(OLD.shape), READOUT.weight).seen for _ in range(20)]
    assert np.mean(random) == pytest.approx(seen.expected, abs=0.02)
    # Added to all classes alike, as a bias is.
    assert drift_split(OLD, OLD + 1, READOUT.weight + 7).seen == pytest.approx(
        drift_split(OLD, OLD + 1, READOUT.weight).seen
    )
    assert np.isnan(drift_split(OLD, OLD, READOUT.weight).seen)


@pytest.mark.parametrize("apart", [0.0, 1e-7, 1e-9, 1e-11, 1e-13])
def test_a_readout_of_classes_that_nearly_repeat_each_other_has_all_its_digits(apart):
    weight = RNG.standard_normal((4, 6))
    weight[3] = weight[0] * (1 + apart)
    new = OLD[:20] + RNG.standard_normal((20, 6))
    found, right = drift_split(OLD[:20], new, 1e-150 * weight), oracle.drift(OLD[:20], new, 1e-150 * weight)
    assert [found.size, found.seen, found.expected] == pytest.approx(right, rel=1e-12)
    assert found.expected == (3 if apart else 2) / 6


def test_two_classes_have_one_direction_however_their_mean_is_rounded():
    weight = [[-3.7881267759821184e-05, 1.63839106199245e-04], [-7.1491306199862527e-05, 1.6618676718927611e-04]]
    found, right = drift_split(OLD[:, :2], OLD[:, 1:3], weight), oracle.drift(OLD[:, :2], OLD[:, 1:3], np.array(weight))
    assert found.expected == right[2] == 0.5 and found.seen == pytest.approx(right[1])
    assert drift_split(OLD[:, :2], OLD[:, 1:3], [[0.0, 0.0]]).expected == 0
    for _ in range(20):
        one, other = RNG.standard_normal((2, 6))
        assert drift_split(OLD, OLD + 1, [one, other, one, other, one]).expected == 1 / 6


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: fitted_readout(OLD, CLASSES * 0), "classes: a readout needs images of two classes or more"),
        (lambda: fitted_readout(OLD, CLASSES[:5]), "classes: 120 images and labels of shape"),
        (lambda: fitted_readout(OLD, CLASSES, 0), "strength: a strength above 0 is needed"),
        (lambda: drift_split(OLD, OLD[:5], READOUT.weight), "after: has shape"),
        (lambda: drift_split(OLD, OLD, READOUT.weight[:, :2]), "weight: is of 2 features, the layer has 6"),
        (lambda: drift_split(OLD * 0, OLD, READOUT.weight), "before: the activations of all images are alike"),
        (lambda: diagnose_readout((OLD, OLD[:, :3]), (OLD, OLD), CLASSES, CLASSES), "train: activations of one layer"),
        (
            lambda: diagnose_readout((OLD, OLD), (OLD, OLD), CLASSES, CLASSES, LinearReadout(np.eye(2), np.ones(2), CLASSES[:2])),
            "readout: is of 2 features, the layer has 6",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(call, line):
    with pytest.raises(UserError, match=line.replace("[", r"\[")):
        call()
