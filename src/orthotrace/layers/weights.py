"""The kinds of weights that a model may be given: orthogonal, initial, pretrained, low-rank, and those of hardware."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from orthotrace.core.errors import refuse_unknown
from orthotrace.layers.orthogonalise import ORTHOGONAL, orthogonalise

# What each kind takes its options from, by name: a kind is imported where it is chosen.
KINDS = {
    "own": "orthotrace.layers.orthogonal.OWN",
    "oni": "orthotrace.layers.orthogonal.ONI",
    "stiefel": "orthotrace.layers.orthogonal.Stiefel",
    "orthogonal_init": "orthotrace.layers.orthogonalise.orthogonal_init",
    "low_rank_init": "orthotrace.layers.initial.low_rank_init",
    "tied_init": "orthotrace.layers.initial.tied_init",
    "lora": "orthotrace.layers.lora.lora",
    "adder": "orthotrace.layers.adders.adder",
    "sawb": "orthotrace.layers.quantised.sawb",
    "memristor": "orthotrace.layers.memristor.memristor",
    "rbm_init": "orthotrace.layers.dbn.dbn",
}
# Kinds that learn from images, once, before a run begins; where a network is only read there are none.
FROM_IMAGES = ("rbm_init",)


def give_weights(model: nn.Module, kind: str, layers: Sequence[str] | None = None, **options: Any) -> list[str]:
    """Make the weights of a model of a kind, in place, see orthogonalise and lora.

    Raises:
        UserError: an unknown kind; see there.

    Example:
        >>> model = nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> give_weights(model, "lora", rank=2)
        ['0.weight']
    """
    refuse_unknown([kind], KINDS, "there is no kind", "kind")
    if kind in ORTHOGONAL:
        return orthogonalise(model, kind, layers, **options)
    return maker_of(kind)(model, layers=layers, **options)


def maker_of(kind: str) -> Any:
    """What makes weights of a kind.

    Example:
        >>> maker_of("lora").__name__
        'lora'
    """
    module, _, name = KINDS[kind].rpartition(".")
    return getattr(import_module(module), name)


def draws_anew(kind: str) -> bool:
    """Whether a kind gives a model other weights under the names that they have.

    Example:
        >>> draws_anew("orthogonal_init"), draws_anew("adder"), draws_anew("own")
        (True, True, False)
    """
    return kind.endswith("_init") or kind == "adder"
