from types import SimpleNamespace

from orthotrace.cli.progress_bar import ProgressBar


def test_it_counts_the_epochs_of_all_tasks_and_is_silent_without_a_terminal(capsys):
    with ProgressBar("hlop", tasks=3, epochs=4) as bar:
        bar.on_train_epoch_end(None, SimpleNamespace(context=SimpleNamespace(number=1, epoch=2)))
        (row,) = bar.bar.tasks
        assert (row.completed, row.total) == (7, 12)
        assert row.description == "hlop task 2/3"
    assert capsys.readouterr() == ("", "")
