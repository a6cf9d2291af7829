"""TRGP as its published code has it differs from ours in what it says, and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tasks import context_of

from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.trgp import TRGP
from orthotrace.models.mlp import MLP

STREAM = Permuted(digits(), tasks=2)
NOTHING = {"without_first": False, "unscaled": False, "scaled_layers": None}


@pytest.fixture
def published(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from trgp_published import PublishedTRGP

    return PublishedTRGP


def second(method):
    """After two tasks without a step, the scales of the second doubled: which there are, and the subspaces."""
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[20])
    method.setup(model, Seeds(), STREAM)
    for number in range(2):
        context = context_of(STREAM, number)
        method.enter(context)
        method.begin_task(context)
        with torch.no_grad():
            for scale in method.task_parameters(context):
                scale.mul_(2)
        model.eval()
        method.end_task(context)
    return {key[:2] for key, _ in method.scales.items()}, list(method.guard.subspaces.values())


@pytest.mark.parametrize(
    ("options", "layers", "lost"),
    [
        (NOTHING, {0, 1}, False),
        (NOTHING | {"scaled_layers": 1}, {0}, False),
        (NOTHING | {"without_first": True}, {0, 1}, True),
    ],
)
def test_which_layers_have_scales_and_what_is_held(published, options, layers, lost):
    common = {"energy": 0.9, "samples": 100, "threshold": 0.0}
    scaled, spaces = second(published(**common, **options))
    _, whole = second(TRGP(**common))
    assert {number for _, number in scaled} == layers
    # The first layer sees images, whatever the scales are.
    one, other = spaces[0].basis, whole[0].basis
    if not lost:
        assert torch.equal(one, other)
        return
    # Held is the share 1 of every direction but of the strongest new one, the first after those of the first task.
    shares = torch.ones(len(other))
    shares[int(whole[0].members[0].sum())] = 0
    assert torch.allclose((other @ one.T).square().sum(1), shares, atol=1e-5)


def test_inputs_of_later_layers_are_collected_without_scales(published):
    common = {"energy": 0.9, "samples": 100, "threshold": 0.0}
    bases = {}
    for unscaled in (False, True):
        _, spaces = second(published(**common, **NOTHING | {"unscaled": unscaled}))
        bases[unscaled] = [space.basis for space in spaces]
    assert torch.equal(bases[False][0], bases[True][0])
    assert bases[False][1].shape != bases[True][1].shape or not torch.allclose(bases[False][1], bases[True][1])
