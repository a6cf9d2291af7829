import copy
from dataclasses import replace

import pytest
import torch
from tasks import TRAIN, context_of
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.layers.maxout import Maxout
from orthotrace.methods.hat import HAT, LARGEST
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.resnet import ResNet18

STREAM = Permuted(digits(), tasks=2)


def trained(tasks: int = 1, model=None, stream=STREAM, binary: bool = False, steps: int = 12, **options):
    """A method after some tasks, each trained a little with Adam and weight decay; its network."""
    torch.manual_seed(0)
    model = model() if model else NETWORKS["mlp"]()
    method = HAT(**options)
    method.setup(model, Seeds(), stream)
    outcome = None
    for number in range(tasks):
        context = context_of(stream, number)
        method.enter(context)
        method.begin_task(context)
        optimizer = torch.optim.Adam([*model.parameters(), *method.task_parameters(context)], 0.01, weight_decay=0.1)
        detach = method.attach([optimizer])
        model.train()
        for inputs, labels in list(context.part.split(32, next(model.parameters())))[:steps]:
            optimizer.zero_grad()
            logits = method.training_forward(model, inputs, context)
            stream.active.loss(logits, labels, number).backward()
            method.on_gradients(context)
            optimizer.step()
        detach()
        model.eval()
        if binary:
            with torch.no_grad():
                for value in method.task_parameters(context):
                    value.copy_(torch.where(value > 0, 6.0, -6.0))
        outcome = method.end_task(context)
    return method, model, outcome


NETWORKS = {
    "mlp": lambda: MLP((1, 8, 8), 10, hidden=[20, 14]),
    "convnet": lambda: ConvNet((1, 8, 8), 10, channels=[4, 6]),
}


@pytest.mark.parametrize("scenario", ["task", "domain"])
@pytest.mark.parametrize("name", NETWORKS)
def test_with_masks_of_zeros_and_ones_nothing_is_forgotten(name, scenario):
    stream = Split(digits(), tasks=2, scenario=scenario)
    outputs = []
    for tasks in (1, 2):
        method, model, outcome = trained(tasks, NETWORKS[name], stream, binary=True)
        with torch.no_grad():
            active = stream.active.for_training(0)
            logits = method.network(model, 0)(stream.test(0).inputs())
            outputs.append(logits if active is None else logits[:, active.start : active.stop])
    assert torch.equal(*outputs)
    assert all(layer.leak < 1e-6 for layer in outcome.layers.values())
    # And yet it learned.
    with torch.no_grad():
        moved = [layer.weight - getattr(method, f"start_{n}") for n, layer in enumerate(method._layers(model))]
    assert max(float(one.norm()) for one in moved) > 0.1


def test_a_step_keeps_the_share_of_the_paper():
    method, model, _ = trained(1)
    layers, before = method._layers(model), copy.deepcopy(model.state_dict())
    method._note()
    with torch.no_grad():
        for layer in layers:
            layer.weight.add_(1.0)
            layer.bias.add_(1.0)
    method._stepped()
    used = [method.used(number) for number in range(3)]
    for number, layer in enumerate(layers):
        name = method.names[number]
        for i, j in ((0, 0), (3, 5), (9, 13)):
            inside = float(used[number - 1][j]) if number else 1.0
            share = 1 - min(float(used[number][i]), inside)
            moved = float(layer.weight.detach()[i, j] - before[f"{name}.weight"][i, j])
            assert moved == pytest.approx(share, abs=1e-5)
        torch.testing.assert_close(layer.bias.detach() - before[f"{name}.bias"], 1 - used[number], rtol=0, atol=1e-5)


def test_units_in_use_are_those_of_all_tasks():
    method, _, _ = trained(2)
    for number in range(2):
        of_each = [method.masks(task, method.steepness)[number] for task in range(2)]
        assert torch.equal(method.used(number), torch.maximum(*of_each).detach())
        assert not torch.equal(method.used(number), of_each[1].detach())


def test_embeddings_stay_within_a_range():
    method, _, _ = trained(1, steps=1)
    (value, *_) = method.task_parameters(context_of(STREAM, 0))
    with torch.no_grad():
        value[:2] = torch.tensor([-99.0, 99.0])
    method._stepped()
    assert value[:2].tolist() == [-LARGEST, LARGEST]


def test_normalisation_of_later_tasks_is_that_of_the_first():
    found = [trained(tasks, NETWORKS["convnet"])[1].bn1 for tasks in (1, 2)]
    assert all(torch.equal(one, two) for one, two in zip(*(bn.state_dict().values() for bn in found), strict=True))
    assert float((found[0].weight.detach() - 1).abs().max()) > 1e-3
    # Whatever an optimizer does without gradients.
    method, model, _ = trained(1, NETWORKS["convnet"])
    method.enter(context_of(STREAM, 1))
    with torch.no_grad():
        model.bn1.weight.mul_(2)
    method._note()
    method._stepped()
    assert torch.equal(model.bn1.weight, found[0].weight)


def test_the_gradient_of_an_embedding_is_as_if_nothing_was_annealed():
    """Divided by that of the mask it is the steepness times the derivative of a sigmoid of slope 1 (eq. 5)."""
    method, model, _ = trained(1, steps=1)
    context = context_of(STREAM, 0)
    method.enter(context)
    value = method.task_parameters(context)[0]
    for batch in (0, 5):
        method.batches.fill_(batch)
        method.training_forward(model, STREAM.test(0).inputs(torch.arange(4)), context)
        mask = torch.sigmoid(method._slope * value)
        value.grad = torch.autograd.grad(mask.sum(), value)[0].clone()
        method.on_gradients(context)
        sigmoid = torch.sigmoid(value)
        inside = (method._slope * value).abs() < 8
        expected = method.steepness * sigmoid * (1 - sigmoid)
        torch.testing.assert_close(value.grad[inside], expected[inside].detach(), rtol=1e-2, atol=1e-4)


# A last batch of a single image is joined to the one before.
@pytest.mark.parametrize("count", [300, 65, 66])
def test_masks_grow_steep_within_an_epoch_and_the_loss_counts_what_is_taken(count):
    method, model, _ = trained(1, steps=1)
    context, images = context_of(STREAM, 0, TRAIN.take(torch.arange(count))), STREAM.test(0)
    method.enter(context)
    slopes = []
    for _ in Batches(context.part, 32, 0, 0):
        method.training_forward(model, images.inputs(torch.arange(4)), replace(context, epoch=1))
        slopes.append(method._slope)
    assert slopes[0] == 1 / 400 and slopes[-1] == pytest.approx(400) and slopes == sorted(slopes)
    # The next epoch begins as this one did.
    method.training_forward(model, images.inputs(torch.arange(4)), replace(context, epoch=2))
    assert method._slope == 1 / 400


def test_masks_begin_flat_in_every_task_of_a_single_epoch():
    """The number of the epoch is that of the last task's."""
    method, model, _ = trained(1)
    context = context_of(STREAM, 1)
    assert context.epoch == 0
    method.enter(context)
    method.begin_task(context)
    method.training_forward(model, STREAM.test(1).inputs(torch.arange(4)), context)
    assert method._slope == 1 / 400


class Shortcut(nn.Module):
    """Of layers as wide as each other, so that nothing but its values tells of the way past one of them."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, images):
        hidden = self.fc1(images.flatten(1))
        return self.head(hidden + self.fc2(hidden))


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (lambda: ResNet18((1, 8, 8), 10, width=0.05), "gets more of an image than layer .* as in a residual network"),
        (Shortcut, "layer 'head' gets more of an image than layer 'fc2'"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 10)), "units are mixed"),
        (lambda: nn.Sequential(nn.ConvTranspose2d(1, 4, 3), nn.Flatten(), nn.Linear(400, 10)), "is a ConvTranspose2d"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 10)),
            "has groups",
        ),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Maxout(2), nn.Linear(4, 10)),
            "layer '3' has 4 inputs for each place, and layer '1' has 8 outputs, as under maxout",
        ),
    ],
)
def test_networks_that_are_no_chains(model, line):
    with pytest.raises(UserError, match=line):
        HAT().setup(model(), Seeds(), STREAM)


def test_a_network_in_float64_is_protected_in_it():
    method, model, outcome = trained(2, lambda: NETWORKS["mlp"]().double(), binary=True)
    assert method.used_0.dtype == model.head.weight.dtype == torch.float64
    assert all(layer.leak < 1e-12 for layer in outcome.layers.values())
