import copy

import pytest
import torch
from composed import built
from torch import nn

from orthotrace.methods.finetune import Finetune
from orthotrace.results.run_folder import Run
from orthotrace.training.averaging import Average
from orthotrace.training.experiment import Experiment


def test_it_is_the_moving_average_of_weights_and_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    average = Average(model, 0.8)
    model[0].weight.data.add_(1)
    average.restart()
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    detach = average.attach([optimizer])
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4).double()).square().sum().backward()
        optimizer.step()
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                expected[key] = 0.8 * expected[key] + 0.2 * value
    detach()
    trained = copy.deepcopy(model.state_dict())
    with average.shown():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                assert torch.allclose(value, expected[key], atol=1e-12), key
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())
    with pytest.raises(KeyError), average.shown():
        raise KeyError
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())


def test_what_is_tested_is_what_the_next_task_starts_from(tmp_path):
    run = Run(tmp_path / "run")
    experiment: Experiment = built(
        run, "method=finetune", "stream=permuted", "stream.tasks=2", "trainer.max_epochs=1", "regularizer.average=.9",
        "model.hidden=[8]", "trainer.accelerator=cpu",
    )  # fmt: skip
    method = experiment.learner.method
    starts, ends = [], []

    class Noting(Finetune):
        def begin_task(self, context):
            starts.append(copy.deepcopy(self.model.state_dict()))

        def end_task(self, context):
            ends.append(copy.deepcopy(self.model.state_dict()))
            return super().end_task(context)

    method.__class__ = Noting
    experiment.run()
    assert all(torch.equal(value, starts[1][key]) for key, value in ends[0].items())
    # The network that is kept is the one that was tested.
    saved = torch.load(run.checkpoint(2), weights_only=True)["state_dict"]
    assert all(torch.equal(saved[f"model.{key}"], value) for key, value in ends[1].items())
    # And it is the average, not the weights of the last step, which are kept in its place.
    kept = list(experiment.learner.average.buffers())
    assert not torch.equal(kept[0], ends[1]["fc1.weight"])


def test_a_weight_of_two_names_is_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2))
    model.add_module("again", model[0])
    average = Average(model, 0.5)
    average.restart()
    model[0].weight.data.add_(1)
    average.update()
    before = model[0].weight.detach().clone()
    with average.shown():
        assert torch.allclose(model[0].weight, before - 0.5)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(("decay", "steps", "warned"), [(0.99, 10, True), (0.9, 30, False)])
def test_an_average_of_too_few_steps_is_told(decay, steps, warned):
    model = nn.Linear(3, 2)
    average = Average(model, decay)
    average.restart()
    for _ in range(steps):
        average.update()
    if warned:
        with pytest.warns(UserWarning, match="the average of the weights is to 90% what the task began with: 10 steps"):
            average.settle()
    else:
        average.settle()
