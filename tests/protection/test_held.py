"""What a guard holds of its matrices, some rows at a time."""

import copy

import pytest
import torch
from torch import nn

from orthotrace import linalg
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace


@pytest.mark.parametrize(
    "layer",
    [nn.ConvTranspose2d(2, 4, 2), nn.Conv2d(2, 4, 3, groups=2), nn.Conv2d(2, 4, 2)],
    ids=["transposed", "groups", "plain"],
)
def test_some_rows_at_a_time_they_are_what_they_are_as_a_whole(monkeypatch, layer):
    """A matrix with its biases, its leak, and what is remembered of it when a task starts."""
    model = nn.Sequential(copy.deepcopy(layer), nn.Tanh(), nn.Flatten(), nn.LazyLinear(9)).double()
    model(torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    guard = Guard(model, SvdSubspace, rows=1)
    guard.remember(model, torch.randn(30, 2, 4, 4, dtype=torch.float64))
    with torch.no_grad():
        for value in model.parameters():
            value += torch.randn_like(value)
    there = {label: part.joined() for label, part in zip(guard.labels, guard.parts, strict=True)}
    held = {label: guard._held(label, part) for label, part in zip(guard.labels, guard.parts, strict=True)}
    expected = {label: linalg.leak(guard.update(label), held[label], there[label]) for label in guard.labels}
    monkeypatch.setattr(linalg, "AT_ONCE", 7)
    assert guard.leaks() == pytest.approx(expected, rel=1e-10) and min(expected.values()) > 1e-3
    for label, part in zip(guard.labels, guard.parts, strict=True):
        blocks = linalg.in_blocks(*there[label].shape)
        assert len(blocks) > 1
        assert torch.equal(torch.cat([part.joined(rows) for rows in blocks]), there[label])
    guard.begin()
    for number, label in enumerate(guard.labels):
        assert torch.equal(guard.start(number), there[label])
