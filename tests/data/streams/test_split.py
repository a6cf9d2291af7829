from __future__ import annotations

import dataclasses

import pytest

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split, Superclasses

SOURCE = digits()
GROUPED = dataclasses.replace(SOURCE, superclasses=tuple("even" if label % 2 == 0 else "odd" for label in range(10)))


def test_every_image_is_in_the_task_of_its_class():
    stream = Split(SOURCE, tasks=5, scenario="class", class_order="natural")
    for index in range(5):
        task = stream.task(index)
        for part, of in ((task.train, SOURCE.train), (task.validation, SOURCE.train), (task.test, SOURCE.test)):
            # By their place in the store, images have the labels that they have in the source.
            known = dict(zip(of.index.tolist(), of.labels.tolist(), strict=True))
            assert [known[place] for place in part.index.tolist()] == part.labels.tolist()
            assert part.labels.unique().tolist() == [2 * index, 2 * index + 1]
    sizes = [sum(len(part) for part in (task.train, task.validation)) for task in map(stream.task, range(5))]
    assert sum(sizes) == len(SOURCE.train)


def test_the_order_of_classes_is_drawn_from_the_seed_or_given():
    drawn = [Split(SOURCE, scenario="class", seed=seed).classes for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2] and sorted(drawn[2]) == list("0123456789")
    given = Split(SOURCE, tasks=2, scenario="class", class_order=[9, "3", 1, 0])
    assert given.classes == ("9", "3", "1", "0")
    assert given.task(0).train.labels.unique().tolist() == [0, 1] and given.active.by_task == (range(0, 2), range(2, 4))


def test_tasks_of_different_sizes():
    stream = Split(SOURCE, tasks=3, classes_per_task=[4, 2, 1], scenario="class")
    assert [len(part) for part in stream.active.by_task] == [4, 2, 1] and len(stream.classes) == 7
    with pytest.raises(UserError, match="scenario: the tasks have 4, 2, 1 classes"):
        Split(SOURCE, tasks=3, classes_per_task=[4, 2, 1], scenario="domain")


def test_superclasses_are_tasks():
    stream = Superclasses(GROUPED, scenario="task")
    names = [{stream.classes[label] for label in stream.task(index).train.labels.unique()} for index in range(2)]
    assert sorted(map(sorted, names)) == [list("02468"), list("13579")]
    assert Superclasses(GROUPED, tasks=1, class_order=["odd"], scenario="task").classes == tuple("13579")
    assert Superclasses(GROUPED, class_order="natural").groups == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Split(SOURCE, tasks=3), "tasks: 10 classes do not divide into 3 tasks (into 2 they do)"),
        (lambda: Split(SOURCE, tasks=11), "tasks: 11 tasks, but there are only 10 classes"),
        (
            lambda: Split(SOURCE, tasks=3, classes_per_task=4),
            "classes_per_task: 12 classes asked, but there are only 10",
        ),
        (lambda: Split(SOURCE, tasks=3, classes_per_task=[1, 2]), "classes_per_task: 2 numbers for 3 tasks"),
        (lambda: Split(SOURCE, tasks=1, class_order=["ten"]), "class_order: there is no class 'ten'"),
        (lambda: Split(SOURCE, tasks=1, class_order=[1, 1]), "class_order: the class 1 is named twice"),
        (lambda: Split(SOURCE, class_order="random"), "class_order: "),
        (lambda: Superclasses(SOURCE), "source: digits has no superclasses"),
        (lambda: Superclasses(GROUPED, tasks=3), "tasks: 3 tasks, but there are only 2 superclasses"),
        (
            lambda: Superclasses(GROUPED, class_order=["od"]),
            "class_order: there is no superclass 'od'; did you mean 'odd'?",
        ),
        (
            lambda: Split(dataclasses.replace(SOURCE, classes=(*SOURCE.classes, "ten", "eleven")), tasks=6),
            "class_order: the class ",
        ),
    ],
)
def test_splits_that_cannot_be(make, line):
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value).startswith(line)
