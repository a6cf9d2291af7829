"""What every stream can do."""

from __future__ import annotations

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Rotated, Sequence, Split
from orthotrace.data.streams.base import divided

SOURCE = digits()


def split(**options) -> Split:
    return Split(SOURCE, tasks=5, class_order="natural", **options)


@pytest.mark.parametrize(
    ("scenario", "labels", "classes"),
    [
        ("domain", [[0, 1]] * 5, ("0/2/4/6/8", "1/3/5/7/9")),
        ("task", [[2 * task, 2 * task + 1] for task in range(5)], tuple("0123456789")),
        ("class", [[2 * task, 2 * task + 1] for task in range(5)], tuple("0123456789")),
    ],
)
def test_labels_are_outputs(scenario, labels, classes):
    stream = split(scenario=scenario)
    assert stream.classes == classes and stream.active.outputs == len(classes)
    assert stream.shared_head == (scenario == "domain")
    for index in range(5):
        task = stream.task(index)
        for part in (task.train, task.validation, task.test):
            assert part.labels.unique().tolist() == labels[index]


def test_a_task_that_comes_again_is_the_same_task_with_the_same_outputs():
    stream = split(scenario="task", repeats=3)
    assert stream.tasks == 15
    for index in range(5):
        one, two = stream.task(index), stream.task(index + 10)
        assert torch.equal(one.train.images, two.train.images) and torch.equal(one.test.labels, two.test.labels)
        assert stream.active.by_task[index] == stream.active.by_task[index + 5]


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_blurred_boundaries_keep_every_image_once(scenario):
    sharp, blurred = split(scenario=scenario), split(scenario=scenario, blur=0.25)
    ours = torch.cat([blurred.task(index).train.index for index in range(5)])
    theirs = torch.cat([sharp.task(index).train.index for index in range(5)])
    assert torch.equal(ours.sort().values, theirs.sort().values)
    for index in range(5):
        own = set(sharp.task(index).train.index.tolist())
        stayed = sum(place in own for place in blurred.task(index).train.index.tolist())
        assert stayed == len(own) - round(0.25 * len(own))
        assert torch.equal(blurred.task(index).validation.index, sharp.task(index).validation.index)
    # Foreign images keep their own labels.
    if scenario == "class":
        assert len(blurred.task(0).train.labels.unique()) == 10
        assert blurred.active.for_training(0) == range(10)


def test_blurred_boundaries_between_permutations_permute_each_image_as_its_task_does():
    stream = Permuted(SOURCE, tasks=2, blur=0.5)
    sharp = [Permuted(SOURCE, tasks=2).task(index).train for index in range(2)]
    known = {tuple(image.flatten().tolist()) for part in sharp for image in part.images}
    assert all(tuple(image.flatten().tolist()) in known for image in stream.task(1).train.images)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_wrong_labels_are_as_many_as_asked_and_others_of_the_task(scenario):
    clean, noisy = split(scenario=scenario), split(scenario=scenario, label_noise=0.3)
    for index in range(5):
        one, other = clean.task(index), noisy.task(index)
        assert torch.equal(one.train.images, other.train.images)
        wrong = one.train.labels != other.train.labels
        assert int(wrong.sum()) == round(0.3 * len(wrong))
        assert set(other.train.labels.tolist()) == set(one.train.labels.tolist())
        assert torch.equal(one.validation.labels, other.validation.labels)
        assert torch.equal(one.test.labels, other.test.labels)


def test_noise_is_on_the_training_images_alone_and_drawn_once():
    clean, noisy = split(), split(input_noise=0.1)
    one, other = clean.task(1), noisy.task(1)
    assert torch.equal(one.test.images, other.test.images) and torch.equal(
        one.validation.images, other.validation.images
    )
    assert torch.equal(noisy.task(1).train.images, other.train.images)
    difference = other.train.images.float() - one.train.images.float()
    # Pixels of the digits lie in 0 to 16: noise of a tenth has a deviation of 1.6, where neither end clips it.
    free = (one.train.images > 6) & (one.train.images < 10)
    assert other.train.store.dtype == torch.uint8 and int(other.train.images.max()) <= 16
    assert float(difference[free].std()) == pytest.approx(1.6, rel=0.1) and abs(float(difference[free].mean())) < 0.1


@pytest.mark.parametrize("count", [10])
@pytest.mark.parametrize(("tasks", "each"), [(1, 10), (2, 5), (5, 2), (10, 1)])
def test_classes_divide(count, tasks, each):
    assert divided(count, tasks) == each


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"scenario": "online"}, "scenario: input should be 'task', 'domain' or 'class'"),
        ({"scenario": "task", "blur": 0.1}, "scenario: where boundaries are blurred no batch is of one task"),
        ({"repeats": 0}, "repeats: "),
        ({"repeats": 6000}, "repeats: "),
        ({"blur": 1.0}, "blur: "),
        ({"label_noise": -0.1}, "label_noise: "),
        ({"input_noise": -1}, "input_noise: "),
        ({"validation": 0.999}, "validation: 0.999 of 288 images leaves none for training"),
        ({"colour": 1}, "colour"),
    ],
)
def test_options_that_cannot_be(options, line):
    with pytest.raises((UserError, TypeError)) as error:
        split(**options)
    assert line in str(error.value)
    with pytest.raises(UserError, match="no boundaries"):
        Split(SOURCE, tasks=1, scenario="domain", blur=0.1)
    with pytest.raises(UserError, match="a task of one class has no other label"):
        Split(SOURCE, tasks=10, scenario="task", label_noise=0.1)


# Streams of two tasks and of three, and why the first tasks are others.
LONGER = {
    "permuted": (Permuted, {}, None),
    "rotated by given angles": (Rotated, {"angles": [0.0, 30.0, 60.0]}, None),
    "rotated": (Rotated, {}, "its angles are others"),
    "split with room": (Split, {"classes_per_task": 2, "outputs": 10}, None),
    "split for all": (Split, {"classes_per_task": 2, "scenario": "domain"}, None),
    "split": (Split, {"classes_per_task": 2}, "its network has 4 outputs, not 6; stream.outputs=6 from the start"),
    "split, permuted heads": (Permuted, {"scenario": "class"}, "its network has 20 outputs, not 30"),
    "blurred": (Permuted, {"blur": 0.2}, "where boundaries are blurred"),
    "repeated": (Permuted, {"repeats": 2}, "the tasks come again before the new ones"),
    "sequence": (Sequence, {"source": (SOURCE,) * 3}, "a task of stream=sequence may change"),
}  # fmt: skip


@pytest.mark.parametrize("case", LONGER)
def test_a_stream_says_why_its_first_tasks_are_not_those_of_a_shorter_one(case):
    kind, options, reason = LONGER[case]
    few, more = (kind(tasks=tasks, **{"source": SOURCE, "seed": 3, **cut(options, tasks)}) for tasks in (2, 3))
    said = more.differs_from(few)
    assert said is None if reason is None else str(said).startswith(reason)
    if reason is None:
        for index in range(2):
            for part in ("train", "validation", "test"):
                one, two = (getattr(stream.task(index), part) for stream in (few, more))
                assert torch.equal(one.pixels(torch.arange(9)), two.pixels(torch.arange(9)))
                assert torch.equal(one.labels, two.labels)


def cut(options: dict, tasks: int) -> dict:
    return {key: value[:tasks] if key == "angles" else value for key, value in options.items()}


def test_other_classes_are_told():
    few, more = (Split(SOURCE, tasks=tasks, class_order="seed") for tasks in (2, 5))
    assert more.differs_from(few) == "the tasks have other classes"


def test_room_is_for_outputs_that_no_task_has():
    stream = split(scenario="class", outputs=12)
    assert stream.active.outputs == len(stream.classes) == 12 and stream.classes[10:] == ("output 11", "output 12")
    assert stream.active.for_training(4) == range(10) and stream.active.for_evaluation(0, after=0) == range(12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"outputs": 9}, "outputs: 9 outputs, but the tasks have 10 classes"),
        ({"outputs": 12, "scenario": "domain"}, "outputs: domain-incremental tasks share all outputs"),
        ({"outputs": 12, "scenario": "class", "blur": 0.1}, "outputs: blurred tasks teach all outputs"),
    ],
)
def test_room_that_is_none_is_refused(options, said):
    with pytest.raises(UserError, match=said):
        split(**options)
