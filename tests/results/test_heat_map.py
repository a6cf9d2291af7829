import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.results.heat_map import draw_matrix, untaught


def test_many_tasks_and_a_matrix_that_is_not_full():
    figure, axes = plt.subplots()
    draw_matrix(axes, np.ones((30, 30)))
    assert not axes.texts and len(axes.get_xticks()) <= 11
    draw_matrix(axes, [[0.5, 0.5]])
    plt.close(figure)


UPPER = np.triu(np.ones((4, 4), dtype=bool), 1)
# Of four tasks: what is not taught yet.
UNTAUGHT = {
    "class": (("class",), UPPER),
    "task": (("task",), UPPER),
    "domain": (("domain",), np.zeros((4, 4), dtype=bool)),
    "blurred": (("class", 1, 0.2), np.zeros((4, 4), dtype=bool)),
    "repeated": (("class", 2), np.array([[0, 1, 0, 1], [0] * 4, [0] * 4, [0] * 4], dtype=bool)),
}


@pytest.mark.parametrize(("options", "expected"), UNTAUGHT.values(), ids=UNTAUGHT)
def test_what_was_not_taught_yet_is_blank(options, expected):
    blank = untaught(4, *options)
    assert blank.tolist() == expected.tolist()
    figure, axes = plt.subplots()
    image = draw_matrix(axes, np.full((4, 4), 0.25), blank)
    assert np.ma.getmaskarray(image.get_array()).tolist() == expected.tolist()
    assert len(axes.texts) == (~expected).sum()
    plt.close(figure)


# Blurred boundaries have no tasks to be told.
STREAMS = [
    (scenario, *rest)
    for scenario in ("class", "task", "domain")
    for rest in ((1, 0.0), (2, 0.0), (1, 0.2))
    if (scenario, rest) != ("task", (1, 0.2))
]


@pytest.mark.parametrize(("scenario", "repeats", "blur"), STREAMS)
def test_untaught_is_what_the_stream_says(scenario, repeats, blur):
    """By the outputs of the tasks themselves."""
    from orthotrace.data.sources import digits
    from orthotrace.data.streams import Split

    stream = Split(digits(), tasks=2, scenario=scenario, repeats=repeats, blur=blur)
    active, total = stream.active, stream.tasks
    taught = [
        [active.blurred or active.by_task[j] in active.by_task[: i + 1] for j in range(total)] for i in range(total)
    ]
    assert untaught(total, scenario, repeats, blur).tolist() == (~np.array(taught)).tolist()
