import numpy as np
import pytest

from analysis.drift import concept_drift

RNG = np.random.default_rng(0)
PURITIES = RNG.random((3, 2))


def turned(*degrees: float) -> np.ndarray:
    """Axis 0 turned by so much after each task, and made longer; axis 1 stays."""
    a = np.radians(degrees)
    rows = np.zeros((len(a), 2, 4))
    rows[:, 0, 1], rows[:, 0, 3] = np.cos(a), np.sin(a)
    rows[:, 1, 0] = 1
    return rows * np.arange(1, len(a) + 1)[:, None, None]


def test_change_since_the_first_task():
    found = concept_drift(PURITIES, turned(10, 70, 190))
    assert np.allclose(found.purity, PURITIES - PURITIES[0])
    assert np.allclose(found.angle, [[0, 0], [60, 0], [180, 0]], atol=1e-10)


@pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9])
def test_small_angles_keep_their_digits(small):
    assert concept_drift(PURITIES[:2], turned(0, small)).angle[1, 0] == pytest.approx(small, rel=1e-5)


BAD = {
    "tasks": (lambda: concept_drift(PURITIES, turned(0, 1)), r"got \(3, 2\) and \(2, 2, 4\)"),
    "shape": (lambda: concept_drift(PURITIES[0], turned(0)), r"got \(2,\) and \(1, 2, 4\)"),
    "none": (lambda: concept_drift(PURITIES[:0], turned()), r"got \(0, 2\)"),
    "NaN": (lambda: concept_drift(PURITIES * np.nan, turned(0, 1, 2)), "must be finite"),
    "infinite": (lambda: concept_drift(PURITIES, turned(0, 1, 2) * np.inf), "must be finite"),
    "zero": (
        lambda: concept_drift(PURITIES, turned(0, 1, 2) * [[[1]], [[1]], [[0]]]),
        "concept 0 is all 0 after task 3",
    ),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", BAD)
def test_refused_by_name(bad):
    call, line = BAD[bad]
    with pytest.raises(ValueError, match=line):
        call()
