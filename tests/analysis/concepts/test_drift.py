import numpy as np
import pytest

from orthotrace.analysis.concepts.drift import concept_drift
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
PURITIES = RNG.random((3, 2))


def turned(*degrees: float) -> np.ndarray:
    """Of two concepts: axis 0 turned by so much after each task, and made longer; axis 1 stays."""
    a = np.radians(degrees)
    rows = np.zeros((2, len(a), 4))
    rows[0, :, 1], rows[0, :, 3] = np.cos(a), np.sin(a)
    rows[1, :, 0] = 1
    return rows * np.arange(1, len(a) + 1)[:, None]


def test_change_since_the_first_task():
    found = concept_drift(PURITIES, turned(10, 70, 190))
    assert np.allclose(found.purity, PURITIES - PURITIES[0])
    assert np.allclose(found.angle, [[0, 0], [60, 0], [180, 0]], atol=1e-10)


def test_of_a_subspace_the_largest_angle():
    first, other = turned(0, 30, 90)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    # Turned within itself it stays what it is, whatever its axes do.
    plane = np.stack([other, first], axis=1)
    within = np.stack([plane[0], turn @ plane[0], 3 * plane[0][::-1]])
    found = concept_drift(PURITIES, [plane, within])
    assert np.allclose(found.angle, [[0, 0], [30, 0], [90, 0]], atol=1e-6)


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9])
def test_small_angles_keep_their_digits(small):
    assert concept_drift(PURITIES[:2], turned(0, small)).angle[1, 0] == pytest.approx(small, rel=1e-5)


BAD = {
    "tasks": (lambda: concept_drift(PURITIES, turned(0, 1)), r"concept 0 needs axes .*, got shape \(2, 4\)"),
    "concepts": (lambda: concept_drift(PURITIES, turned(0, 1, 2)[:1]), r"got \(3, 2\) and 1"),
    "shape": (lambda: concept_drift(PURITIES[0], turned(0)), r"got \(2,\) and 2"),
    "none": (lambda: concept_drift(PURITIES[:0], turned()), r"got \(0, 2\)"),
    "NaN": (lambda: concept_drift(PURITIES * np.nan, turned(0, 1, 2)), "must be finite"),
    "infinite": (lambda: concept_drift(PURITIES, turned(0, 1, 2) * np.inf), "must be finite"),
    "zero": (
        lambda: concept_drift(PURITIES, turned(0, 1, 2) * [[[1], [1], [0]]]),
        "concept 0 is all 0 after task 3",
    ),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(UserError, match=line):
        call()
