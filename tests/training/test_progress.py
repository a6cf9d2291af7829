from orthotrace.methods.base import Layer, Outcome
from orthotrace.subspace import Capacity
from orthotrace.training.progress import Progress


def test_a_sequence_is_counted_and_survives_its_state():
    progress = Progress(tasks=2, untrained=[0.1, 0.1])
    for task in range(2):
        assert progress.task == task and not progress.finished and progress.scores(True) is None
        for epoch in range(3):
            progress.spend(0.5)
            row = progress.epoch_ended(step=10 * (3 * task + epoch + 1), row={"train_loss": 1.0})
            assert (row["task"], row["epoch"]) == (task + 1, epoch + 1)
            progress = Progress(**progress.state())
        layers = {"fc1": Layer(0.5 * task, Capacity(3 + task, 9), 80, 0.9, 0.95), "head": Layer(0.1, Capacity(1, 4), 8)}
        progress.task_ended([0.5, 0.25], [1.0, None], Outcome(layers))
    assert progress.finished and progress.seconds == [1.5, 1.5] and len(progress.epochs) == 6
    assert progress.leak == [0.1, 0.5]
    assert progress.capacity["fc1"] == {
        "features": 9,
        "rank": [3, 4],
        "captured": [0.9, 0.9],
        "exact": [0.95, 0.95],
        "leak": [0.0, 0.5],
        "memory_bytes": [80, 80],
    }
    assert progress.capacity["head"]["captured"] == [None, None]
    assert progress.scores(True).acc == 0.375
    assert progress.by_class == [[1.0, None]] * 2
    assert Progress(**progress.state()) == progress


def test_a_method_that_protects_nothing_has_no_leak():
    progress = Progress(tasks=1)
    progress.task_ended([1.0], [1.0], Outcome())
    assert progress.leak == [None] and progress.capacity == {}
