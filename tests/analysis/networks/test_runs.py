import pytest
import torch

from orthotrace.analysis.networks.runs import select, stimuli_of, tasks_of
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import find


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({}, 8), ({"method": None}, 8), ({"method": "gpm"}, 3), ({"method": ["gpm", "hlop"]}, 5), ({"seed": 0}, 3),
        ({"method": "gpm", "seed": [1, 2]}, 2), ({"stream": "permuted"}, 8), ({"model.bias": True}, 8),
    ],
)  # fmt: skip
def test_select(study, where, count):
    assert len(select(str(study), where)) == count


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ({"method": "hlpo"}, "where.method: no run has hlpo; there are: finetune, gpm, hlop"),
        ({"metod": "x"}, "where.metod: no run has this key; did you mean 'method'?"),
        (
            {"trainer": {"max_epoch": 9}},
            "where.trainer.max_epoch: no run has this key; did you mean 'trainer.max_epochs'?",
        ),
        ({"trainer": {"max_epochs": 9}}, "where.trainer.max_epochs: no run has 9; there are: 1"),
        ({"seed": 9}, "where.seed: no run has 9; there are: 0, 1, 2"),
    ],
)
def test_filters_that_match_nothing(study, where, line):
    with pytest.raises(UserError) as error:
        select(str(study), where)
    assert str(error.value).startswith(line)


def test_tasks(study):
    run = find(study)[0]
    assert tasks_of(run, "last") == [2] and tasks_of(run, "all") == [1, 2] and tasks_of(run, [1]) == [1]
    for wrong, line in (
        ([3], "no checkpoint of task 3"),
        ("some", "last, all or a list"),
        (["x"], "last, all or a list"),
    ):
        with pytest.raises(UserError, match=line):
            tasks_of(run, wrong)


def test_stimuli_are_balanced_sorted_fixed_and_hashed(study):
    one, two = (stimuli_of(run, 1, 5, None) for run in find(study)[:2])
    assert one.digest == two.digest and torch.equal(one.images, two.images)
    assert one.labels.tolist() == sorted(list(range(10)) * 5)
    assert stimuli_of(find(study)[0], 2, 5, None).digest != one.digest
    assert stimuli_of(find(study)[0], 1, 5, ["3", "8"]).labels.tolist() == [3] * 5 + [8] * 5


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((1, 5, ["3"]), "stimuli of at least two classes are needed"),
        ((1, 5, ["3", "3"]), "stimuli of at least two classes are needed"),
        ((1, 5, ["3", "x"]), "there is no class 'x'"),
        ((9, 5, None), "there are tasks 1 to 2"),
        ((1, 500, None), "test images, not 500; give stimuli.per_class=[0-9]+ or less"),
        ((1, 0, None), "at least 1 image"),
    ],
)
def test_stimuli_that_cannot_be(study, options, line):
    with pytest.raises(UserError, match=line):
        stimuli_of(find(study)[0], *options)
