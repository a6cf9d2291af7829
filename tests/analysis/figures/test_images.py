import numpy as np
import pytest
from scipy.spatial.distance import pdist

from orthotrace.analysis.figures.images import images_in_a_plane
from orthotrace.core.errors import UserError

POINTS = np.random.default_rng(0).standard_normal((8, 2))
TURNED = 3 * POINTS @ [[0.6, 0.8], [0.8, -0.6]] + 5
LABELS = np.arange(8) // 4


def test_networks_that_differ_by_a_rotation_alone_have_the_same_plane():
    figure, rows = images_in_a_plane({"relu1": [pdist(POINTS), pdist(TURNED)]}, LABELS, ["p", "q"], ["one", "two"])
    at = np.array([[row["x"], row["y"]] for row in rows]).reshape(2, 8, 2)
    assert np.allclose(at[0], at[1], atol=1e-4)
    # In a plane there is no stress, and distances are kept but for their scale.
    assert rows[0]["stress"] < 1e-3 and np.corrcoef(pdist(at[0]), pdist(POINTS))[0, 1] > 1 - 1e-6
    assert [row["class"] for row in rows[:8]] == ["p"] * 4 + ["q"] * 4
    assert [axes.get_ylabel() for axes in figure.axes] == ["one", "two"]
    # The points of a class, and a cross at their mean.
    assert len(figure.axes[0].collections) == 2
    assert np.allclose(figure.axes[0].lines[1].get_xydata()[0], at[0][4:].mean(axis=0))


def test_planes_whose_longest_axes_differ_are_turned_onto_each_other():
    wide = POINTS * [2, 1]
    _, rows = images_in_a_plane({"relu1": [pdist(wide), pdist(POINTS * [0.5, 1])]}, LABELS, ["p", "q"], ["one", "two"])
    one, two = np.array([[row["x"], row["y"]] for row in rows]).reshape(2, 8, 2)
    assert (one * two).sum() > 0.6 and np.linalg.norm(one) == pytest.approx(1, rel=0.5)


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        ([pdist(POINTS)], r"layer relu1: RDMs of 2 networks and 8 images are needed, got \(1, 28\)"),
        ([pdist(POINTS), np.full(28, np.nan)], "layer relu1: an RDM has missing entries"),
    ],
)
def test_rdms_that_do_not_fit(stack, line):
    with pytest.raises(UserError, match=line):
        images_in_a_plane({"relu1": stack}, LABELS, ["p", "q"], ["one", "two"])
