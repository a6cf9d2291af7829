import numpy as np
import pytest
from figure_cases import overlapping

from orthotrace.analysis import figures
from orthotrace.core.errors import UserError

SEEDS = {"gpm": [np.eye(2)], "er": [np.ones((2, 2))]}


def tradeoff():
    return figures.stability_against_plasticity({"gpm": [0.9, 0.8]}, {"gpm": [1.0, 0.9]})


def test_figures_become_lettered_panels_of_one():
    with figures.styled():
        figure, rows = figures.panel([[tradeoff, lambda: figures.accuracy_matrices(SEEDS)], [lettered]], [[1, 2], [1]])
        assert overlapping(figure) == []
    assert figure.get_figwidth() * 25.4 == pytest.approx(183)
    letters = [
        text.get_text() for text in figure.findobj(lambda one: getattr(one, "get_weight", lambda: "")() == "bold")
    ]
    assert letters == ["a", "b", "c"] and [row["panel"] for row in rows].count("b") == 8
    assert rows[2]["method"] == "gpm" and (rows[-1]["panel"], rows[-1]["part"]) == ("c", "Accuracy on the first task")
    # Their own figures are not left open.
    import matplotlib.pyplot as plt

    assert len(plt.get_fignums()) == 1
    # The first has a third of the page.
    assert figure.axes[0].bbox.width < figure.bbox.width / 3 < figure.axes[-1].bbox.width


def lettered():
    return figures.accuracy_over_tasks(SEEDS)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: figures.panel([]), "1 to 26 panels are needed"),
        (lambda: figures.panel([[tradeoff], []]), "one at least in each line"),
        (lambda: figures.panel([[tradeoff] * 27]), r"1 to 26 panels .* \(got 27\)"),
        (lambda: figures.panel([[tradeoff]], [[1, 2]]), "a width above 0 is needed for each panel"),
        (lambda: figures.panel([[tradeoff]], [[0]]), "a width above 0 is needed for each panel"),
        (lambda: figures.panel([[lambda: figures.panel([[tradeoff]])]]), "cannot be a panel of another"),
    ],
)
def test_panels_that_cannot_be(call, line):
    with pytest.raises(UserError, match=line):
        call()
