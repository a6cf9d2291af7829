import numpy as np
import pytest

from orthotrace.analysis.figures.models import LINES, model_comparison
from orthotrace.analysis.inference.ceilings import Ceiling
from orthotrace.analysis.inference.significance import Evaluation
from orthotrace.core.errors import UserError

RNG = np.random.default_rng(0)


def scores(*means):
    return np.array(means)[:, None] + 0.01 * RNG.standard_normal((len(means), 8))


def test_bars_dots_ceiling_and_what_is_significant():
    found = Evaluation(("good", "same", "none"), "pearson", scores(0.8, 0.8, 0.0), Ceiling(0.75, 0.9))
    # Of the same mean.
    found.scores[1] = found.scores[0][::-1]
    tested = found.compare("t")
    figure, rows = model_comparison(found)
    axes = figure.axes[0]
    bars = [patch for patch in axes.patches if patch.get_width() == pytest.approx(0.62)]
    assert [bar.get_height() for bar in bars] == found.means.tolist()
    band = next(patch for patch in axes.patches if patch.get_width() == pytest.approx(1))
    assert (band.get_y(), band.get_y() + band.get_height()) == (0.75, 0.9)
    assert [row["p_zero"] for row in rows] == tested.zero.tolist()
    # The last one differs from the others, is not better than 0, and below the ceiling.
    joined = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert sorted(map(list, joined)) == [[0, 2], [1, 2]] and rows[2]["differs_from"] == "good same"
    asterisks, circles = (
        next(line.get_xdata().round().tolist() for line in axes.lines if line.get_marker() == marker)
        for marker in ((5, 2, 0), "o")
    )
    assert asterisks == [0, 1] and circles == [2] and rows[0]["ceiling_low"] == 0.75
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "better than 0", "below the ceiling", "noise ceiling", "differ",
    }  # fmt: skip


def test_many_differences_leave_room_for_the_bars():
    figure, rows = model_comparison(Evaluation(tuple("abcdefgh"), "cosine", scores(*np.linspace(0, 0.9, 8)), None))
    assert sum(line.get_marker() == "|" for line in figure.axes[0].lines) == LINES
    assert rows[0]["differs_from"] == "b c d e f g h" and rows[0]["p_ceiling"] is None


def test_a_significance_out_of_its_range():
    with pytest.raises(UserError, match=r"a significance in \(0, 1\) is needed"):
        model_comparison(Evaluation(("a", "b"), "cosine", scores(0.1, 0.2), None), significance=5)
