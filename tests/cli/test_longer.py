"""More tasks than a finished run has: the command goes on from it, or says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from composed import built, composed
from conftest import snapshot
from omegaconf import OmegaConf

from orthotrace.cli.longer import shorter_runs, take_over
from orthotrace.config.folder_names import hash_of, relevant
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.results.run_folder import Run, load
from orthotrace.training.settings import Components

SMALL = (
    "method=finetune",
    "trainer.max_epochs=1",
    "model.hidden=[8]",
    "trainer.batch_size=128",
    "trainer.accelerator=cpu",
    "dataset.limit=30",
)


def folder(name: str, tasks: int) -> Path:
    (found,) = Path(f"runs/{name}").glob(f"*stream.tasks={tasks}*")
    return found


def test_three_tasks_and_two_more_are_five(train):
    first = train(*SMALL, "stream.tasks=3")
    assert first.code == 0 and "goes on from" not in first.out, first.err
    short = folder("study", 3)
    before = snapshot(short)
    longer = train(*SMALL, "stream.tasks=5")
    assert longer.code == 0, longer.err
    long = folder("study", 5)
    assert f"goes on from the 3 tasks of {short.name}\n" in longer.out and "(continued, " in longer.out
    assert snapshot(short) == before
    content = json.loads((long / "scores.json").read_text())
    assert [len(row) for row in content["accuracy"]] == [5] * 5 and content["acc"] is not None
    assert content["accuracy"][2][:3] == json.loads((short / "scores.json").read_text())["accuracy"][2]
    assert "is finished" in train(*SMALL, "stream.tasks=5").out
    afresh = train(*SMALL, "stream.tasks=5", "overwrite=true")
    assert afresh.code == 0 and "goes on from" not in afresh.out and "(continued" not in afresh.out


def test_what_cannot_be_gone_on_from_is_told(train, capsys):
    options = ("dataset=digits", "stream=permuted", *SMALL)
    assert train(*options, "stream.tasks=2", "hydra.run.dir=runs/two").code == 0
    three, two = Run("runs/three"), Run("runs/two")
    config, parts = composed(*options, "stream.tasks=3"), built(three, *options, "stream.tasks=3").components

    def told(parts: Components) -> str:
        capsys.readouterr()
        take_over(three, config, parts, "[1/2] ")
        return capsys.readouterr().out

    anew = "[1/2] runs/three starts anew, not from the 2 tasks of two: "
    assert told(replace(parts, digests={"dataset": "others"})) == f"{anew}its images were others\n"
    assert told(replace(parts, stream=Permuted(digits(), tasks=3, scenario="class"))).startswith(f"{anew}its network")
    # Every task is gone on from, not the last alone.
    for number in (1, 2):
        path = two.checkpoint(number)
        content = path.read_bytes()
        path.write_bytes(content[:-9])
        assert told(parts) == f"{anew}its task{number}.ckpt is missing or damaged\n"
        path.unlink()
        assert told(parts) == f"{anew}its task{number}.ckpt is missing or damaged\n"
        path.write_bytes(content)
    assert not three.folder.exists()
    assert told(parts) == "[1/2] runs/three goes on from the 2 tasks of two\n"
    for number in (1, 2):
        assert three.checkpoint(number).read_bytes() == two.checkpoint(number).read_bytes()


def epochs(number: int, *more: str, folder: str = "epochs") -> tuple[str, ...]:
    small = ("stream=single", "model.hidden=[8]", "trainer.batch_size=128", "trainer.accelerator=cpu",
             "dataset.limit=30")  # fmt: skip
    return (*small, f"trainer.max_epochs={number}", f"hydra.run.dir={folder}/{number}", *more)


def test_two_epochs_and_one_more_are_three(train):
    keep = "trainer.checkpoints=[0,1,{}]".format
    for number in (1, 2):
        assert train(*epochs(number, keep(number))).code == 0
    before = snapshot(Path("epochs/2"))
    longer = train(*epochs(3, keep(3)))
    assert longer.code == 0 and "epochs/3 goes on from the 2 epochs of 2\n" in longer.out, longer.err
    assert snapshot(Path("epochs/2")) == before and Run("epochs/3").epochs() == [0, 1, 3]
    # To the same bits as a run that was not continued.
    afresh = train(*epochs(3, keep(3), folder="afresh"))
    assert afresh.code == 0 and "goes on" not in afresh.out
    for epoch in (0, 1, 3):
        one, other = (load(f"{name}/3", epoch=epoch) for name in ("epochs", "afresh"))
        assert all(value.equal(other.state_dict()[key]) for key, value in one.state_dict().items()), epoch
    # What the shorter one did not keep, or would have done otherwise.
    told = train(*epochs(4, "trainer.checkpoints=[1,2]")).out
    assert "epochs/4 starts anew, not from the 3 epochs of 3: it did not keep epoch 2\n" in told
    assert "epochs of" not in train(*epochs(4, "scheduler=cosine", folder="epochs/other")).out


def test_a_rate_that_depends_on_the_number_of_epochs_starts_anew(train):
    assert train(*epochs(2, "trainer.checkpoints=[2]", "scheduler=cosine")).code == 0
    told = train(*epochs(3, "scheduler=cosine"))
    assert "epochs/3 starts anew, not from the 2 epochs of 2: its learning rate changed otherwise\n" in told.out


# What is asked for, and which tasks of which of these runs are gone on from.
THERE = {
    "one": {"tasks": 1}, "three": {"tasks": 3}, "unfinished": {"tasks": 4}, "lists": {"tasks": 2, "angles": [0, 9]},
}  # fmt: skip
ASKED = {
    "more": ({"tasks": 5}, ("three", 3)),
    "few": ({"tasks": 2}, ("one", 1)),
    "as many as the fewest": ({"tasks": 1}, None),
    "another blur": ({"tasks": 5, "blur": 0.5}, None),
    "no number": ({"tasks": None}, None),
    "a list that goes on": ({"tasks": 3, "angles": [0, 9, 18]}, ("lists", 2)),
    "another list": ({"tasks": 3, "angles": [0, 8, 18]}, None),
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("case", ASKED)
def test_the_finished_run_of_most_tasks_is_found(tmp_path, case, named):
    def place(name: str, stream: dict) -> Run:
        config = OmegaConf.create({"seed": 0, "stream": stream})
        return Run(tmp_path / (f"a-{hash_of(relevant(config))}" if named else name))

    folders = {}
    for name, stream in THERE.items():
        run = place(name, stream)
        folders[run.folder] = name
        run.hydra.mkdir(parents=True)
        (run.hydra / "config.yaml").write_text(json.dumps({"seed": 0, "stream": stream}))
        known = dict.fromkeys(("method", "seeds", "accuracy", "capacity"), 0) | {"schema": 1}
        run.scores_file.write_text(json.dumps(known | {"acc": None if name == "unfinished" else 0.5}))
    stream, expected = ASKED[case]
    wanted = relevant(OmegaConf.create({"seed": 0, "stream": stream}))
    found = [(folders[run.folder], tasks) for run, tasks in shorter_runs(place("asked", stream), wanted)]
    assert found[:1] == ([] if expected is None else [expected])
