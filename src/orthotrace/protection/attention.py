"""Attention: products with queries, keys and values, and with what the heads give."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward

from orthotrace.core.errors import UserError
from orthotrace.protection.matrices import WeightMatrix, matrix

LAYERS = (nn.MultiheadAttention,)
# Blocks that are told which places are padding, and the argument that says it of those they go on with.
BLOCKS = {nn.TransformerEncoderLayer: "src_key_padding_mask", nn.TransformerDecoderLayer: "tgt_key_padding_mask"}


def matrices(name: str, layer: Any) -> list[WeightMatrix]:
    """Those of queries, keys and values, packed in one weight or apart, and that of the outputs.

    Example:
        >>> [(part.label, part.features) for part in matrices("a", nn.MultiheadAttention(4, 2, kdim=3))]
        [('a[q]', 4), ('a[k]', 3), ('a[v]', 4), ('a[out]', 4)]
    """
    size = layer.embed_dim
    found = []
    for group, which in enumerate("qkv"):
        own = slice(group * size, (group + 1) * size)
        if layer.in_proj_weight is not None:
            found.append(matrix(name, layer, group, which, "in_proj_weight", "in_proj_bias", own))
        else:
            # Weights of their own, but the biases are packed all the same.
            weight = f"{which}_proj_weight"
            bias = "" if layer.in_proj_bias is None else "in_proj_bias"
            features = getattr(layer, weight).shape[1]
            found.append(
                WeightMatrix(f"{name}[{which}]", name, layer, group, slice(0, size), features, weight, bias, biases=own)
            )
    return [*found, matrix(name, layer.out_proj, 3, "out", "weight", "bias", slice(0, size))]


class AttentionCall(NamedTuple):
    """What an attention was called with: (batch, places, features); which keys are padding; whether these query."""

    query: Tensor
    key: Tensor
    value: Tensor
    padding: Tensor | None
    mask: Tensor | None
    causal: bool
    own: bool
    # The mask of keys as it was given: of numbers, it is added to what the softmax takes.
    given: Tensor | None = None
    # Places of queries that a block says are none of padding.
    there: Tensor | None = None


def kept(layer: Any, args: Sequence[Any], kwargs: dict[str, Any], output: object) -> AttentionCall:
    """What is kept of a call until its rows are asked for.

    Raises:
        UserError: nested tensors, or a padding mask of another shape than (batch, keys).
    """
    call = inspect.signature(nn.MultiheadAttention.forward).bind(layer, *args, **kwargs)
    call.apply_defaults()
    of = call.arguments
    query, key, value = (of[name] for name in ("query", "key", "value"))
    if any(one.is_nested for one in (query, key, value)):
        raise UserError("attention over nested tensors cannot be watched: give padded ones, and a key_padding_mask")
    padding, own = of["key_padding_mask"], query is key
    if query.ndim == 2:
        query, key, value = query[None], key[None], value[None]
        padding = None if padding is None else padding[None]
    elif not layer.batch_first:
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    if padding is not None and padding.shape != key.shape[:2]:
        raise UserError(
            f"key_padding_mask of an attention has shape {tuple(padding.shape)}: (batch, keys) = "
            f"{tuple(key.shape[:2])} is needed"
        )
    # A network may run in autocast by itself, and the rows are made outside of it.
    kind = layer.out_proj.weight.dtype
    query, key, value = (one.detach().to(kind, copy=True) for one in (query, key, value))
    given = None if padding is None else padding.detach().clone()
    padding = None if padding is None else is_padding(padding)
    return AttentionCall(query, key, value, padding, of["attn_mask"], of["is_causal"], own, given)


def is_padding(mask: Tensor) -> Tensor:
    """Which places a mask takes out: True, or minus infinity, as torch has both.

    Example:
        >>> is_padding(torch.tensor([[0.0, float("-inf")]]))
        tensor([[False,  True]])
    """
    return mask.clone() if mask.dtype == torch.bool else mask.isneginf()


@torch.no_grad()
def rows(layer: Any, call: AttentionCall, budget: int | None = None, generator: object = None) -> list[Tensor]:
    """Queries, keys and values, and what the heads gave, without dropout; what is padding is left out.

    The places of queries are padding where the queries are the keys.
    """
    of_keys = slice(None) if call.padding is None else ~call.padding.to(call.key.device)
    of_queries = of_keys if call.own else slice(None) if call.there is None else call.there
    packed = layer.in_proj_weight is not None
    heads, _ = multi_head_attention_forward(
        call.query.transpose(0, 1),
        call.key.transpose(0, 1),
        call.value.transpose(0, 1),
        layer.embed_dim,
        layer.num_heads,
        layer.in_proj_weight,
        layer.in_proj_bias,
        layer.bias_k,
        layer.bias_v,
        layer.add_zero_attn,
        0.0,
        # In place of the last product: what it is multiplied with.
        torch.eye(layer.embed_dim).to(layer.out_proj.weight),
        None,
        training=False,
        key_padding_mask=call.given,
        need_weights=False,
        attn_mask=call.mask,
        is_causal=call.causal,
        use_separate_proj_weight=not packed,
        q_proj_weight=None if packed else layer.q_proj_weight,
        k_proj_weight=None if packed else layer.k_proj_weight,
        v_proj_weight=None if packed else layer.v_proj_weight,
    )
    heads = heads.transpose(0, 1)
    return [
        one[chosen].reshape(-1, one.shape[-1])
        for one, chosen in (
            (call.query, of_queries),
            (call.key, of_keys),
            (call.value, of_keys),
            (heads, of_queries),
        )
    ]


def within(call: AttentionCall, there: Tensor, layer: Any) -> AttentionCall:
    """A call in a block that says which places are none of padding, (batch, places) or with the places first."""
    there = there if layer.batch_first or there.ndim == 1 else there.T
    there = there[None] if there.ndim == 1 else there
    return call._replace(there=there.to(call.query.device)) if there.shape == call.query.shape[:2] else call


@contextmanager
def slow_attention() -> Iterator[None]:
    """Without torch's fast path of attention, which calls none of the layers within."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def places(block: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """Which places of a block's inputs are none of padding, (batch, places) or with the places first; None for all."""
    kind = next(kind for kind in BLOCKS if isinstance(block, kind))
    given = inspect.signature(kind.forward).bind(block, *args, **kwargs).arguments
    padding = given.get(BLOCKS[kind])
    if padding is None:
        return None
    chosen = ~is_padding(padding)
    return chosen if block.self_attn.batch_first or chosen.ndim == 1 else chosen.T
