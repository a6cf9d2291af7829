from types import SimpleNamespace

import pytest

from orthotrace.training.stability_gap import StabilityGap


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(3, [3, 6, 3, 6]), ((1, 7), [1, 7, 1, 7]), (1, list(range(1, 9)) * 2), ((99,), [])],
)
@pytest.mark.parametrize("accumulated", [1, 2])
def test_it_looks_once_at_each_chosen_step_of_every_task(steps, expected, accumulated):
    """Two tasks of two epochs of four steps; with gradients accumulated a step has several batches."""
    seen = []
    probe, learner = StabilityGap(steps, seen.append), SimpleNamespace(step=0, length=(2, 4))
    for _ in range(2):
        probe.on_train_start(None, learner)
        for epoch in range(2):
            learner.context = SimpleNamespace(epoch=epoch)
            probe.on_train_epoch_start(None, learner)
            for batch in range(4 * accumulated):
                learner.step += (batch + 1) % accumulated == 0
                if learner.step:
                    probe.after_batch(None, learner, batch + 1, 4 * accumulated)
    assert [step for step in seen if step] == expected
