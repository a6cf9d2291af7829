"""Of several data sets those alone are read that a stream shows."""

from __future__ import annotations

import shutil

import pytest
import torch
from composed import FIVE, StopError, Stopping, built, five
from images import write_tables

from orthotrace.analysis.networks.runs import stream_of
from orthotrace.config import dataset
from orthotrace.core.errors import UserError
from orthotrace.data.streams.sequence import chosen
from orthotrace.results.run_folder import Run

TINY = (
    "method=finetune", "dataset=five_datasets", "stream=sequence", "stream.scenario=task", "model.hidden=[4]",
    "trainer.max_epochs=1", "trainer.accelerator=cpu", *(f"dataset.sources.{name}.size=8" for name in FIVE),
)  # fmt: skip
SHOWN = [(tasks, "given", 0) for tasks in (1, 2, 4, 5)] + [(tasks, "seed", seed) for tasks in (1, 3) for seed in (0, 1)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return five(tmp_path_factory.mktemp("five"))


def part_of(whole, folder, names):
    for name in names:
        shutil.copytree(whole / name, folder / name)
    return folder


def options(path, tasks, order, seed):
    return (*TINY, f"dataset.path={path}", f"stream.tasks={tasks}", f"stream.order={order}", f"seed={seed}")


@pytest.mark.parametrize(("tasks", "order", "seed"), SHOWN)
def test_data_sets_that_are_not_shown_need_not_be_there(tmp_path, whole, monkeypatch, tasks, order, seed):
    names = [FIVE[place] for place in chosen(len(FIVE), tasks, order, seed)]
    here = part_of(whole, tmp_path / "part", names)
    found = built(Run(tmp_path / "run"), *options(here, tasks, order, seed))
    assert [one.name for one in found.stream.sources] == names
    # Where all of them are read, the stream is the same.
    monkeypatch.setattr(dataset, "shown", lambda *given: None)
    before = built(Run(tmp_path / "run"), *options(whole, tasks, order, seed))
    for number in range(tasks):
        for ours, theirs in ((found.stream.task(number).train, before.stream.task(number).train),
                             (found.stream.test(number), before.stream.test(number))):  # fmt: skip
            assert torch.equal(ours.inputs(), theirs.inputs()) and torch.equal(ours.labels, theirs.labels)
    if tasks < len(FIVE):
        with pytest.raises(UserError, match=r"dataset\.sources\.\w+\.path: there is no folder"):
            built(Run(tmp_path / "run"), *options(here, tasks, order, seed))


@pytest.mark.parametrize("order", ["given", "seed"])
def test_one_that_is_shown_is_missed_by_its_name(tmp_path, whole, order):
    first, second = (FIVE[place] for place in chosen(len(FIVE), 2, order, 0))
    here = part_of(whole, tmp_path / "part", [first])
    with pytest.raises(UserError, match=rf"dataset\.sources\.{second}\.path: there is no folder"):
        built(Run(tmp_path / "run"), *options(here, 2, order, 0))


@pytest.mark.parametrize("wrong", ["stream.tasks=6", "stream.tasks=0", "stream.tasks=two", "stream.order=drawn"])
def test_what_does_not_fit_is_refused_as_ever(tmp_path, whole, wrong):
    key = wrong.partition("=")[0]
    with pytest.raises(UserError, match=rf"^{key}: "):
        built(Run(tmp_path / "run"), *options(whole, 2, "given", 0), wrong)


def test_a_run_that_began_with_all_of_them_goes_on(tmp_path, whole, monkeypatch):
    run, chosen_options = Run(tmp_path / "run"), options(whole, 2, "seed", 0)
    with monkeypatch.context() as before:
        before.setattr(dataset, "shown", lambda *given: None)
        with pytest.raises(StopError):
            built(run, *chosen_options, tracker=Stopping(2, 1)).run()
    went_on = built(run, *chosen_options)
    assert went_on.run().finished
    assert went_on.run().accuracy == built(Run(tmp_path / "other"), *chosen_options).run().accuracy


def test_a_run_that_began_with_other_images_does_not(tmp_path, whole):
    run = Run(tmp_path / "run")
    with pytest.raises(StopError):
        built(run, *options(whole, 2, "given", 0), tracker=Stopping(2, 1)).run()
    here = part_of(whole, tmp_path / "part", FIVE[:1])
    write_tables(here / FIVE[1], classes=3, per_class=5)
    with pytest.raises(UserError, match="the images of dataset are not those"):
        built(run, *options(here, 2, "given", 0)).run()


def test_an_analysis_reads_no_more_than_its_run(tmp_path, whole, train):
    here = part_of(whole, tmp_path / "part", FIVE[:2])
    assert train(*options(here, 2, "given", 0), "hydra.run.dir=run").code == 0
    assert [one.name for one in stream_of(Run(tmp_path / "run")).sources] == list(FIVE[:2])
