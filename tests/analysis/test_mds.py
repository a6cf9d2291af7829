import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from analysis.mds import classical, smacof

POINTS = np.random.default_rng(0).standard_normal((12, 2))
FAR = squareform(pdist(np.random.default_rng(1).standard_normal((10, 6))))


@pytest.mark.parametrize("scale", [classical, lambda d: smacof(d)[0]])
def test_points_of_a_plane_come_back(scale):
    distances = squareform(pdist(POINTS))
    assert np.allclose(squareform(pdist(scale(distances))), distances, atol=1e-6)


def test_the_stress_is_what_is_said_and_no_small_move_lowers_it():
    points, stress = smacof(FAR)

    def stress_of(x):
        return np.sqrt(np.sum((squareform(FAR) - pdist(x)) ** 2) / np.sum(squareform(FAR) ** 2))

    assert stress == pytest.approx(stress_of(points), abs=1e-8)
    assert stress < stress_of(classical(FAR))
    rng = np.random.default_rng(2)
    for _ in range(50):
        assert stress_of(points + 1e-3 * rng.standard_normal(points.shape)) > stress - 1e-9


def test_more_steps_never_raise_the_stress():
    stresses = [smacof(FAR, iterations=number)[1] for number in range(1, 40)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(stresses))


def test_equal_objects_are_equal_points():
    distances = squareform(pdist(np.repeat(POINTS[:4], 2, axis=0)))
    points, _ = smacof(distances)
    assert np.isfinite(points).all() and np.allclose(points[::2], points[1::2], atol=1e-6)


def test_more_dimensions_than_points_have():
    assert classical([[0.0, 1.0], [1.0, 0.0]], dimensions=3).shape == (2, 3)


@pytest.mark.parametrize(
    "distances", [np.zeros((3, 3)), np.ones((2, 3)), [[0, 1], [2, 0]], np.full((3, 3), np.nan), [[0, -1], [-1, 0]]]
)
def test_what_are_no_distances(distances):
    with pytest.raises(ValueError, match="distances"):
        smacof(distances)
