"""A readout whose outputs belong to tasks: those of other tasks stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Puts the weights of all outputs but those in use back to what they were at the task's start.

    Args:
        layer: Linear.

    Attributes:
        outputs: in use; None for all.

    Example:
        >>> layer = nn.Linear(3, 4)
        >>> head = Head(layer)
        >>> head.outputs = range(2, 4)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(7.0)
        ...     head.hold()
        >>> (layer.weight == 7.0).all(1).tolist()
        [False, False, True, True]
    """

    start: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        # In a tuple: the layer belongs to the model.
        self._layer = (layer,)
        self.outputs: range | None = None
        self.register_buffer("start", self._joined())

    @property
    def layer(self) -> nn.Linear:
        """The readout."""
        return self._layer[0]

    def _joined(self) -> Tensor:
        weight, bias = self.layer.weight.detach(), self.layer.bias
        return weight.clone() if bias is None else torch.cat([weight, bias.detach()[:, None]], dim=1)

    def begin(self) -> None:
        """Remember the weights."""
        self.start.copy_(self._joined())

    def moved(self) -> bool:
        """Whether the weights of an output that is not in use have changed since the task's start."""
        if self.outputs is None:
            return False
        changed = (self._joined() != self.start).any(1)
        changed[self.outputs.start : self.outputs.stop] = False
        return bool(changed.any())

    @torch.no_grad()
    def hold(self) -> None:
        """Put the others back."""
        if self.outputs is None:
            return
        layer = self.layer
        for other in (slice(0, self.outputs.start), slice(self.outputs.stop, None)):
            layer.weight[other] = self.start[other, : layer.in_features]
            if layer.bias is not None:
                layer.bias[other] = self.start[other, -1]
