"""Singular initial weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers.initial import low_rank_init, tied_init


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 9), nn.ReLU(), nn.Linear(9, 3)
    )


@pytest.mark.parametrize(("share", "ranks"), [(0.5, (2, 5)), (0.01, (1, 1)), (1.0, (3, 9))])
def test_the_nearest_weights_of_a_rank_and_of_the_same_norm(share, ranks):
    changed, before = model(), model()
    assert low_rank_init(changed, share=share) == ["0", "3"]
    for layer, old, rank in zip((changed[0], changed[3]), (before[0], before[3]), ranks, strict=True):
        groups = getattr(layer, "groups", 1)
        for new, was in zip(layer.weight.flatten(1).chunk(groups), old.weight.flatten(1).chunk(groups), strict=True):
            new, was = new.detach().double(), was.detach().double()
            sizes = torch.linalg.svdvals(new)
            assert int((sizes > 1e-6 * sizes[0]).sum()) == rank
            assert float(new.norm()) == pytest.approx(float(was.norm()), rel=1e-6)
            # Eckart and Young: no matrix of that rank is nearer, but for the scale.
            values = torch.linalg.svdvals(was)
            nearest = float(values[:rank].norm())
            assert float((new * was).sum() / new.norm()) == pytest.approx(nearest, rel=1e-6)
    assert changed[5].weight.equal(before[5].weight) and changed[3].bias.equal(before[3].bias)


def test_units_that_begin_alike():
    changed, before = model(), model()
    assert tied_init(changed, copies=2) == ["0", "3"]
    # 3 filters in each group: the third is alone.
    sources = [0, 0, 2, 3, 3, 5]
    for group in (slice(0, 3), slice(3, 6)):
        new, old = changed[0].weight.data[group], before[0].weight.data[sources][group]
        assert torch.allclose(new / new.norm(), old / old.norm(), atol=1e-6)
        assert float(new.norm()) == pytest.approx(float(before[0].weight.data[group].norm()), rel=1e-5)
    assert changed[0].bias.equal(before[0].bias[sources])
    assert changed[3].weight[6].equal(changed[3].weight[7]) and not changed[3].weight[7].equal(changed[3].weight[8])
    assert changed[3].bias.equal(before[3].bias[[0, 0, 2, 2, 4, 4, 6, 6, 8]])


def test_units_of_a_group_that_are_fewer_begin_alike():
    changed = model()
    tied_init(changed, copies=4)
    first, second = changed[0].weight.chunk(2)
    assert all(bool((group == group[:1]).all()) for group in (first, second)) and not first.equal(second)


def test_they_leave_where_outgoing_weights_differ():
    changed = nn.Sequential(*list(model().double())[3:])
    tied_init(changed, copies=3)
    layer, inputs = changed[0], torch.randn(20, 24, dtype=torch.float64)
    for _ in range(3):
        changed(inputs).square().sum().backward()
        with torch.no_grad():
            for value in changed.parameters():
                value.sub_(1e-3 * value.grad)
        changed.zero_grad()
    assert not torch.allclose(layer.weight[0], layer.weight[1], rtol=1e-3)


def test_nothing_is_changed_at_the_end_of_the_range_or_elsewhere():
    for change in (lambda of: tied_init(of, copies=1), lambda of: low_rank_init(of, ["3"], 1.0)):
        changed, before = model(), model()
        change(changed)
        assert all(
            torch.allclose(new, old, atol=1e-6)
            for new, old in zip(changed.parameters(), before.parameters(), strict=True)
        )


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda of: low_rank_init(of, share=0), "share: input should be greater than 0"),
        (lambda of: tied_init(of, copies=0), "copies: input should be greater than or equal to 1"),
        (lambda of: tied_init(of, ["4"]), "layers: there is no Linear layer or convolution '4'"),
        (
            lambda of: tied_init(nn.Sequential(of, nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))), ["1"]),
            "the weight of layer '1' is parametrised already",
        ),
    ],
)
def test_what_is_refused(call, line):
    of = model()
    before = copy.deepcopy(of.state_dict())
    with pytest.raises(UserError, match=line):
        call(of)
    assert all(before[name].equal(value) for name, value in of.state_dict().items())
