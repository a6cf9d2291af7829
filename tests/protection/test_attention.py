"""The rows of attention are what its matrices are multiplied with: against a loop over places and heads."""

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard, attention
from orthotrace.protection.layers import weight_matrices
from orthotrace.subspace import SvdSubspace


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# options, and shapes of queries, keys and values
LAYERS = {
    "packed": ({}, (3, 5, 8), None, None),
    "apart": ({"kdim": 6, "vdim": 4}, (3, 5, 8), (3, 7, 6), (3, 7, 4)),
    "no biases": ({"bias": False}, (3, 5, 8), None, None),
    "places first": ({"batch_first": False}, (5, 3, 8), None, None),
    "a sequence alone": ({}, (5, 8), None, None),
    "a zero more": ({"add_zero_attn": True}, (3, 5, 8), None, None),
    "other keys": ({}, (3, 5, 8), (3, 7, 8), (3, 7, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("padded", [False, True])
def test_outputs_come_from_the_rows(name, padded):
    options, *shapes = LAYERS[name]
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, **{"batch_first": True, "dropout": 0.3, **options}).double().eval()
    query = rand(*shapes[0])
    key, value = (query if shape is None else rand(*shape, seed=1 + n) for n, shape in enumerate(shapes[1:]))
    count = key.shape[0] if key.ndim == 2 or not layer.batch_first else key.shape[1]
    mask = torch.zeros(*(() if key.ndim == 2 else (3,)), count, dtype=torch.bool)
    mask[..., -2:] = padded
    for given in (mask, torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, float("-inf"))):
        kwargs = {"key_padding_mask": given} if padded else {}
        expected, _ = layer(query, key, value, **kwargs)
        found = attention.rows(layer, attention.kept(layer, (query, key, value), kwargs, None))
        # Queries, keys and values, without padding; the places of queries are padding where they are the keys.
        sizes = [int(tensor.numel() / tensor.shape[-1]) for tensor in (query, key, value)]
        keep = (count - 2) / count if padded else 1
        own = keep if key is query else 1
        assert [len(rows) for rows in found] == [
            round(n * k) for n, k in zip([*sizes, sizes[0]], [own, keep, keep, own], strict=True)
        ]
        out = found[3] @ layer.out_proj.weight.T + (0 if layer.out_proj.bias is None else layer.out_proj.bias)
        batched = expected if layer.batch_first or expected.ndim == 2 else expected.transpose(0, 1)
        there = ~mask if own != 1 else torch.ones(batched.shape[:-1], dtype=torch.bool)
        assert torch.allclose(out, batched[there], atol=1e-12)


def test_each_matrix_has_the_weight_and_biases_of_its_rows():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x = rand(2, 3, 8)
    call = attention.kept(layer, (x, x, x), {}, None)
    parts = weight_matrices("a", layer)
    packed = x.reshape(-1, 8) @ layer.in_proj_weight.T + layer.in_proj_bias
    for part, rows in zip(parts[:3], attention.rows(layer, call)[:3], strict=True):
        assert torch.allclose(rows @ part.weight.T + part.bias, packed[:, part.outputs], atol=1e-12)


def test_a_padding_mask_of_another_shape_and_nested_tensors_are_refused():
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    x = rand(2, 3, 8)
    with pytest.raises(
        UserError, match=r"key_padding_mask of an attention has shape \(3, 2\): \(batch, keys\) = \(2, 3\)"
    ):
        attention.kept(layer, (x, x, x), {"key_padding_mask": torch.zeros(3, 2, dtype=torch.bool)}, None)


class Encoder(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        one = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(one, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=mask)


class Decoder(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.decoder = nn.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=batch_first)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.decoder(x, x, tgt_key_padding_mask=mask, memory_key_padding_mask=mask)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [Encoder, Decoder])
def test_in_a_block_no_layer_sees_what_is_padding(kind, batch_first):
    """A padded batch is seen as its sequences one by one, whatever the padding holds."""
    torch.manual_seed(0)
    model = kind(batch_first).double().eval()
    guard = Guard(model, SvdSubspace, rows=1)
    whole = rand(2, 5, 8)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    whole[1, 3:] = 1e3
    turned = (lambda x: x) if batch_first else (lambda x: x.transpose(0, 1))
    with guard.watching() as padded, torch.no_grad():
        model(turned(whole), mask)
    with guard.watching() as alone, torch.no_grad():
        model(turned(whole[:1]))
        model(turned(whole[1:, :3]))
    for part in guard.parts:
        found, expected = part.rows(padded), part.rows(alone)
        assert len(found) == len(expected) == 8, part.label
        assert torch.allclose(found.T @ found, expected.T @ expected, atol=1e-10), part.label


def test_the_fast_path_is_taken_by_nobody_who_watches_and_left_as_it_was():
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2).double().eval()
    guard = Guard(model, SvdSubspace, rows=1)
    with guard.watching() as seen, torch.no_grad():
        model(rand(2, 3, 8), src_key_padding_mask=torch.tensor([[False] * 3, [False, False, True]]))
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() and all(len(part.rows(seen)) == 5 for part in guard.parts)


def test_what_is_not_known_of_an_attention_is_refused():
    with pytest.raises(UserError, match="the parameter bias_k of layer '0'"):
        Guard(nn.Sequential(nn.MultiheadAttention(8, 2, add_bias_kv=True)), SvdSubspace, rows=1)


@pytest.mark.parametrize("mask", ["none", "of pairs", "in numbers", "of heads", "padding"])
@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
def test_what_the_heads_give_is_what_the_layer_multiplies(options, mask):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, **options).double()
    for value in (layer.bias_k, layer.bias_v):
        if value is not None:
            value.requires_grad_(False)
    Guard(nn.Sequential(layer), SvdSubspace, rows=1)
    of_pairs = torch.ones(5, 5).triu(1).bool()
    given = {
        "of pairs": {"attn_mask": of_pairs},
        "in numbers": {"attn_mask": rand(5, 5, seed=1)},
        "of heads": {"attn_mask": rand(6, 5, 5, seed=2)},
        "padding": {"key_padding_mask": (torch.arange(5) > 2).expand(3, -1)},
    }.get(mask, {})
    x = rand(3, 5, 8)
    expected, _ = layer(x, x, x, **given)
    *_, heads = attention.rows(layer, attention.kept(layer, (x, x, x), given, None))
    there = slice(3) if mask == "padding" else slice(None)
    assert torch.allclose(layer.out_proj(heads), expected[:, there].flatten(0, 1), atol=1e-14)


def test_a_mask_of_keys_in_numbers_is_added_as_it_is():
    """Far below zero, or a little: neither is minus infinity, and both count for what the heads give."""
    layer = nn.MultiheadAttention(8, 2, batch_first=True).double()
    query, mask = rand(3, 5, 8), torch.tensor([0.0, -1.0, 2.0, -1e9, float("-inf")], dtype=torch.float64).expand(3, -1)
    expected, _ = layer(query, query, query, mask)
    found = attention.rows(layer, attention.kept(layer, (query, query, query, mask), {}, None))
    assert [len(rows) for rows in found] == [12] * 4
    assert torch.allclose(layer.out_proj(found[3]), expected[:, :4].flatten(0, 1))
