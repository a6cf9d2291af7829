"""Every method, schedule and regularizer: stopped within a task, a run ends as if it had not been."""

from __future__ import annotations

from pathlib import Path

import commands
import pytest
import torch
from composed import ADAPTED, ADAPTERS, GROUPS, KEYS, MEMORY, Copying, built
from conftest import fresh
from part import part

from orthotrace.results.run_folder import Run
from orthotrace.training.tracking import Tracker

SMALL = ("stream=split", "stream.tasks=3", "stream.classes_per_task=2", "stream.scenario=class", "model.hidden=[12]")
EPOCHS = ("trainer.max_epochs=4", "trainer.batch_size=32", "trainer.save_every=0", "trainer.accelerator=cpu")
# Two batches of each task, and a remainder.
FEW = "dataset.limit=36"
# What draws or remembers within a task, all at once.
BUSY = ("regularizer.dropout=.1", "regularizer.dropconnect=.1", "regularizer.input_noise=.1", "augmentation.shift=1")
SPIKING = ("model=spiking_mlp", "model.steps=3")
CONVOLUTIONS = ("model=convnet", "model.channels=[3,4]", "method.patches=20")
CASES = {
    **{method: [f"method={method}", *BUSY, "trainer.evaluate_inside=3"] for method in GROUPS["method"]},
    "api, all layers": ["method=api", "method.threshold=1", "method.rate=.1"],
    "trgp, all regions": ["method=trgp", "method.threshold=0", "method.rate=.1"],
    "gpm, complement": ["method=gpm", "method.complement=true"],
    "hlop, the paper's rule": ["method=hlop", "method.step=1", "method.momentum=.9", "method.start_epoch=2"],
    "convolutions": ["method=hlop", *CONVOLUTIONS],
    "convolutions, trgp": ["method=trgp", "method.threshold=0", *CONVOLUTIONS],
    "normalisation by task": ["method=gpm", "method.normalisation=task", *CONVOLUTIONS, "stream.scenario=task"],
    "an average": [
        "method=gpm",
        "regularizer.average=.5",
        "trainer.evaluate_inside=3",
        "trainer.checkpoints=[0,1,3,4]",
    ],
    "nearest mean": ["method=er", "trainer.nearest_mean=true", "trainer.evaluate_inside=3", *BUSY],
    "recurrent": ["method=si", "model=lstm", "model.reading=rows", "regularizer.dropconnect=.1"],
    "attention": ["method=si", "model=vit", "model.features=8", "model.depth=1", "model.dropout=.1", *BUSY],
    "frozen paths": [
        "method=finetune",
        "model=fractal",
        "model.blocks=[{kind: fractal, channels: 8, columns: 2, drop_path: .2, global_drop_path: .3}]",
        "model.freeze_path=true",
        *BUSY,
    ],
    "stochastic pooling": [
        "method=si",
        "model=blocks",
        "model.blocks=[{kind: conv, channels: 4}, {kind: pool}]",
        "model.pool=stochastic",
    ],
    **{
        f"scheduler {name}": ["method=finetune", f"scheduler={name}"]
        for name in GROUPS["scheduler"]
        if name != "range_test"
    },
    "early stopping": ["method=finetune", "regularizer.early_stopping=1", "optimizer.lr=1", *BUSY],
    "the best weights": ["method=trgp", "method.threshold=0", "regularizer.restore_best=true", "optimizer.lr=1"],
    "a fused optimizer": ["method=gpm", "optimizer=adamw", "+optimizer.fused=true"],
    "plateau": ["method=er", "scheduler=plateau", "scheduler.patience=0", "optimizer.lr=.5"],
    "a crossbar": [
        "method=gpm",
        "weights=memristor",
        "model.weights.write_noise=.05",
        "model.weights.read_noise=.05",
        "trainer.evaluate_inside=3",
        *CONVOLUTIONS,
    ],
    "adder layers": ["method=si", "weights=adder", "model=convnet", "model.channels=[3,4]"],
    "few levels": [
        "method=ewc",
        "weights=sawb",
        "model.weights.activation_bits=2",
        *CONVOLUTIONS[:1],
        "model.channels=[3,4]",
    ],
    "spiking, dsr": ["method=hlop", *SPIKING, "model.learning=dsr", "method.levels=4", "method.start_epoch=2", *BUSY],
    "spiking, bptt": ["method=gpm", *SPIKING, "model.learning=bptt", "model.trained=[threshold,decay]", *BUSY],
    "spiking, ottt": ["method=derpp", *SPIKING, "model.learning=ottt", "model.encoding=rate", "regularizer.dropout=.1"],
}
CASES["scheduler step"] += ["scheduler.every=1", "scheduler.gamma=.5"]


def state(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.last, weights_only=True)["state_dict"]


def shown(path: Path) -> dict[str, torch.Tensor]:
    """The whole state in a checkpoint, and the network that an analysis takes from it."""
    saved = torch.load(path, weights_only=True)
    return saved["state_dict"] | {
        f"shown.{key}": value for key, value in saved["orthotrace"].get("network", {}).items()
    }


# One method of a kind, and what else has a state of its own.
ALIKE = ("splitlora", "agem", "er_ace", "ewc_online", "nscl", "sgp", "owm", "duncker", "convolutions, trgp", "joint", "scheduler constant", "scheduler step",
         "early stopping", "spiking, bptt", "attention")  # fmt: skip


@pytest.mark.parametrize("case", part(CASES, [case for case in CASES if case not in ALIKE]))
def test_a_run_that_was_stopped_ends_the_same(tmp_path, case):
    method = CASES[case][0].removeprefix("method=")
    memory = ["method.memory.size=30"] if method in MEMORY else []
    rows = ["method.rows=2"] if method in GROUPS["method"] and "rows" in KEYS[method] else []
    widths = any(one in CASES[case] for one in ("model=convnet", "model=vit", "model=fractal", "model=blocks"))
    small = [one for one in SMALL if not (one.startswith("model.") and widths)]
    alpha = ["method.alpha=.1"] if case == "owm" else []
    adapted = ADAPTED if method in ADAPTERS else []
    overrides = [*small, *EPOCHS, FEW, *CASES[case], *memory, *rows, *alpha, *adapted]
    whole, cut = Run(tmp_path / "whole"), Run(tmp_path / "cut")
    # One batch in a step of Lightning's loop, and several: to the same bits, whichever a run begins with.
    one, several = "trainer.batches_at_once=1", "trainer.batches_at_once=2"
    progress = built(whole, *overrides, one, tracker=Copying(whole, cut, task=2)).run()
    assert Run(cut.folder).scores["acc"] is None
    continued = built(cut, *overrides, several)
    assert continued.run().epochs == progress.epochs and continued.progress.inside == progress.inside
    for key, value in state(whole).items():
        assert torch.equal(value, state(cut)[key]), key
    assert {**cut.scores, "seconds": 0} == {**whole.scores, "seconds": 0}
    assert cut.metrics_file.read_bytes() == whole.metrics_file.read_bytes()
    for task in whole.tasks:
        assert cut.epochs(task) == whole.epochs(task)
        for epoch in whole.epochs(task):
            one, other = (shown(run.epoch_checkpoint(task, epoch)) for run in (whole, cut))
            assert all(torch.equal(value, other[key]) for key, value in one.items()), (task, epoch)


def test_an_early_stop_takes_nothing_from_the_next_task(tmp_path):
    experiment = built(
        Run(tmp_path), "method=finetune", *SMALL, *EPOCHS, "trainer.max_epochs=9", "regularizer.early_stopping=1",
        "optimizer.lr=.5",
    )  # fmt: skip
    # Stopped at once in the first task, never in the others.
    regularizer = experiment.learner.regularizer
    regularizer.stops = lambda rows: bool(rows) and rows[0]["task"] == 1
    progress = experiment.run()
    assert [sum(row["task"] == task for row in progress.epochs) for task in (1, 2, 3)] == [1, 9, 9]


def test_steps_inside_tasks_are_those_chosen(tmp_path):
    run = Run(tmp_path)
    experiment = built(run, "method=finetune", *SMALL, *EPOCHS, "trainer.evaluate_inside=[1,2,7]")
    progress = experiment.run()
    assert [(row["task"], row["step"]) for row in progress.inside] == [(t, s) for t in (1, 2, 3) for s in (1, 2, 7)]
    assert [len(row["accuracy"]) for row in progress.inside] == [1] * 3 + [2] * 3 + [3] * 3
    # The first step of the second task is all but the end of the first.
    assert abs(progress.inside[3]["accuracy"][0] - progress.accuracy[0][0]) < 0.6
    lines = run.inside_file.read_text().strip().split("\n")
    assert lines[0] == "task,step,accuracy_task1,accuracy_task2,accuracy_task3" and len(lines) == 10
    during = [row["accuracy"][0] for row in progress.inside if row["task"] > 1] + [
        row[0] for row in progress.accuracy[1:]
    ]
    second = [row["accuracy"][1] for row in progress.inside if row["task"] > 2] + [progress.accuracy[2][1]]
    assert run.scores["min_acc"] == pytest.approx((min(during) + min(second)) / 2)


def test_looking_inside_changes_nothing(tmp_path):
    overrides = ("method=er", "method.memory.size=30", *SMALL, *EPOCHS, *BUSY)
    plain, watched = Run(tmp_path / "plain"), Run(tmp_path / "watched")
    (
        built(plain, *overrides).run(),
        built(watched, *overrides, "trainer.evaluate_inside=2", "trainer.checkpoints=[0,2]").run(),
    )
    for key, value in state(plain).items():
        assert torch.equal(value, state(watched)[key])
    assert plain.scores["min_acc"] is None and watched.scores["min_acc"] is not None


def test_a_task_that_comes_again_keeps_its_head(tmp_path):
    """Its outputs are as the first visit left them when the second begins: nothing is initialised again."""
    experiment = built(
        Run(tmp_path), "method=finetune", "stream=repeated", "stream.tasks=5", "stream.scenario=task", "model.hidden=[12]",
        *EPOCHS,
    )  # fmt: skip
    progress = experiment.run()
    assert progress.tasks == 10
    states = [torch.load(Run(tmp_path).checkpoint(task), weights_only=True)["state_dict"] for task in range(1, 11)]
    own = experiment.stream.active.by_task
    for visit in range(5):
        part = slice(own[visit].start, own[visit].stop)
        for later in range(visit, visit + 5):
            assert torch.equal(states[later]["model.head.weight"][part], states[visit]["model.head.weight"][part])
        assert not torch.equal(states[visit + 5]["model.head.weight"][part], states[visit]["model.head.weight"][part])


def test_class_accuracies_are_over_samples_of_all_tasks_so_far(tmp_path):
    run = Run(tmp_path)
    experiment = built(run, "method=finetune", *SMALL, *EPOCHS)
    progress = experiment.run()
    model, stream = experiment.learner.model.eval(), experiment.stream
    for task in range(3):
        for label in stream.active.by_task[task]:
            part = stream.test(task)
            chosen = part.take((part.labels == label).nonzero().flatten())
            with torch.no_grad():
                right = (model(chosen.inputs()).argmax(1) == label).double().mean()
            assert run.scores["class_accuracy"][2][label] == pytest.approx(float(right))
    assert progress.by_class[0][2:] == [None] * 4 and run.scores["classes"] == list(stream.classes)


# A range test is of one task.
@pytest.mark.parametrize("schedule", [name for name in GROUPS["scheduler"] if name != "range_test"])
def test_every_task_starts_with_the_rate_of_the_first(tmp_path, schedule):
    keys = {"step": ["scheduler.every=1"], "plateau": ["scheduler.patience=0"]}.get(schedule, [])
    rates: list[list[float]] = []

    class Rates(Tracker):
        def epoch(self, row, number):
            if row["epoch"] == 1:
                rates.append([])
            rates[-1].append(experiment.trainer.optimizers[0].param_groups[0]["lr"])

    experiment = built(
        Run(tmp_path), "method=finetune", f"scheduler={schedule}", "optimizer.lr=.4", *keys, *SMALL, *EPOCHS,
        tracker=Rates(),
    )  # fmt: skip
    experiment.run()
    assert len({task[0] for task in rates}) == 1
    if schedule != "plateau":  # which follows the scores
        assert rates[0] == rates[1] == rates[2]
        assert (len(set(rates[0])) == 1) == (schedule == "constant")


GROWN = ("stream=permuted", "model.hidden=[12]", "trainer.max_epochs=1", "trainer.batch_size=128", FEW,
         "trainer.accelerator=cpu")  # fmt: skip


def overrides_of(method: str, tasks: int) -> list[str]:
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    memory = [f"method.memory.size={10 * tasks}"] if method in MEMORY else []
    alpha = ["method.alpha=.1"] if method == "owm" else []
    adapted = ADAPTED if method in ADAPTERS else ()
    return [f"method={method}", f"stream.tasks={tasks}", *GROWN, *rows, *memory, *alpha, *adapted]


# What grows with the tasks: subspaces, their complement, importances, a memory with logits, networks.
GROWING = ("hlop", "trgp", "ewc", "derpp", "independent")


@pytest.mark.parametrize(
    ("methods", "tasks"), [(GROWING, 3), pytest.param(GROUPS["method"], 10, marks=pytest.mark.whole)], ids=["3", "10"]
)
def test_nets_grown_over_tasks_continue_in_a_fresh_process(tmp_path, methods, tasks):
    """Stopped when the last task has been trained, finished by another process, to the same bits."""
    for method in methods:
        whole, cut = Run(tmp_path / "whole" / method), Run(tmp_path / "cut" / method)
        built(whole, *overrides_of(method, tasks), tracker=Copying(whole, cut, task=tasks)).run()
        assert Run(cut.folder).scores["acc"] is None
    # Forked from one that has only imported, which takes longer than all of these runs.
    process = fresh(commands.finished, tmp_path / "cut", {method: overrides_of(method, tasks) for method in methods})
    process.join(600)
    assert process.exitcode == 0
    for method in methods:
        whole, cut = Run(tmp_path / "whole" / method), Run(tmp_path / "cut" / method)
        assert {**cut.scores, "seconds": 0} == {**whole.scores, "seconds": 0}, method
        for key, value in state(whole).items():
            assert torch.equal(value, state(cut)[key]), (method, key)
