import matplotlib.pyplot as plt
import numpy as np

from orthotrace.results.heat_map import draw_matrix


def test_many_tasks_and_a_matrix_that_is_not_full():
    figure, axes = plt.subplots()
    draw_matrix(axes, np.ones((30, 30)))
    assert not axes.texts and len(axes.get_xticks()) <= 11
    draw_matrix(axes, [[0.5, 0.5]])
    plt.close(figure)
