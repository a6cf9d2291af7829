"""An analysis of the epochs that runs kept: networks along their training."""

from __future__ import annotations

import json
import re

import pytest

from orthotrace.analysis.networks.epochs import at_epochs
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run, load


def test_epochs_stand_in_the_place_of_tasks(epochs):
    (run,), chosen = at_epochs([Run(epochs / "single")], "all")
    assert (run.tasks, chosen) == ([0, 2, 3], "all") and run.config == Run(epochs / "single").config
    for epoch in run.tasks:
        expected = load(epochs / "single", epoch=epoch).state_dict()
        assert all(value.equal(expected[key]) for key, value in run.network(epoch).state_dict().items())
        assert run.checkpoint(epoch) == Run(epochs / "single").epoch_checkpoint(1, epoch)


@pytest.mark.parametrize(
    ("name", "wanted", "line"),
    [
        ("tasks", "all", "epochs: tasks has 2 tasks: epochs are those of runs of one"),
        ("none", "all", r"epochs: none kept no epochs: train it with trainer.checkpoints=\[0,1,2,...\]"),
        ("single", [0, 1], r"epochs: single did not keep epoch 1; there are: \[0, 2, 3\]"),
    ],
)
def test_what_has_no_epochs_is_refused(epochs, name, wanted, line):
    with pytest.raises(UserError, match=line):
        at_epochs([Run(epochs / name)], wanted)


def test_the_command_has_an_rdm_for_each_epoch(epochs, analyze, tmp_path):
    done = analyze(
        f"runs={epochs / 'single'}",
        f"out={tmp_path / 'out'}",
        "epochs=[0,3]",
        "stimuli.per_class=3",
        "formats=[svg]",
        "figures=[drift,rdms]",
    )
    assert done.code == 0, done.err
    assert "mean ± sd over seeds, after training, whichever epochs are analysed" in done.out
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["networks"] == 2 and found["options"]["epochs"] == [0, 3]
    names = sorted(path.stem for path in (tmp_path / "out" / "rdms").glob("*.safetensors"))
    assert len({name for name in names if "task0" in name}) == len({name for name in names if "task3" in name}) > 0
    # Epochs are told as such, wherever a number is one.
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "after epoch 3" in page and "first analysed epoch" in page
    assert not re.search(r"after (every )?task|analysed task", page)
    drawn = (tmp_path / "out" / "figures" / "drift.svg").read_text(encoding="utf-8")
    head = (tmp_path / "out" / "figures" / "drift.csv").read_text(encoding="utf-8").split("\n")[0]
    assert "After epoch" in drawn and "epoch" in head.split(",")
