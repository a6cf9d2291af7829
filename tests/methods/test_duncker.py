"""Duncker's rule on a whole network: against P_out dW P_in by hand, and on what it is to keep."""

from __future__ import annotations

import pytest
import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import cognitive
from orthotrace.data.streams import Split
from orthotrace.methods.duncker import Duncker
from orthotrace.models.leaky_rnn import LeakyRNN

STREAM = Split(
    cognitive(trials=30, test_trials=5, dt=100), tasks=4, class_order="natural", scenario="domain", validation=0
)


def test_a_step_is_projected_on_both_sides_of_every_layer():
    torch.manual_seed(0)
    alpha = 0.01
    model = LeakyRNN(STREAM.shape, 3, units=6).double()
    method = Duncker(alpha=alpha, audit=False)
    method.setup(model, Seeds(), STREAM)
    first = context_of(STREAM, 0)
    method.enter(first)
    method.begin_task(first)
    model.eval()
    method.end_task(first)
    # The inputs of both layers at all steps, by hand.
    x = STREAM.task(0).train.inputs().double()
    with torch.no_grad():
        rates = model.rates(x)
    before = torch.cat([torch.zeros_like(rates[:, :1]), rates[:, :-1]], dim=1)
    rows = {"recurrent": torch.cat([x, before], dim=2).flatten(0, 1), "head": rates.flatten(0, 1)}
    weights = {name: model.get_submodule(name).weight.detach().clone() for name in rows}
    second = context_of(STREAM, 1)
    method.enter(second)
    method.begin_task(second)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    detach = method.attach([optimizer])
    loss, _ = method.loss(model, next(iter(method.batches(second))), second)
    loss.backward()
    # What Adam applies in its first step, without a projection.
    free = {name: -0.1 * (g := model.get_submodule(name).weight.grad) / (g.abs() + 1e-8) for name in rows}
    optimizer.step()
    detach()
    for name, seen in rows.items():
        moment = seen.T @ seen / len(seen)
        right, left = (
            alpha * torch.linalg.inv(alpha * torch.eye(len(of), dtype=torch.float64) + of)
            for of in (moment, weights[name] @ moment @ weights[name].T)
        )
        moved = model.get_submodule(name).weight.detach() - weights[name]
        assert torch.allclose(moved, left @ free[name] @ right, rtol=0, atol=1e-12), name


@pytest.mark.filterwarnings("ignore:Duncker holds no direction")
@pytest.mark.parametrize(("alpha", "kept"), [(1e-6, True), (1e6, False)])
def test_the_first_task_is_kept_by_a_small_alpha(alpha, kept):
    torch.manual_seed(0)
    model = LeakyRNN(STREAM.shape, 3, units=10, noise=0).double()
    method = Duncker(alpha=alpha, audit=False)
    method.setup(model, Seeds(), STREAM)
    first, second = context_of(STREAM, 0), context_of(STREAM, 1)
    method.enter(first)
    method.begin_task(first)
    method.end_task(first)
    x = STREAM.task(0).train.inputs().double()
    before = model(x).detach()
    method.enter(second)
    method.begin_task(second)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    detach = method.attach([optimizer])
    for _ in range(10):
        optimizer.zero_grad()
        method.loss(model, next(iter(method.batches(second))), second)[0].backward()
        optimizer.step()
    detach()
    moved = float((model(x).detach() - before).norm() / before.norm())
    assert (moved < 1e-2) if kept else (moved > 0.1)
