from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tasks import context_of
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.finetune import Finetune
from orthotrace.models.mlp import MLP
from orthotrace.training.evaluation import evaluate
from orthotrace.training.learner import Learner
from orthotrace.training.parameter_groups import parameter_groups
from orthotrace.training.regularizer import Regularizer
from orthotrace.training.schedules import Constant, Plateau
from orthotrace.training.settings import Optimization


def test_rates_reach_their_parameters_and_the_longest_name_counts():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    groups = parameter_groups(model, {"0": 0.5, "0.bias": 0.1})
    found = {id(value): group.get("lr") for group in groups for value in group["params"]}
    names = {name: found[id(value)] for name, value in model.named_parameters()}
    assert names == {"0.weight": 0.5, "0.bias": 0.1, "1.weight": None, "1.bias": None}
    assert [group["lr"] for group in torch.optim.SGD(groups, lr=9.0).param_groups] == [9.0, 0.5, 0.1]


@pytest.mark.parametrize(
    ("rates", "line"),
    [
        ({"fc9": 0.1}, "no parameter has the name 'fc9'; did you mean 'fc1'?"),
        ({"fc1": 0}, "the rate of fc1 must be a positive number (got 0)"),
        ({"fc1": "fast"}, "the rate of fc1 must be a positive number (got fast)"),
        ({"fc": 0.1}, "no parameter has the name 'fc'"),
    ],
)
def test_rates_that_cannot_be(rates, line):
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(2, 2))
    with pytest.raises(UserError) as error:
        parameter_groups(model, rates)
    assert line in str(error.value)


STREAM = Split(digits(), tasks=5, scenario="class", class_order="natural")


def learner(schedule: Constant | None = None, regularizer: Regularizer | None = None) -> Learner:
    """At the start of the first task, its optimizer made."""
    torch.manual_seed(0)
    model, method = MLP(STREAM.shape, 10, hidden=[6]), Finetune()
    method.setup(model, Seeds(), STREAM)
    made = Learner(
        model,
        method,
        Optimization(
            lambda parameters: torch.optim.SGD(parameters, 0.1),
            schedule=schedule or Constant(),
            regularizer=regularizer or Regularizer(),
        ),
    )
    made.begin_task(context_of(STREAM), (2, 3))
    return made


def test_a_batch_counts_by_its_weight():
    """In a distributed run shares of a batch may differ in size."""
    made = learner()
    made.on_train_epoch_start()
    batch = next(iter(Batches(made.context.part, 32, 0, 0)))
    plain = made.training_step(batch, 0)
    assert torch.allclose(made.training_step(batch._replace(weight=0.25), 1), plain * 0.25)


def test_what_a_bar_shows_is_the_mean_of_the_last_batches():
    made = learner()
    made.on_train_epoch_start()
    losses, right = [], []
    for number, batch in zip(range(5), Batches(made.context.part, 32, 0, 0), strict=False):
        losses.append(float(made.training_step(batch, number).detach()))
        logits = made.model(batch.inputs).detach()
        right.append(made.context.outputs.predicted(logits, 0, batch.tasks) == batch.labels)
    loss, accuracy = made.recent(2)
    assert loss == pytest.approx(sum(losses[-2:]) / 2, rel=1e-6)
    assert accuracy == pytest.approx(float(torch.cat(right[-2:]).double().mean()))
    assert made.recent()[0] == pytest.approx(sum(losses) / 5, rel=1e-6)


def test_validation_is_the_mean_over_images_not_over_parts():
    made, part = learner(), STREAM.task(0).train
    few, many = part.take(torch.arange(10)), part.take(torch.arange(10, 60))
    made.begin_task(made.context, (2, 3), [(few, range(2)), (many, range(2))])
    loss, accuracy = made._validate()
    whole = evaluate(made.model, part.take(torch.arange(60)), range(2), loss=True)
    parts = [evaluate(made.model, one, range(2), loss=True) for one in (few, many)]
    assert loss == pytest.approx(whole.loss) and accuracy == pytest.approx(whole.accuracy)
    assert abs(sum(one.loss for one in parts) / 2 - whole.loss) > 1e-3, "the parts must differ"


def test_the_plateau_goes_on_where_it_was():
    made = learner(Plateau(patience=3))
    made.configure_optimizers()
    for score in (1.0, 2.0, 3.0):
        made._plateau.step(score)
    made.on_save_checkpoint(saved := {"state_dict": {}, "orthotrace": {}})
    again = learner(Plateau(patience=3))
    again.begin_task(replace(again.context, epoch=1), (2, 3))
    again.on_load_checkpoint(saved)
    optimizer = again.configure_optimizers()
    again.optimizers = lambda use_pl_optimizer: optimizer
    again._trainer = SimpleNamespace(callbacks=[])
    again.on_train_start()
    assert again._plateau.state_dict() == made._plateau.state_dict() and again._plateau.num_bad_epochs == 2


def test_between_tasks_no_state_of_an_optimizer_is_kept():
    made = learner(Plateau())
    made.configure_optimizers()
    made.end_task()
    made.on_save_checkpoint(saved := {"optimizer_states": [1], "lr_schedulers": [1]})
    assert saved == {"optimizer_states": [], "lr_schedulers": []}


def test_gradient_hooks_that_do_nothing_are_not_called():
    assert not learner()._gradient_hooks
    assert len(learner(regularizer=Regularizer(l2=0.1))._gradient_hooks) == 1


def test_a_module_that_was_assigned_is_refused():
    """Assigned, it would be missing from state_dict, and from what moves to another device."""
    made = learner()
    made.extra = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="'extra' was assigned"):
        made.begin_task(made.context, (2, 3))
