from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tasks import context_of
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.gpm import GPM
from orthotrace.methods.replay import AsymmetricReplay, AveragedGem, DarkExperienceReplay, ExperienceReplay
from orthotrace.models.mlp import MLP

MEMORY = {"size": 40}


def second_task(method, scenario="class"):
    """A method in its second task, with a full memory: network, a batch, all batches and the context."""
    stream = Split(digits(), tasks=5, scenario=scenario, class_order="natural")
    torch.manual_seed(0)
    model = MLP(stream.shape, len(stream.classes), hidden=[12])
    method.setup(model, Seeds(), stream)
    first, second = context_of(stream, 0), context_of(stream, 1)
    method.enter(first)
    method.begin_task(first)
    for batch in Batches(first.part, 32, 0, 0):
        method.loss(model, batch, first)
    model.eval()
    method.end_task(first)
    model.train()
    method.enter(second)
    method.begin_task(second)
    batches = Batches(second.part, 32, 0, 1)
    return model, next(iter(batches)), batches, second


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_replay_is_half_the_loss_and_each_image_counts_over_its_own_outputs(scenario):
    method = ExperienceReplay(memory=MEMORY)
    model, batch, _, context = second_task(method, scenario)
    torch.manual_seed(5)
    loss, logits = method.loss(model, batch, context)
    torch.manual_seed(5)
    fresh = ExperienceReplay(memory=MEMORY)
    second_task(fresh, scenario)
    torch.manual_seed(5)
    drawn = fresh.memory.draw(len(batch.labels))
    assert set(drawn.tasks.tolist()) == {0}
    old = model(context.prepare(drawn.pixels))
    parts = {"task": (range(2, 4), range(0, 2)), "domain": (range(2), range(2)), "class": (range(4), range(4))}[
        scenario
    ]
    losses = [
        cross_entropy(z[:, part.start : part.stop], labels - part.start)
        for z, labels, part in zip((logits, old), (batch.labels, drawn.labels), parts, strict=True)
    ]
    assert torch.allclose(loss, sum(losses) / 2)
    assert context.outputs.scenario == scenario


def test_nothing_is_replayed_in_the_first_task_and_images_enter_once():
    method = ExperienceReplay(memory={"size": 400})
    model, batch, batches, context = second_task(method)
    assert len(method.memory) == len(Split(digits(), tasks=5, scenario="class", class_order="natural").task(0).train)
    before = len(method.memory)
    method.loss(model, batch, context)
    assert len(method.memory) == min(400, before + len(batch.labels))
    later = replace(context, epoch=1)
    kept = method.memory.keys.clone()
    for one in batches:
        method.loss(model, one, later)
    assert torch.equal(method.memory.keys, kept)


@pytest.mark.parametrize("made", [ExperienceReplay, DarkExperienceReplay, lambda memory: GPM(rows=2, memory=memory)])
def test_the_loss_of_the_first_task_is_that_of_its_batches_alone(made):
    method, stream = made(memory=MEMORY), Split(digits(), tasks=5, scenario="class", class_order="natural")
    torch.manual_seed(0)
    model, first = MLP(stream.shape, len(stream.classes), hidden=[12]), context_of(stream, 0)
    method.setup(model, Seeds(), stream)
    method.enter(first)
    method.begin_task(first)
    for batch in Batches(first.part, 32, 0, 0):
        loss, logits = method.loss(model, batch, first)
        assert torch.equal(loss, cross_entropy(logits[:, :2], batch.labels))
    assert len(method.memory) == 40


def test_dark_replay_holds_logits_and_adds_both_terms():
    method = DarkExperienceReplay(memory=MEMORY, alpha=0.7, beta=0.3)
    model, batch, _, context = second_task(method)
    memory = method.memory
    state = {key: value.clone() for key, value in method.state_dict().items()}
    torch.manual_seed(5)
    loss, logits = method.loss(model, batch, context)
    method.load_state_dict(state)
    torch.manual_seed(5)
    first, second = memory.draw(len(batch.labels)), memory.draw(len(batch.labels))
    expected = (
        cross_entropy(logits[:, :4], batch.labels)
        + 0.7 * (model(context.prepare(first.pixels)) - first.logits).square().mean()
        + 0.3 * cross_entropy(model(context.prepare(second.pixels))[:, :4], second.labels)
    )
    assert torch.allclose(loss, expected)
    # Logits are those of the network that saw the images: here it has not changed since.
    assert torch.allclose(model(context.prepare(memory.pixels)), memory.logits, atol=1e-5)


def test_dark_replay_renews_the_logits_of_the_running_task():
    """In later epochs: those of its images are of the network as it is, those of earlier tasks stay."""
    method = DarkExperienceReplay(memory=MEMORY)
    model, _, batches, context = second_task(method)
    for batch in batches:
        method.loss(model, batch, context)
    memory = method.memory
    before, own = memory.logits.clone(), memory.tasks == 1
    with torch.no_grad():
        model.head.bias.add_(1.0)
    for batch in batches:
        method.loss(model, batch, replace(context, epoch=1))
    assert own.any() and not own.all()
    assert torch.allclose(memory.logits[own], before[own] + 1, atol=1e-5)
    assert torch.equal(memory.logits[~own], before[~own])


@pytest.mark.parametrize("scenario", ["class", "task", "domain"])
def test_er_ace_lets_new_images_compete_with_their_own_classes_alone(scenario):
    """Against the sum of two losses with minus infinity in the place of absent classes."""
    method = AsymmetricReplay(memory=MEMORY)
    model, batch, _, context = second_task(method, scenario)
    state, memory = torch.get_rng_state(), copy.deepcopy(method.memory)
    loss, logits = method.loss(model, batch, context)
    absent = torch.ones(logits.shape[1], dtype=torch.bool)
    absent[batch.labels] = False
    expected = cross_entropy(logits.masked_fill(absent, float("-inf")), batch.labels)
    torch.set_rng_state(state)
    drawn = memory.draw(len(batch.labels))
    replayed = context.outputs.loss(model(context.prepare(drawn.pixels)), drawn.labels, 1, drawn.tasks)
    assert torch.allclose(loss, expected + replayed) and len(method.memory) == MEMORY["size"]
    # No gradient of new images reaches the outputs of classes that are not among them.
    model.zero_grad()
    context.outputs.loss_among_present(model(batch.inputs), batch.labels).backward()
    assert not model.head.weight.grad[absent].any() and model.head.weight.grad[~absent].any(1).all()


def gradients(model) -> torch.Tensor:
    return torch.cat([value.grad.flatten() for value in model.parameters()])


@pytest.mark.parametrize("against", [True, False])
def test_a_gem_takes_the_component_against_the_memory_and_nothing_else(against):
    method = AveragedGem(memory=MEMORY)
    model, batch, _, context = second_task(method)
    loss, _ = method.loss(model, batch, context)
    loss.backward()
    state = torch.get_rng_state()
    drawn = method.memory.draw(len(batch.labels))
    reference_loss = context.outputs.loss(model(context.prepare(drawn.pixels)), drawn.labels, 1)
    reference = torch.cat([g.flatten() for g in torch.autograd.grad(reference_loss, list(model.parameters()))])
    sign = float(gradients(model) @ reference)
    if (sign < 0) != against:
        for value in model.parameters():
            value.grad.neg_()
    before = gradients(model).clone()
    torch.set_rng_state(state)
    method.on_gradients(context)
    after = gradients(model)
    if against:
        assert abs(float(after @ reference)) < 1e-5 * float(before.norm() * reference.norm())
        expected = before - (before @ reference) / (reference @ reference) * reference
        assert torch.allclose(after, expected, atol=1e-6)
    else:
        assert torch.equal(after, before)


def test_replay_beside_a_projection_keeps_the_memory_out_of_the_subspace():
    plain, replaying = GPM(rows=3), GPM(rows=3, memory=MEMORY)
    bases = []
    for method in (plain, replaying):
        model, batch, _, context = second_task(method)
        loss, _ = method.loss(model, batch, context)
        bases.append((method.guard.subspaces["fc1"].basis, float(loss.detach())))
    assert torch.equal(bases[0][0], bases[1][0]) and bases[0][1] != bases[1][1]


def test_a_memory_smaller_than_the_classes_is_refused():
    with pytest.raises(UserError, match=r"memory.size: 9 images cannot hold one of each of the 10 classes"):
        second_task(ExperienceReplay(memory={"size": 9}))
