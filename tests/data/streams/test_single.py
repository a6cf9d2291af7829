"""One task: all of a data set, or disjoint halves of its images or classes."""

from __future__ import annotations

import pytest
import torch
from composed import built, composed

from orthotrace.core.errors import UserError
from orthotrace.data.sources import arrays, digits
from orthotrace.data.streams import Single
from orthotrace.results.run_folder import Run

SOURCE = digits()


def places(stream):
    task = stream.task(0)
    return [set(part.index.tolist()) for part in (task.train, task.validation, task.test)]


def test_all_of_a_data_set():
    stream = Single(SOURCE)
    assert stream.tasks == 1 and stream.classes == SOURCE.classes
    train, validation, test = places(stream)
    assert not train & validation and train | validation == set(SOURCE.train.index.tolist())
    assert test == set(SOURCE.test.index.tolist()) and len(validation) == round(0.1 * len(SOURCE.train))


@pytest.mark.parametrize("seed", [0, 1])
def test_halves_of_the_images_are_disjoint_and_equal_in_every_class(seed):
    halves = [Single(SOURCE, images=half, seed=seed) for half in ("first", "second")]
    first, second = (train | validation for train, validation, _ in map(places, halves))
    assert not first & second and len(first) == len(second)
    counts = [torch.bincount(one.source.train.labels).tolist() for one in (*halves, Single(SOURCE))]
    assert counts[0] == counts[1] == [count // 2 for count in counts[2]]
    # The test images are those of all.
    assert places(halves[0])[2] == places(halves[1])[2] == set(SOURCE.test.index.tolist())


@pytest.mark.parametrize("seed", [0, 1])
def test_halves_of_the_classes_are_disjoint_and_their_stimuli_the_same(seed):
    halves = [Single(SOURCE, classes=half, seed=seed) for half in ("first", "second")]
    assert {len(one.classes) for one in halves} == {5} and not set(halves[0].classes) & set(halves[1].classes)
    for stream in halves:
        task = stream.task(0)
        assert task.train.labels.unique().tolist() == task.test.labels.unique().tolist() == list(range(5))
        (images, names) = stream.original()
        assert images is SOURCE.test and names == SOURCE.classes
        known = dict(zip(SOURCE.train.index.tolist(), SOURCE.train.labels.tolist(), strict=True))
        for place, label in zip(task.train.index.tolist(), task.train.labels.tolist(), strict=True):
            assert SOURCE.classes[known[place]] == stream.classes[label]


@pytest.mark.parametrize("what", ["images", "classes"])
def test_another_seed_has_other_halves(what):
    first, other = (Single(SOURCE, **{what: "first"}, seed=seed) for seed in (0, 1))
    assert set(first.source.train.index.tolist()) != set(other.source.train.index.tolist()) or (
        first.classes != other.classes
    )


@pytest.mark.parametrize(
    ("images", "options", "line"),
    [
        ([0, 0, 1], {"images": "first"}, "images: a class with 1 training image has no halves"),
        ([0, 0, 1, 1, 2, 2], {"classes": "second"}, "classes: half of the 3 classes is less than two"),
        ([0, 0, 1, 1], {"images": "third"}, "images: "),
    ],
)
def test_halves_that_cannot_be(images, options, line):
    labels = torch.tensor(images)
    pixels = torch.zeros(len(labels), 2, 2, dtype=torch.uint8)
    with pytest.raises(UserError, match=line):
        Single(arrays(pixels, labels, pixels, labels), validation=0.0, **options)


def test_its_method_is_finetune_unless_another_is_chosen():
    target = "orthotrace.methods.{}".format
    assert composed("stream=single").method._target_ == target("finetune.Finetune")
    assert composed("stream=single", "method=gpm").method._target_ == target("gpm.GPM")
    assert composed().method._target_ == target("hlop.HLOP")


def test_scores_that_need_several_tasks_do_not_apply(tmp_path):
    run = Run(tmp_path / "run")
    small = ("model.hidden=[4]", "trainer.max_epochs=1", "trainer.accelerator=cpu")
    built(run, "method=finetune", "stream=single", *small).run()
    scores = run.scores
    assert [scores[key] for key in ("bwt", "fwt", "forgetting")] == [None] * 3
    for key in ("acc", "aia", "learning_accuracy"):
        assert scores[key] == pytest.approx(scores["accuracy"][0][0])
