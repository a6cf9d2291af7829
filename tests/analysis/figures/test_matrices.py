import matplotlib.pyplot as plt
import numpy as np

from orthotrace.analysis.figures.matrices import accuracy_matrices


def test_cells_are_means_over_seeds_and_written():
    figure, rows = accuracy_matrices({"a": [np.eye(3), np.zeros((3, 3))], "b": [np.eye(3)]})
    assert [row["accuracy"] for row in rows if row["method"] == "a" and row["after"] == row["tested"]] == [0.5] * 3
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == [".50", ".00", ".00", ".00", ".50", ".00", ".00", ".00", ".50"]
    plt.close(figure)


def test_tasks_that_were_not_taught_are_blank_and_have_no_number():
    blank = np.triu(np.ones((2, 2), dtype=bool), 1)
    figure, rows = accuracy_matrices({"a": [np.full((2, 2), 0.5)]}, {"a": blank})
    assert [text.get_text() for text in figure.axes[0].texts] == [".50"] * 3
    assert [row["accuracy"] for row in rows] == [0.5, None, 0.5, 0.5]
    plt.close(figure)
