import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from orthotrace.cli import progress_bar
from orthotrace.cli.progress_bar import ProgressBar


class Module:
    """A learner whose device is waited for where it is asked how far it is."""

    def __init__(self):
        self.context = SimpleNamespace(number=1, epoch=2)
        self.asked = 0

    def recent(self):
        self.asked += 1
        return 0.1234, 0.9876


def test_it_counts_the_epochs_of_all_tasks_and_is_silent_without_a_terminal(capsys):
    module = Module()
    with ProgressBar("hlop", tasks=3, epochs=4) as bar:
        bar.after_batch(None, module, 1, 4)
        bar.on_train_epoch_end(None, module)
        (row,) = bar.bar.tasks
        assert (row.completed, row.total) == (7, 12)
        assert row.description == "hlop task 2/3"
    assert capsys.readouterr() == ("", "") and module.asked == 0 and not bar.watched


@pytest.mark.parametrize("seconds", [0.01, 0.3, 2.0])
def test_loss_and_accuracy_are_read_twice_a_second_at_most(monkeypatch, seconds):
    out, now, module = io.StringIO(), [100.0], Module()
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    bar = ProgressBar("[1/2] seed=0", tasks=3, epochs=4)
    bar.bar.live.console = Console(file=out, force_terminal=True, width=160)
    bar.bar.live.auto_refresh = False
    assert bar.watched
    with bar:
        for batch in range(100):
            bar.after_batch(None, module, batch + 1, 100)
            now[0] += seconds
        bar.bar.refresh()
    assert module.asked <= 2 * 100 * seconds + 1 and module.asked >= min(100, int(100 * seconds))
    (row,) = bar.bar.tasks
    assert 6 < row.completed <= 7
    assert "[1/2] seed=0 task 2/3" in out.getvalue() and "loss 0.123  accuracy 0.988" in out.getvalue()
