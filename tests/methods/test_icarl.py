from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from composed import built
from tasks import context_of

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.icarl import ICaRL, herding
from orthotrace.methods.nearest_mean import NearestMean
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run

CLASSES = {"task": 6, "class": 6, "domain": 2}


def learned(scenario="class", tasks=2, size=40, **options):
    """The method after some tasks, between which the network moves; and the stream."""
    stream = Split(digits(), tasks=5, scenario=scenario, class_order="natural", **options)
    torch.manual_seed(0)
    model, method = MLP(stream.shape, len(stream.classes), hidden=[12]).double(), ICaRL(memory={"size": size})
    method.setup(model, Seeds(), stream)
    for number in range(tasks):
        method.begin_task(context := context_of(stream, number, method.task(stream, number).train))
        with torch.no_grad():
            model.fc1.weight.add_(0.1 * torch.randn_like(model.fc1.weight))
        method.end_task(context)
    return method, stream


def chosen_one_by_one(features: torch.Tensor, count: int) -> list[int]:
    """Algorithm 4 as it is written."""
    mean = sum(features) / len(features)
    chosen: list[int] = []
    for k in range(1, count + 1):
        best, least = -1, float("inf")
        for place, one in enumerate(features):
            if place in chosen:
                continue
            distance = float((mean - (one + sum(features[j] for j in chosen)) / k).square().sum().sqrt())
            if distance < least:
                best, least = place, distance
        chosen.append(best)
    return chosen


@pytest.mark.parametrize(("images", "count"), [(1, 1), (9, 9), (40, 13)])
def test_herding_is_the_loop_of_the_paper(images, count):
    drawn = torch.randn(images, 5, generator=torch.Generator().manual_seed(images), dtype=torch.float64)
    features = torch.nn.functional.normalize(drawn.relu() + 0.1)
    assert herding(features, count).tolist() == chosen_one_by_one(features, count)


def test_there_are_no_more_exemplars_than_images():
    assert sorted(herding(torch.eye(3), 9).tolist()) == [0, 1, 2]


def phi(model: MLP, inputs: torch.Tensor) -> torch.Tensor:
    found = (inputs.double().flatten(1) @ model.fc1.weight.T + model.fc1.bias).relu().detach()
    return found / found.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_the_memory_is_shared_equally_and_earlier_classes_keep_the_first_of_theirs(scenario):
    before, stream = learned(scenario, tasks=2)
    after, _ = learned(scenario, tasks=3)
    one, other = (method.memory.images(stream.scaling) for method in (before, after))
    assert one.labels.tolist() == [label for label in range(4) for _ in range(40 // 4)]
    assert other.labels.tolist() == [label for label in range(6) for _ in range(40 // 6)]
    assert other.tasks.tolist() == [label // 2 for label in other.labels.tolist()]
    for label in range(4):
        kept = other.images[other.labels == label]
        assert torch.equal(kept, one.images[one.labels == label][: 40 // 6])
    part = stream.task(2).train
    for label in (4, 5):
        own = part.take((part.labels == label).nonzero().flatten())
        expected = own.take(herding(phi(after.model, own.inputs()), 40 // 6))
        assert torch.equal(other.images[other.labels == label], expected.images)


def test_in_the_domain_incremental_scenario_each_task_has_exemplars_of_its_own():
    method, stream = learned("domain", tasks=3)
    held = method.memory.images(stream.scaling)
    pairs = list(zip(held.tasks.tolist(), held.labels.tolist(), strict=True))
    assert pairs == [(task, label) for task in range(3) for label in range(2) for _ in range(40 // 6)]


def test_an_epoch_goes_over_the_task_and_the_exemplars_of_the_others():
    method, stream = learned(tasks=2, repeats=2)
    task, held = method.task(stream, 2), method.memory.images(stream.scaling)
    own = stream.task(2)
    assert torch.equal(task.train.images, torch.cat([own.train.images, held.images]))
    assert torch.equal(task.train.labels, torch.cat([own.train.labels, held.labels]))
    assert task.train.tasks.tolist() == [2] * len(own.train) + held.tasks.tolist()
    assert len(task.validation) == len(own.validation)
    # A task that comes again brings its own images.
    again = method.task(stream, 5)
    assert again.train.tasks.tolist() == [0] * len(stream.task(0).train) + [1] * int((held.tasks == 1).sum())


@pytest.mark.parametrize("scenario", CLASSES)
def test_the_loss_is_that_of_the_paper(scenario):
    """Against a sum over images and classes: labels for the classes of the task, old answers for the others."""
    method, stream = learned(scenario, tasks=2)
    context = context_of(stream, 2, method.task(stream, 2).train)
    method.begin_task(context)
    model, old = method.model, MLP(stream.shape, len(stream.classes), hidden=[12]).double()
    old.load_state_dict(model.state_dict())
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn_like(value))
    batch = next(iter(Batches(context.part, 50, 0, 2, like=torch.zeros((), dtype=torch.float64))))
    loss, logits = method.loss(model, batch, context)
    new, before = (network(batch.inputs).sigmoid().detach() for network in (model, old))
    own = range(2) if scenario == "domain" else range(4, 6)
    assert set(batch.labels.tolist()) - set(own) or scenario == "domain"
    expected = 0.0
    for image, label in enumerate(batch.labels.tolist()):
        for y in range(CLASSES[scenario]):
            target = float(y == label) if y in own else float(before[image, y])
            g = new[image, y]
            expected = expected - (target * g.log() + (1 - target) * (1 - g).log())
    assert torch.allclose(loss.detach(), expected / len(batch.labels)) and torch.equal(logits, model(batch.inputs))
    assert not any(value.requires_grad for value in method.parameters())


def test_the_loss_of_the_first_task_has_labels_alone_and_smooths_them():
    method, stream = learned(tasks=0)
    context = context_of(stream)
    context = replace(context, outputs=replace(stream.active, smoothing=0.2))
    batch = next(iter(Batches(context.part, 8, 0, 0, like=torch.zeros((), dtype=torch.float64))))
    assert torch.allclose(method.targets(batch, context), torch.eye(2).double()[batch.labels] * 0.8 + 0.1)


def test_each_step_of_an_online_spiking_network_has_a_loss():
    method, stream = learned(tasks=0)
    context = context_of(stream)
    batch = next(iter(Batches(context.part, 8, 0, 0, like=torch.zeros((), dtype=torch.float64))))
    steps = torch.randn(3, 8, 10, dtype=torch.float64)

    def network(inputs):
        mean = steps.mean(0)
        mean.over_steps = steps
        return mean

    losses = [method.loss(lambda inputs, one=one: one, batch, context)[0] for one in steps]
    assert torch.allclose(method.loss(network, batch, context)[0], sum(losses) / 3)


def test_the_test_is_by_the_means_of_exemplars():
    method, stream = learned(tasks=2)
    nearest = NearestMean(method.model, method, stream)
    nearest.update(context_of(stream, 1, method.task(stream, 1).train))
    held = method.memory.images(stream.scaling)
    for label in range(4):
        total = phi(method.model, held.inputs()[held.labels == label]).sum(0)
        assert torch.allclose(nearest.means[label], total / total.norm(), atol=1e-12)
    assert not nearest.means[4:].any()


@pytest.mark.parametrize(
    ("options", "scenario", "message"),
    [
        ({"size": 0}, "class", r"memory.size: exemplars need a memory of at least one image"),
        ({"size": 9}, "class", r"memory.size: 9 images cannot hold one of each of the 10 classes"),
        ({"size": 9}, "domain", r"memory.size: 9 images cannot hold one of each of the 2 classes of 5 tasks"),
        ({"size": 50, "sampling": "balanced"}, "class", r"memory.sampling: exemplars are chosen by herding"),
        ({"size": 50, "batch_size": 8}, "class", r"memory.batch_size: an epoch goes over all exemplars once"),
    ],
)
def test_what_it_cannot_do_is_refused(options, scenario, message):
    stream = Split(digits(), tasks=5, scenario=scenario)
    with pytest.raises(UserError, match=message):
        ICaRL(memory=options).setup(MLP(stream.shape, len(stream.classes)), Seeds(), stream)


def test_it_keeps_what_plain_training_forgets(tmp_path):
    common = ("stream=split", "stream.scenario=class", "model.hidden=[64]", "trainer.max_epochs=3",
              "trainer.accelerator=cpu")  # fmt: skip
    plain, exemplars = (
        built(Run(tmp_path / method), f"method={method}", *more, *common).run().scores(False).acc
        for method, more in (("finetune", ()), ("icarl", ("method.memory.size=50",)))
    )
    assert plain < 0.25 and exemplars > 0.75
