"""Networks kept at chosen epochs: which, what is in them, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from composed import composed
from conftest import snapshot

from orthotrace.config.folder_names import hash_of, relevant
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run, load

# Run of the folder -> the epochs that it kept of each task.
KEPT = {"single": {1: [0, 2, 3]}, "tasks": {1: [0, 1], 2: [1]}, "average": {1: [0, 3]}, "none": {1: []}}


def same(one, other) -> bool:
    values = other.state_dict()
    return all(torch.equal(value, values[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("name", KEPT)
def test_the_chosen_epochs_of_each_task_are_kept(epochs, name):
    run, expected = Run(epochs / name), KEPT[name]
    assert {task: run.epochs(task) for task in run.tasks} == expected
    # What a run goes on from, and its tasks, are as without them.
    assert not any("epoch" in path.name for path in run.generations) and run.tasks == list(expected)


def test_a_network_is_what_it_was_then(epochs):
    single, none = epochs / "single", epochs / "none"
    untrained, second, last = (load(single, epoch=epoch) for epoch in (0, 2, 3))
    assert not (untrained.training or same(untrained, second) or same(second, last))
    # Without a closing pass the end of the last epoch is that of the task, and nothing else has changed.
    assert same(last, load(single)) and same(last, load(none))
    torch.manual_seed(0)
    accuracy = Run(single).scores["untrained"][0]
    from orthotrace.analysis.networks.runs import stream_of
    from orthotrace.training.evaluation import evaluate

    assert evaluate(untrained, stream_of(Run(single)).test(0)).accuracy == accuracy


def test_of_an_average_the_average_is_kept(epochs):
    last = Run(epochs / "average").epoch_checkpoint(1, 3)
    saved = torch.load(last, weights_only=True)
    assert same(load(epochs / "average", epoch=3), load(epochs / "average"))
    raw = saved["state_dict"]["model.fc1.weight"]
    assert not torch.equal(raw, load(epochs / "average", epoch=3).fc1.weight)


def test_an_epoch_that_was_not_kept_and_one_that_is_damaged(epochs, tmp_path):
    for name, there in (("single", "0, 2, 3"), ("none", r"none; trainer.checkpoints=\[...\] keeps some")):
        with pytest.raises(UserError, match=f"epoch: .*has no checkpoint of epoch 1; there are: {there}"):
            load(epochs / name, epoch=1)
    for name, content in snapshot(epochs / "single").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    path = Run(tmp_path).epoch_checkpoint(1, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="task1_epoch2.ckpt is damaged"):
        load(tmp_path, epoch=2)
    assert same(load(tmp_path, epoch=3), load(epochs / "single"))


def test_without_it_the_name_of_a_folder_is_as_before():
    assert "checkpoints" not in relevant(composed())["trainer"]
    names = [
        hash_of(relevant(composed(*more))) for more in ([], ["trainer.checkpoints=null"], ["trainer.checkpoints=[0]"])
    ]
    assert names[0] == names[1] != names[2]
