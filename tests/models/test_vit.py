from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from orthotrace.core.errors import UserError
from orthotrace.data.sources import digits
from orthotrace.models.vit import ViT

SHAPE = (3, 8, 12)


def test_layers_and_their_sizes():
    model = ViT(SHAPE, 10, patch=4, features=12, depth=2, heads=3, ratio=2.5)
    assert [name for name, _ in model.named_children()] == ["embed", "position", "block1", "block2", "norm", "head"]
    assert model.position.weight.shape == (6, 12) and model.block1.linear1.out_features == 30
    # Every parameter belongs to a layer of torch, which a guard can know.
    assert {type(model.get_submodule(name.rpartition(".")[0])) for name, _ in model.named_parameters()} == {
        nn.Conv2d, nn.Embedding, nn.MultiheadAttention, nn.modules.linear.NonDynamicallyQuantizableLinear, nn.Linear,
        nn.LayerNorm,
    }  # fmt: skip


def test_only_what_was_learned_of_places_tells_them():
    torch.manual_seed(0)
    model = ViT((1, 4, 4), 3, patch=2, features=8, depth=2, heads=2).eval()
    image = torch.randn(1, 1, 4, 4)
    swapped = torch.cat([image[..., 2:, :], image[..., :2, :]], dim=-2)
    assert (model(image) - model(swapped)).abs().max() > 1e-4
    nn.init.zeros_(model.position.weight)
    assert torch.allclose(model(image), model(swapped), atol=1e-6)


def test_digits_are_learned():
    torch.manual_seed(0)
    model = ViT((1, 8, 8), 10, features=32, depth=2)
    part = digits().train
    inputs, labels = part.inputs(torch.arange(100)), part.labels[:100]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(cross_entropy(model(inputs), labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"patch": 3}, "patch: images of 8 x 12 pixels do not divide into patches of 3 x 3; take 1 or 2 or 4"),
        ({"heads": 5}, "features: 64 features do not divide into 5 heads"),
        ({"depth": 0}, "depth"),
        ({"ratio": 0}, "ratio"),
        ({"dropout": 1}, "dropout"),
    ],
)
def test_nets_that_cannot_be(options, named):
    with pytest.raises(UserError) as refused:
        ViT(**({"shape": SHAPE, "classes": 3} | options))
    assert str(refused.value).startswith(named)
