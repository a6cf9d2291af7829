"""An output layer whose outputs belong to tasks: those of other tasks stay as they are."""

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.protection.matrices import trained


class Head(nn.Module):
    """Puts the weights of all outputs but the active ones back to what they were at the task's start.

    Args:
        layer: Linear, or Conv2d with a map for each output.

    Example:
        >>> layer = nn.Linear(3, 4)
        >>> head = Head(layer)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(7.0)
        ...     head.hold(range(2, 4))
        >>> (layer.weight == 7.0).all(1).tolist()
        [False, False, True, True]
    """

    start: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        # In a tuple: the layer belongs to the model.
        self._layer = (layer,)
        self.register_buffer("start", self.joined())

    @property
    def layer(self) -> nn.Linear | nn.Conv2d:
        """The output layer."""
        return self._layer[0]

    def joined(self) -> Tensor:
        """A copy of the weights, of each output a row, with the biases as the last column if there are any."""
        weight, bias = trained(self.layer, "weight").detach().flatten(1), self.layer.bias
        return weight.clone() if bias is None else torch.cat([weight, bias.detach()[:, None]], dim=1)

    def begin(self) -> None:
        """Remember the weights."""
        self.start.copy_(self.joined())

    def put_start(self) -> None:
        """Put the weights of all outputs back."""
        self._put(slice(None))

    def checked(self, outputs: range | None) -> range | None:
        """Active outputs as they were given.

        Raises:
            UserError: they are no range within those of the layer.
        """
        there = len(trained(self.layer, "weight"))
        if outputs is not None and not (
            isinstance(outputs, range) and outputs.step == 1 and 0 <= outputs.start < outputs.stop <= there
        ):
            raise UserError(f"a range within the {there} outputs of the head (got {outputs!r})", "outputs")
        return outputs

    def moved(self, active: range | None) -> bool:
        """Whether the weights of an inactive output have changed since the task's start; None: all are active."""
        if active is None:
            return False
        changed = (self.joined() != self.start).any(1)
        changed[active.start : active.stop] = False
        return bool(changed.any())

    @torch.no_grad()
    def hold(self, active: range | None) -> None:
        """Put the weights of inactive outputs back; None: all are active."""
        if active is None:
            return
        for other in (slice(0, active.start), slice(active.stop, None)):
            self._put(other)

    def _put(self, outputs: slice) -> None:
        layer = self.layer
        weight = trained(layer, "weight")[outputs]
        weight.copy_(self.start[outputs, : weight[:1].numel()].reshape(weight.shape))
        if layer.bias is not None:
            layer.bias[outputs] = self.start[outputs, -1]
