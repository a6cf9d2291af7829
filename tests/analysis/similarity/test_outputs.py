import numpy as np
import pytest

from orthotrace.analysis.similarity import disagreement
from orthotrace.core.errors import UserError


def test_the_share_of_other_answers():
    outputs = np.eye(4)[[0, 1, 2, 3, 0]]
    assert disagreement(outputs, outputs * 7 - 2) == 0
    assert disagreement(outputs, np.eye(4)[[0, 1, 3, 3, 1]]) == pytest.approx(0.4)
    assert disagreement([0, 1, 2], [0, 2, 1]) == pytest.approx(2 / 3)
    # Of equal outputs the first counts.
    assert disagreement([[1.0, 1.0]], [[1.0, 0.0]]) == 0


@pytest.mark.parametrize(("x", "y"), [([0, 1], [0]), (np.eye(3), np.eye(3)[:, :2]), ([0, 1], np.eye(2)), (1.0, 1.0)])
def test_answers_to_other_stimuli(x, y):
    with pytest.raises(UserError, match=r"same stimuli and classes|outputs \(n, classes\)"):
        disagreement(x, y)


def test_a_single_output_has_no_largest():
    with pytest.raises(UserError, match="x: one output alone has no largest"):
        disagreement([[3.0], [-2.0]], [[-5.0], [4.0]])
