"""Low-rank adapters against dense products in float64; what is frozen, merged, copied, refused."""

import copy

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers import adapters, lora, merge, orthogonalise
from orthotrace.models.vit import ViT

ATTENTIONS = {
    "packed": {},
    "apart": {"kdim": 6, "vdim": 5},
}


class Attending(nn.Module):
    """Attention with a readout."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True, **options), nn.Linear(8, 3)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return self.head(self.attention(query, key, value, need_weights=False)[0])


def attending(kind: str) -> tuple[Attending, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = Attending(**ATTENTIONS[kind]).double()
    widths = (8, ATTENTIONS[kind].get("kdim", 8), ATTENTIONS[kind].get("vdim", 8))
    return model, [torch.randn(2, 5, width, dtype=torch.float64) for width in widths]


def moved(model: nn.Module) -> None:
    """Adapters as after training."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in adapters(model):
            one.low_rank.up.copy_(torch.randn(one.low_rank.up.shape, generator=draw, dtype=torch.float64))
            one.low_rank.size.fill_(0.7)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_an_adapted_weight_is_its_base_and_a_product(kind):
    model, inputs = attending(kind)
    plain, before = copy.deepcopy(model), model(*inputs)
    names = lora(model, rank=2, scale=3.0)
    weights = ["in_proj_weight"] if kind == "packed" else [f"{which}_proj_weight" for which in "qkv"]
    assert names == [*(f"attention.{weight}" for weight in weights), "attention.out_proj.weight"]
    # At zero nothing changes, in training and in evaluation.
    assert torch.equal(model(*inputs), before)
    moved(model)
    with torch.no_grad():
        for one in adapters(model):
            value = plain.get_parameter(one.label)
            value += 3.0 * 0.7 * one.low_rank.up @ one.low_rank.down
    for training in (True, False):
        torch.testing.assert_close(model.train(training)(*inputs), plain.train(training)(*inputs), rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_product():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Linear(3, 2)).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    lora(model, rank=2, scale=0.5)
    moved(model)
    for one in adapters(model):
        one.low_rank.train_only("up", "down", "size")
    model(x).square().sum().backward()
    dense = copy.deepcopy(model)
    merge(dense)
    dense(x).square().sum().backward()
    for one in adapters(model):
        up, down, size = one.low_rank.up, one.low_rank.down, one.low_rank.size
        of = dense.get_parameter(one.label).grad
        torch.testing.assert_close(up.grad, 0.5 * size.detach() * of @ down.detach().T, rtol=0, atol=1e-12)
        torch.testing.assert_close(down.grad, 0.5 * size.detach() * up.detach().T @ of, rtol=0, atol=1e-12)
        torch.testing.assert_close(size.grad, 0.5 * (of * (up @ down).detach()).sum(), rtol=0, atol=1e-12)
        assert one.base.grad is None


def test_all_but_adapters_and_readout_is_frozen():
    model = ViT((1, 8, 8), 10, features=16, depth=2)
    weights = ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight")
    names = lora(model, rank=3)
    assert names == [f"block{number}.{weight}" for number in (1, 2) for weight in weights]
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {"head.weight", "head.bias"} < trained
    assert all(name.endswith((".up", ".down")) for name in trained - {"head.weight", "head.bias"})
    assert len(trained) == 2 * len(names) + 2


def test_named_layers_alone():
    model = ViT((1, 8, 8), 10, features=16, depth=2)
    assert lora(model, 3, layers=["block2.self_attn", "head"]) == [
        "block2.self_attn.in_proj_weight",
        "block2.self_attn.out_proj.weight",
        "head.weight",
    ]
    assert not model.head.bias.requires_grad


def test_merged_weights_give_the_same_and_the_next_update_begins_at_zero():
    model, inputs = attending("packed")
    lora(model, rank=2)
    moved(model)
    before = model(*inputs)
    for one in adapters(model):
        one.merge()
        assert not one.low_rank.up.any()
    torch.testing.assert_close(model(*inputs), before, rtol=0, atol=1e-12)
    moved(model)
    before = model(*inputs)
    merge(model)
    torch.testing.assert_close(model(*inputs), before, rtol=0, atol=1e-12)
    assert type(model.attention) is nn.MultiheadAttention and not adapters(model)
    assert all(value.requires_grad for value in model.parameters())


def test_a_copy_shares_nothing_and_a_state_fits():
    model, inputs = attending("packed")
    lora(model, rank=2)
    other = copy.deepcopy(model)
    moved(model)
    assert not torch.equal(model(*inputs), other(*inputs))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(*inputs), other(*inputs))
    merge(other)
    assert adapters(model)


BAD = {
    "rank": ({"rank": 4}, "4 is no low rank for the weight '0.weight', 4 x 9: take less than 4"),
    "layer": ({"layers": ["1"]}, "there is no Linear layer or attention '1'; there are: 0, 2"),
    "none": ({"layers": []}, "no Linear layer and no attention"),
    "zero": ({"rank": 0}, "greater than or equal to 1"),
    "scale": ({"scale": 0.0}, "greater than 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line_and_changes_nothing(case):
    model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
    options, message = BAD[case]
    with pytest.raises(UserError, match=message):
        lora(model, **options)
    assert all(value.requires_grad for value in model.parameters()) and not adapters(model)


def test_a_weight_that_is_parametrised_already_is_refused():
    model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
    orthogonalise(model, "own")
    with pytest.raises(UserError, match="the weight '0.weight' is parametrised already"):
        lora(model, rank=2)
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(UserError, match="layer '0' has no shape yet"):
        lora(model, rank=1)
