import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.concepts.purity import purity
from orthotrace.analysis.figures.concepts import concepts_over_tasks, purity_by_concept
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)
CONCEPTS = ["thick", "slanted left", "two holes"]
HAS = RNG.random((60, 3)) < 0.4
FOUND = {
    "axis": [purity(HAS + RNG.standard_normal((60, 3)), HAS) for _ in range(3)],
    "probe": [purity(2 * HAS + RNG.standard_normal((60, 3)), HAS)],
}


def test_every_network_is_a_dot_with_its_interval():
    figure, rows = purity_by_concept(FOUND, CONCEPTS)
    (axes,) = figure.axes
    heights = np.concatenate([line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 3])
    expected = np.concatenate([network.auc.value for networks in FOUND.values() for network in networks])
    assert np.array_equal(heights, expected)
    whiskers = np.concatenate([one.get_segments() for one in axes.collections])
    upright = whiskers[whiskers[:, 0, 0] == whiskers[:, 1, 0]]
    assert np.allclose(upright[:, 0, 1], np.concatenate([n.auc.low for networks in FOUND.values() for n in networks]))
    # Black bars, the means, where there are several networks.
    bars = whiskers[whiskers[:, 0, 0] != whiskers[:, 1, 0]]
    assert np.allclose(bars[:, 0, 1], np.mean([network.auc.value for network in FOUND["axis"]], axis=0))
    assert len(rows) == 12 and rows[4]["auc"] == FOUND["axis"][1].auc.value[1]
    assert rows[0]["images"] == HAS[:, 0].sum() and rows[0]["images"] + rows[0]["others"] == 60
    assert axes.get_ylim()[0] < min(row["low"] for row in rows) and axes.get_ylim()[0] < 0.5
    assert "95 % intervals over images; black bars: means" in figure.legends[0].get_title().get_text()
    plt.close(figure)


def test_one_network_has_no_mean():
    figure, rows = purity_by_concept({"probe": FOUND["probe"]}, CONCEPTS)
    assert len(figure.axes[0].collections) == 1 and len(rows) == 3
    assert "means" not in figure.legends[0].get_title().get_text()
    plt.close(figure)


def test_a_panel_for_the_mean_and_each_concept():
    values = {"gpm": RNG.random((2, 5, 3)), "hlop": RNG.random((1, 5, 3))}
    figure, rows = concepts_over_tasks(values, CONCEPTS)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["mean of all", *CONCEPTS]
    assert [len(axes.lines) for axes in shown] == [2] * 4
    assert np.allclose(shown[0].lines[0].get_ydata(), values["gpm"].mean(axis=(0, 2)))
    assert np.allclose(shown[2].lines[1].get_ydata(), values["hlop"][0, :, 1])
    # Bars are the deviation over two seeds; one has none.
    (bars,) = shown[0].collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    assert np.allclose(np.ptp(ends, axis=1) / 2, values["gpm"].mean(axis=2).std(axis=0, ddof=1))
    found = {(row["method"], row["concept"], row["after"]): row["mean"] for row in rows}
    assert len(found) == len(rows) == 40
    assert found["gpm", "two holes", 5] == pytest.approx(values["gpm"][:, 4, 2].mean())
    assert found["hlop", "mean of all", 1] == pytest.approx(values["hlop"][0, 0].mean())
    plt.close(figure)


def test_tasks_have_their_own_numbers():
    values = {"gpm": RNG.random((2, 3, 1))}
    figure, rows = concepts_over_tasks(values, ["thick"], after=[0, 2, 6], along="epoch")
    (line,) = figure.axes[0].lines
    assert line.get_xdata() == pytest.approx([0, 2, 6], abs=0.2) and figure.get_supxlabel() == "After epoch"
    assert [row["after"] for row in rows] == [0, 2, 6]
    plt.close(figure)
    with pytest.raises(UserError, match="2 numbers of tasks for values after 3"):
        concepts_over_tasks(values, ["thick"], after=[1, 2])


def test_one_concept_has_no_mean_of_all():
    figure, _ = concepts_over_tasks({"gpm": RNG.random((2, 5, 1))}, ["thick"])
    assert [axes.get_title() for axes in figure.axes] == ["thick"]
    plt.close(figure)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: purity_by_concept(FOUND, CONCEPTS[:2]), r"2 names \(thick, slanted left\) for 3 of axis"),
        (lambda: concepts_over_tasks({"gpm": np.ones((2, 5, 4))}, CONCEPTS), r"3 names \(.*\) for 4 of gpm"),
    ],
)
def test_names_that_do_not_fit(call, line):
    with pytest.raises(UserError, match=line):
        call()


@pytest.mark.parametrize(("size", "span", "shown"), [(1e-6, 1.0, 1.0), (1e-6, 0.05, 0.05), (5.0, 1.0, 5.0)])
def test_what_is_nothing_is_not_drawn_as_something(size, span, shown):
    values = np.linspace(0, size, 10).reshape(1, 5, 2)
    figure, _ = concepts_over_tasks({"gpm": values}, CONCEPTS[:2], "angle", span)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low < 0 < size < high and shown <= high - low <= 1.2 * shown
    plt.close(figure)
