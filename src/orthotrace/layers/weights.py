"""The kinds of weights that a model may be given: orthogonal ones, and low-rank adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from orthotrace.core.errors import refuse_unknown
from orthotrace.layers.lora import lora
from orthotrace.layers.orthogonalise import ORTHOGONAL, orthogonalise

# What each kind takes its options from.
KINDS: dict[str, Any] = {**ORTHOGONAL, "lora": lora}


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
    return lora(model, layers=layers, **options) if kind == "lora" else orthogonalise(model, kind, layers, **options)
