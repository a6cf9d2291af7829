import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.concepts.axes import axis_correlations, separability
from orthotrace.analysis.concepts.importance import Importance
from orthotrace.analysis.figures.concept_maps import correlation_maps, importance_by_class, separability_maps
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
CONCEPTS = ["thick", "slanted left", "two holes"]
HAS = RNG.random((60, 3)) < 0.4
FOUND = {name: separability(RNG.standard_normal((60, 8)) + shift, HAS) for name, shift in (("bn", 2), ("cw", 1))}


def maps(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def importance(ratios) -> Importance:
    table = np.asarray(ratios, dtype=float)
    return Importance((0, 1, 2), table[0], 0 * table[0], (3, 8), table[1:], 0 * table[1:], 0.1, np.ones(2), 5)


TABLE = np.array([[1.0, 1.2, 2.0], [0.5, 1.0, 4.0], [np.nan] * 3])


def test_networks_side_by_side_with_their_similarity():
    figure, rows = separability_maps(FOUND, CONCEPTS)
    first, second = maps(figure)
    assert np.allclose(first, np.abs(FOUND["bn"].normalised)) and np.allclose(second, np.abs(FOUND["cw"].normalised))
    assert f"{FOUND['cw'].similarity:.2f}" in figure.axes[1].get_title()
    assert figure.axes[0].texts[1].get_text() == f"{abs(FOUND['bn'].normalised[0, 1]):.2f}"
    one = next(row for row in rows if (row["network"], row["concept"], row["other"]) == ("cw", "thick", "two holes"))
    assert one["normalised"] == FOUND["cw"].normalised[0, 2] and one["cosine"] == FOUND["cw"].cosines[0, 2]
    plt.close(figure)


def test_what_is_undefined_is_said_and_grey():
    found = separability([[1.0, 0], [1, 0.1], [0, 1], [0, -1]], np.eye(2)[[0, 0, 1, 1]])
    figure, _ = separability_maps({"bn": found}, CONCEPTS[:2])
    assert "undefined" in figure.axes[0].get_title()
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "–", "–", "–"]
    plt.close(figure)


@pytest.mark.parametrize(("axes", "written"), [(3, 9), (20, 0)])
def test_correlations_of_concept_axes_and_of_all(axes, written):
    found = axis_correlations(RNG.standard_normal((50, axes)))
    figure, rows = correlation_maps({"cw": found}, CONCEPTS)
    assert len(figure.axes[0].texts) == written and len(rows) == axes * (axes - 1) // 2
    assert rows[1]["correlation"] == found[0, 2] and np.allclose(maps(figure)[0], found)
    # With further axes, two lines set the concepts apart.
    assert len(figure.axes[0].lines) == (0 if written else 2)
    plt.close(figure)


def test_importance_is_logarithmic_about_one():
    figure, rows = importance_by_class([importance(TABLE), importance(2 * TABLE)], CONCEPTS)
    image = figure.axes[0].images[0]
    assert image.norm(1) == pytest.approx(0.5) and image.norm.vmax == pytest.approx(6) == 1 / image.norm.vmin
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all", "3", "8"]
    assert [text.get_text() for text in figure.axes[0].texts[3:7]] == ["0.75", "1.50", "6.00", "–"]
    assert rows[2] == {
        "class": "all", "concept": "two holes", "ratio": 3.0, "networks": 2, "values": "2.000000 4.000000",
    }  # fmt: skip
    plt.close(figure)


def test_a_class_may_be_called_all():
    table = np.arange(1.0, 10).reshape(3, 3)
    figure, rows = importance_by_class([importance(table)], CONCEPTS, [["all", "bee"]])
    assert [row["ratio"] for row in rows] == table.ravel().tolist()
    plt.close(figure)


def test_a_class_is_the_mean_of_the_networks_that_know_it():
    tables = [np.full((3, 3), value) for value in (1.0, 3.0)]
    figure, rows = importance_by_class([importance(one) for one in tables], CONCEPTS, [["ant", "bee"], ["ant", "cow"]])
    found = {row["class"]: (row["ratio"], row["networks"]) for row in rows}
    assert found == {"all": (2, 2), "ant": (2, 2), "bee": (1, 1), "cow": (3, 1)}
    plt.close(figure)


def test_colours_of_axes_that_are_not_used_are_not_noise():
    figure, rows = importance_by_class([importance(np.ones((3, 3)))], CONCEPTS, [["three", "eight"]])
    assert figure.axes[0].images[0].norm.vmax == 1.25 and rows[-1]["class"] == "eight"
    plt.close(figure)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: separability_maps(FOUND, CONCEPTS[:2]), r"2 names \(thick, slanted left\) for 3 of bn"),
        (lambda: importance_by_class([importance(TABLE)], CONCEPTS[:1]), r"1 names \(thick\) for 3 of the axes"),
        (lambda: importance_by_class([importance(TABLE)], CONCEPTS, [["a"]]), r"1 names \(a\) for 2 of the classes"),
    ],
)
def test_names_that_do_not_fit(call, line):
    with pytest.raises(UserError, match=line):
        call()
