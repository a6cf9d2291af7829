from dataclasses import replace

import numpy as np
import pytest

from orthotrace.results.scores import summarise

R = [[0.9, 0.3, 0.1], [0.6, 0.8, 0.2], [0.7, 0.5, 0.95]]
B = [0.1, 0.15, 0.05]


def test_definitions():
    scores = summarise(R, B)
    assert scores.acc == pytest.approx((0.7 + 0.5 + 0.95) / 3)
    assert scores.aia == pytest.approx((0.9 + (0.6 + 0.8) / 2 + (0.7 + 0.5 + 0.95) / 3) / 3)
    assert scores.bwt == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert scores.fwt == pytest.approx(((0.3 - 0.15) + (0.2 - 0.05)) / 2)
    assert scores.forgetting == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert scores.learning_accuracy == pytest.approx((0.9 + 0.8 + 0.95) / 3)


def test_forgetting_is_not_minus_bwt_where_a_task_improves_later():
    matrix = [[0.5, 0.1, 0.1], [0.9, 0.8, 0.1], [0.7, 0.8, 0.8]]
    scores = summarise(matrix, B)
    assert scores.forgetting == pytest.approx((0.2 + 0.0) / 2)
    assert scores.bwt == pytest.approx((0.2 + 0.0) / 2)


def test_bwt_drops_no_task():
    total = 6
    matrix = np.full((total, total), 0.5)
    matrix[-1, 0] = 0.0
    assert summarise(matrix.tolist()).bwt == pytest.approx(-0.5 / (total - 1))


def test_one_task_has_no_transfer():
    scores = summarise([[0.9]], [0.1])
    assert (scores.bwt, scores.fwt, scores.forgetting) == (None, None, None)
    assert scores.acc == scores.aia == scores.learning_accuracy == 0.9


@pytest.mark.parametrize(("untrained", "shared"), [(None, True), (B, False)])
def test_forward_transfer_needs_the_untrained_net_and_one_head(untrained, shared):
    assert summarise(R, untrained, shared).fwt is None


INCOMPLETE = [
    [],
    [[0.1, 0.2]],
    [[0.1, float("nan")], [0.1, 0.2]],
    [[0.1, 0.2], [None, 0.2]],
    [[None, 0.2], [0.1, 0.2]],
]


@pytest.mark.parametrize("matrix", INCOMPLETE)
def test_incomplete_matrices_are_refused(matrix):
    with pytest.raises(ValueError, match="matrix"):
        summarise(matrix)


def test_later_tasks_need_not_be_tested():
    """Without them forward transfer alone is unknown; the best accuracy on a task is over those that were tested."""
    known = [[value if j <= i else None for j, value in enumerate(row)] for i, row in enumerate(R)]
    whole, part = summarise(R, B), summarise(known, B)
    assert part.fwt is None and whole.fwt is not None
    assert replace(part, fwt=whole.fwt) == whole
    # What is next is all that forward transfer needs, and all of it.
    assert summarise([[0.9, 0.3, None], *R[1:]], B) == whole
    assert summarise([R[0], [0.6, 0.8, None], R[2]], B) == replace(whole, fwt=None)


def test_forgetting_starts_from_the_best_that_was_measured_before_the_last_task():
    """Before a task was learned too, and it is negative where the last task helps."""
    assert summarise([[0.5, 0.9, 0.1], [0.4, 0.5, 0.2], [0.4, 0.5, 0.6]]).forgetting == pytest.approx((0.1 + 0.4) / 2)
    assert summarise([[0.5, 0.1], [0.9, 0.8]]).forgetting == pytest.approx(-0.4)


def test_whole_numbers_are_accuracies():
    assert summarise([[1, 0], [0, 1]]) == summarise([[1.0, 0.0], [0.0, 1.0]])


def test_worst_accuracies_are_over_all_steps_after_a_task():
    from orthotrace.results.scores import inside_scores

    accuracy = [[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.6, 0.5, 0.9]]
    inside = [
        {"task": 1, "accuracy": [0.2]},  # within task 1 itself: not after it
        {"task": 2, "accuracy": [0.3, 0.0]},
        {"task": 3, "accuracy": [0.7, 0.4, 0.5]},
    ]
    found = inside_scores(inside, accuracy)
    assert found.min_acc == pytest.approx((0.3 + 0.4) / 2)
    assert found.wc_acc == pytest.approx(0.9 / 3 + 2 / 3 * 0.35)
    # Without steps that fall lower the ends of tasks count.
    assert inside_scores(inside[:1], accuracy).min_acc == pytest.approx((0.6 + 0.5) / 2)
    assert inside_scores([], accuracy) is None and inside_scores(inside, [[1.0]]) is None


@pytest.mark.parametrize(
    ("just_after", "chance", "expected"),
    [
        ([0.9, 0.8, 0.9], [0.1, 0.1, 0.1], []),
        ([0.9, 0.11, 0.12], [0.1, 0.1, 0.1], [2, 3]),
        # The interval of 400 images ends at .1294.
        ([0.9, 0.1293, 0.1295], [0.1, 0.1, 0.1], [2]),
        # Nothing was learned at all, or not from the start, or there is nothing to tell.
        ([0.1, 0.0, 0.1], [0.1, 0.1, 0.1], [1, 2, 3]),
        ([0.1, 0.9, 0.9], [0.1, 0.1, 0.1], [1]),
        ([0.9, 1.0, 0.9], [0.5, 1.0, 0.5], []),
        # More images of one class: the same answer always is right as often.
        ([0.9, 0.7, 0.9], [0.5, 0.7, 0.5], [2]),
    ],
)
def test_tasks_that_were_not_learned(just_after, chance, expected):
    from orthotrace.results.scores import collapsed

    accuracy = [[just_after[j] if i == j else 0.5 for j in range(3)] for i in range(3)]
    assert collapsed(accuracy, chance, [400] * 3) == expected


def test_references():
    from orthotrace.results.scores import intransigence, reference_transfer

    accuracy = [[0.9, 0.1, 0.0], [0.8, 0.7, 0.1], [0.6, 0.5, 0.9]]
    assert intransigence(accuracy, [0.95, 0.8, 0.85]) == pytest.approx((0.05 + 0.1 - 0.05) / 3)
    assert reference_transfer(accuracy, [0.9, 0.6, 0.95]) == pytest.approx((0.1 - 0.05) / 2)
    with pytest.raises(ValueError, match="2 reference accuracies for 3 tasks"):
        intransigence(accuracy, [0.9, 0.8])
