import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.figures.concept_images import slice_of_axes, top_images_grid
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
NAMES = ["thick", "two holes"]
# Image i is of one grey, i/12.
IMAGES = np.arange(12)[:, None, None] / 12 * np.ones((12, 8, 6))
ACTIVATIONS = RNG.standard_normal((12, 3))
HAS = np.arange(12)[:, None] % 2 == [0, 1]
TOP = np.argsort(-ACTIVATIONS, axis=0)[:4].T


@pytest.mark.parametrize(
    "images", [IMAGES, IMAGES[:, None], np.repeat(IMAGES[:, None], 3, axis=1)], ids=["2", "1", "3"]
)
def test_rows_are_axes_and_the_highest_comes_first(images):
    figure, rows = top_images_grid(images, ACTIVATIONS, NAMES, HAS, k=4)
    (axes,) = figure.axes
    canvas = axes.images[0].get_array()
    # 8 by 6 pixels and a gap of one.
    shown = canvas[4::9, 3::7, 0] * 12
    assert shown.round().tolist() == TOP[:2].tolist()
    assert [row["image"] for row in rows] == TOP[:2].ravel().tolist()
    assert rows[5]["activation"] == ACTIVATIONS[TOP[1, 1], 1] and rows[5]["rank"] == 2
    lacks = [(row["axis"], row["rank"]) for row in rows if not HAS[row["image"], NAMES.index(row["axis"])]]
    framed = [(NAMES[int(p.get_y() + 0.5) // 9], int(p.get_x() + 0.5) // 7 + 1) for p in axes.patches]
    assert framed == lacks and 0 < len(lacks) < 8 and len(figure.legends) == 1
    assert [row["has"] for row in rows] == [(row["axis"], row["rank"]) not in lacks for row in rows]
    plt.close(figure)


def test_without_concepts_nothing_is_framed():
    figure, rows = top_images_grid(IMAGES, ACTIVATIONS, NAMES, k=4)
    assert not figure.axes[0].patches and not figure.legends and rows[0]["has"] is None
    plt.close(figure)


def test_a_slice_by_concept():
    has = np.arange(12)[:, None] % 4 // [1, 2] % 2 == 1
    figure, rows = slice_of_axes(
        ACTIVATIONS, (2, 0), ["thick", "thin", "two holes"], np.c_[has[:, 0], ~has[:, 0], has[:, 1]]
    )
    kinds = [one.get_offsets() for one in figure.axes[0].collections]
    assert [len(points) for points in kinds] == [3, 3, 3, 3]
    both = has.all(axis=1)
    assert sorted(map(tuple, kinds[3].tolist())) == sorted(map(tuple, ACTIVATIONS[both][:, [2, 0]].tolist()))
    assert [row["concepts"] for row in rows[:4]] == ["neither", "thick", "two holes", "both"]
    assert rows[5]["along"] == ACTIVATIONS[5, 2] and rows[5]["up"] == ACTIVATIONS[5, 0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["neither (3)", "two holes (3)", "thick (3)", "both (3)"]
    assert figure.axes[0].get_xlabel() == "Axis of “two holes”"
    plt.close(figure)


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (IMAGES[:5], "5 images and activations of 12"),
        (IMAGES[:, None].repeat(2, axis=1), r"got \(12, 2, 8, 6\)"),
        (IMAGES * 255, r"images in \[0, 1\] are needed"),
        (IMAGES - 0.5, r"images in \[0, 1\] are needed"),
        (IMAGES * np.nan, r"images in \[0, 1\] are needed"),
    ],
)
def test_images_that_cannot_be_shown(images, line):
    with pytest.raises(UserError, match=line):
        top_images_grid(images, ACTIVATIONS, NAMES)
