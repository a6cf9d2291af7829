import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from orthotrace.analysis.rdm.mds import aligned, classical, smacof
from orthotrace.core.errors import UserError

POINTS = np.random.default_rng(0).standard_normal((12, 2))
FAR = squareform(pdist(np.random.default_rng(1).standard_normal((10, 6))))


@pytest.mark.parametrize("scale", [classical, lambda d: smacof(d)[0]])
def test_points_of_a_plane_come_back(scale):
    distances = squareform(pdist(POINTS))
    assert np.allclose(squareform(pdist(scale(distances))), distances, atol=1e-6)


def test_the_stress_is_what_is_said_and_no_small_move_lowers_it():
    points, stress = smacof(FAR)

    def stress_of(x):
        return np.sqrt(np.sum((squareform(FAR) - pdist(x)) ** 2) / np.sum(pdist(x) ** 2))

    def squares_of(x):
        return np.sqrt(np.sum((squareform(FAR) - pdist(x)) ** 2) / np.sum(squareform(FAR) ** 2))

    assert stress == pytest.approx(stress_of(points), abs=1e-8)
    assert stress < stress_of(classical(FAR))
    rng = np.random.default_rng(2)
    for _ in range(50):
        # What falls to its least is the sum of squares: larger points alone would lower the stress.
        assert squares_of(points + 1e-3 * rng.standard_normal(points.shape)) > squares_of(points) - 1e-9


def test_more_steps_never_raise_the_stress():
    stresses = [smacof(FAR, iterations=number)[1] for number in range(1, 40)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(stresses))


def test_equal_objects_are_equal_points():
    distances = squareform(pdist(np.repeat(POINTS[:4], 2, axis=0)))
    points, _ = smacof(distances)
    assert np.isfinite(points).all() and np.allclose(points[::2], points[1::2], atol=1e-6)


def test_more_dimensions_than_points_have():
    assert classical([[0.0, 1.0], [1.0, 0.0]], dimensions=3).shape == (2, 3)


def test_nothing_to_scale():
    with pytest.raises(UserError, match="all distances are zero"):
        smacof(np.zeros((3, 3)))


def test_points_that_coincide_at_the_start_come_apart():
    # Four points, all at the same distance: the classical solution of one dimension puts some into one place.
    distances = np.ones((4, 4)) - np.eye(4)
    _, stress = smacof(distances, dimensions=3)
    assert stress < 1e-4
    plane, _ = smacof(distances, dimensions=2)
    assert np.linalg.norm(plane[:, None] - plane[None], axis=-1)[np.triu_indices(4, 1)].min() > 0.3


def test_more_starts_are_never_worse_and_come_from_the_seed():
    distances = np.random.default_rng(3).uniform(size=(12, 12))
    distances = np.triu(distances, 1) + np.triu(distances, 1).T
    one, many = smacof(distances)[1], smacof(distances, starts=8)[1]
    assert many <= one
    again = smacof(distances, starts=8)
    assert np.array_equal(again[0], smacof(distances, starts=8)[0])
    with pytest.raises(UserError, match="starts: a whole number of at least 1"):
        smacof(distances, starts=0)


def test_a_configuration_is_aligned():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((9, 2))
    turn = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    noisy = 4 * reference @ turn + 7 + 0.1 * rng.standard_normal((9, 2))
    found = aligned(noisy, reference)
    from scipy.spatial import procrustes

    _, expected, disparity = procrustes(reference, noisy)
    centred = reference - reference.mean(0)
    assert np.allclose((found - reference.mean(0)) / np.linalg.norm(centred), expected, atol=1e-10)
    assert np.sum((found - reference) ** 2) / np.sum(centred**2) == pytest.approx(disparity)
    for unit in (1e-200, 1e200):
        assert np.allclose(aligned(noisy / unit, unit * reference) / unit, found, atol=1e-9)


FAULTS = [
    (np.zeros((2, 3)), "got shape"),
    (np.array([[0, np.nan], [np.nan, 0]]), "that of 0 and 1 is nan"),
    (np.array([[0, 1.0], [2, 0]]), "not symmetric"),
    (np.array([[0, -1.0], [-1, 0]]), "at least 0"),
    (np.array([[1, 1.0], [1, 0]]), "diagonal"),
]


@pytest.mark.parametrize("scale", [classical, smacof])
@pytest.mark.parametrize(("distances", "line"), FAULTS)
def test_what_are_no_distances(scale, distances, line):
    with pytest.raises(UserError, match=line):
        scale(distances)
    with pytest.raises(UserError, match="two finite configurations"):
        aligned(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(UserError, match="coincide"):
        aligned(np.ones((3, 2)), np.eye(3)[:, :2])
