"""Networks of other packages, as they are trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked


class Outside(nn.Module):
    """A network of another package, such as Hugging Face transformers or timm: ``network``, and what it answers.

    Logits are taken out of what it gives: a tensor, an object or a mapping with ``logits``, or the first of several.

    Args:
        shape: of one input; the network is made for it by its own arguments.
        classes: number of outputs; likewise.
        network: the module, images to logits.
        tokens: whether it takes whole numbers, such as the tokens of texts.

    Raises:
        UserError: something else than a module; when it is called, an answer without logits.

    Example:
        >>> import torch
        >>> Outside((1, 2, 2), 3, nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))(torch.zeros(5, 1, 2, 2)).shape
        torch.Size([5, 3])
    """

    @checked
    def __init__(self, shape: Sequence[int], classes: int, network: nn.Module, tokens: bool = False) -> None:
        super().__init__()
        self.tokens = tokens
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, outputs)."""
        return logits_of(self.network(inputs.long() if self.tokens else inputs))


def logits_of(answer: Any) -> Tensor:
    """The logits in what a network gives.

    Raises:
        UserError: there are none.

    Example:
        >>> import torch
        >>> logits_of({"loss": None, "logits": torch.zeros(2, 3)}).shape
        torch.Size([2, 3])
    """
    found = answer
    if isinstance(answer, Mapping):
        found = answer.get("logits")
    elif hasattr(answer, "logits"):
        found = answer.logits
    elif isinstance(answer, (tuple, list)) and answer:
        found = answer[0]
    if not isinstance(found, Tensor):
        raise UserError(f"gives a {type(answer).__name__} without logits: take a network for classification", "network")
    return found
