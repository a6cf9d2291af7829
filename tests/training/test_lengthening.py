"""A run of fewer tasks that is continued comes to the bits and scores of a run of all tasks."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from composed import ADAPTED, ADAPTERS, GROUPS, KEYS, StopError, Stopping, built

from orthotrace.core.files import link
from orthotrace.results.run_folder import Run
from orthotrace.training import lengthening
from orthotrace.training.progress import Progress
from orthotrace.training.tracking import Tracker

# Few images to train on.
TINY = (
    "trainer.max_epochs=1", "model.hidden=[8]", "trainer.batch_size=256", "trainer.accelerator=cpu",
    "stream.validation=.8",
)  # fmt: skip
STREAMS = {
    "permuted": ("stream=permuted",),
    "split": ("stream=split", "stream.classes_per_task=2", "stream.outputs=10"),
    "split by class": ("stream=split", "stream.classes_per_task=2", "stream.outputs=10", "stream.scenario=class"),
    "split for all": ("stream=split", "stream.classes_per_task=2", "stream.scenario=domain"),
}
# Of each kind one is trained in make test: what it keeps beside the network.
TRAINED = {
    ("finetune", "split"), ("hlop", "split"), ("ewc", "permuted"), ("er", "split by class"),
    ("independent", "split"),
}  # fmt: skip
# What may differ between two runs of one configuration.
TIMES = ("seconds",)


def of_method(method: str) -> list[str]:
    memory = ["method.memory.size=60"] if "memory" in KEYS[method] else []
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    alpha = ["method.alpha=.1"] if method == "owm" else []
    return [f"method={method}", *memory, *rows, *alpha, *(ADAPTED if method in ADAPTERS else [])]


def state(run: Run, task: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that a checkpoint holds: tensors, and what was measured."""
    saved = torch.load(run.checkpoint(task), weights_only=True)
    progress = {key: value for key, value in saved["orthotrace"]["progress"].items() if key not in TIMES}
    network = saved["orthotrace"].get("network", {})
    return saved["state_dict"] | {f"network.{key}": value for key, value in network.items()}, progress


def linked(short: Run, long: Run, tasks: int) -> None:
    """What the command does."""
    for number in range(1, tasks + 1):
        link(short.checkpoint(number), long.checkpoint(number))


def same(ours: Run, theirs: Run, task: int) -> None:
    (found, measured), (wanted, scores) = state(ours, task), state(theirs, task)
    assert measured == scores and found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    left, right = ({key: value for key, value in run.scores.items() if key not in TIMES} for run in (ours, theirs))
    assert left == right


def cases(wanted=TRAINED):
    for method in GROUPS["method"]:
        for stream in STREAMS:
            yield pytest.param(method, stream, marks=[] if (method, stream) in wanted else pytest.mark.whole)


@pytest.mark.parametrize(("method", "stream"), [*cases()])
def test_it_ends_at_the_bits_of_a_run_of_all_tasks(tmp_path, method, stream):
    short, long, whole = (Run(tmp_path / name) for name in ("short", "long", "whole"))
    overrides = (*STREAMS[stream], *of_method(method), *TINY)
    built(short, *overrides, "stream.tasks=2").run()
    linked(short, long, 2)
    for run in (long, whole):
        built(run, *overrides, "stream.tasks=3").run()
    same(long, whole, 3)


@pytest.mark.parametrize("method", GROUPS["method"])
def test_what_a_method_keeps_is_of_one_shape_for_fewer_tasks_and_more(tmp_path, method):
    overrides = (*STREAMS["split"], *of_method(method), *TINY)
    few, more = (built(Run(tmp_path), *overrides, f"stream.tasks={tasks}").learner.state_dict() for tasks in (2, 3))
    # What a later task has of its own is beside it.
    assert set(few) <= set(more)
    assert {name: value.shape for name, value in few.items()} == {name: more[name].shape for name in few}
    beside = {name.split(".")[1] for name in set(more) - set(few)}
    assert beside == ({"trained"} if method == "independent" else set())


class Reported(Tracker):
    def __init__(self):
        self.rows, self.tasks = [], []

    def epoch(self, row, number):
        self.rows.append((number, dict(row)))

    def task(self, progress, scores):
        self.tasks.append(
            (progress.task, copy.deepcopy(progress.accuracy[-1]), copy.deepcopy(progress.capacity), scores)
        )


class Killed(Stopping, Reported):
    def __init__(self, task: int, epoch: int):
        Stopping.__init__(self, task, epoch)
        Reported.__init__(self)


@pytest.mark.parametrize("stream", ["permuted", "split"])
def test_three_tasks_and_two_more_are_five_also_for_a_tracker_and_after_a_kill(tmp_path, stream):
    short, long, whole = (Run(tmp_path / name) for name in ("short", "long", "whole"))
    # An average, and scores inside tasks.
    overrides = (
        *STREAMS[stream], "method=gpm", "method.rows=1", "regularizer.average=.1", "trainer.evaluate_inside=1", *TINY
    )  # fmt: skip
    built(short, *overrides, "stream.tasks=3").run()
    linked(short, long, 3)
    with pytest.raises(StopError):
        built(long, *overrides, "stream.tasks=5", tracker=Killed(5, 1)).run()
    # Nothing but the tasks of the shorter run, and what came after.
    assert {path.name for path in long.checkpoints.glob("*.ckpt")} >= {f"task{number}.ckpt" for number in (1, 2, 3, 4)}
    long.last.unlink()
    long.checkpoint(4).unlink()
    ours, theirs = Reported(), Reported()
    built(long, *overrides, "stream.tasks=5", tracker=ours).run()
    built(whole, *overrides, "stream.tasks=5", tracker=theirs).run()
    same(long, whole, 5)
    assert ours.rows == theirs.rows and ours.tasks == theirs.tasks


def test_each_network_is_tested_with_the_outputs_of_its_time(monkeypatch):
    """What was measured of the shorter run stays, and of every network the new tasks are asked after its own task."""
    monkeypatch.setattr(lengthening, "read", lambda path, load: path)
    asked: list[tuple[str, int]] = []
    loaded = ["drawn"]

    class Asked:
        def untrained(self) -> list[float]:
            return self(0)[0]

        def __call__(self, after: int) -> tuple[list[float], list[None]]:
            asked.append((loaded[-1], after))
            return [after + place / 10 for place in range(4)], []

    checkpoints = SimpleNamespace(
        components=SimpleNamespace(stream=SimpleNamespace(tasks=4)),
        run=SimpleNamespace(checkpoint=lambda number: f"task {number}"),
        load=lambda learner, saved, rank: loaded.append(saved),
    )
    trainer = SimpleNamespace(global_rank=0, strategy=SimpleNamespace(root_device=torch.device("cpu")))
    short = Progress(
        2, task=2, untrained=[7.0, 7.5], accuracy=[[8.0, 8.5], [9.0, 9.5]], by_class=[[], []], leak=[None, None],
        validation=[0.5],
    )  # fmt: skip
    parts: Any = (torch.nn.Linear(2, 2), checkpoints, Asked(), trainer, Tracker())
    long = lengthening.lengthened(short, *parts)
    assert asked == [("drawn", 0), ("task 1", 1), ("task 2", 2)]
    assert long.untrained == [7.0, 7.5, 0.2, 0.3] and long.tasks == 4 and not long.validation
    assert long.accuracy == [[8.0, 8.5, 1.2, 1.3], [9.0, 9.5, 2.2, 2.3]]
