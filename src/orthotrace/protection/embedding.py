"""Embeddings: the vector of a token that was seen stays as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.subspace.base import Capacity

LAYERS = (nn.Embedding,)


class Seen(nn.Module):
    """Puts the vectors of tokens that earlier tasks have seen back to what they were at the task's start.

    A token is an input along an axis of its own, so that the directions held are the tokens seen, whatever the
    subspaces of other layers hold of theirs.

    Args:
        name: of the layer.
        layer: the embedding.
        share: how much of each step of theirs is taken, in [0, 1]: below 1 a part of it stays, at 0 they are free.

    Raises:
        UserError: its vectors are scaled whenever they are read (max_norm), which moves those that are held.

    Attributes:
        seen: by tasks that have ended, (tokens,).

    Example:
        >>> layer = nn.Embedding(3, 2)
        >>> held = Seen("words", layer)
        >>> held.observe([torch.tensor([[0, 2]])])
        >>> held.consolidate()
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(7.0)
        >>> held.hold()
        >>> (layer.weight == 7.0).all(1).tolist(), held.capacity.rank
        ([False, True, False], 2)
    """

    seen: Tensor
    now: Tensor
    start: Tensor

    def __init__(self, name: str, layer: nn.Embedding, share: float = 1.0) -> None:
        super().__init__()
        if layer.max_norm is not None:
            raise UserError(
                f"embedding '{name}' scales its vectors whenever they are read (max_norm), so that none can be held: "
                "make it without"
            )
        self.name = name
        self.share = share
        # In a tuple: the layer belongs to the model.
        self._layer: tuple[Any] = (layer,)
        none = torch.zeros(layer.num_embeddings, dtype=torch.bool, device=layer.weight.device)
        self.register_buffer("seen", none)
        self.register_buffer("now", none.clone())
        self.register_buffer("start", layer.weight.detach().clone())
        # What the vectors were after the last step, where a share of each is taken.
        self._last = layer.weight.detach()
        self.note()

    @property
    def layer(self) -> nn.Embedding:
        """The embedding."""
        return self._layer[0]

    @property
    def capacity(self) -> Capacity:
        """Tokens seen, and all there are."""
        return Capacity(int(self.seen.sum()), len(self.seen))

    @property
    def exact(self) -> bool:
        """Whether all of a step is taken."""
        return self.share == 1

    def begin(self) -> None:
        """Start a task: remember the vectors."""
        self.start.copy_(self.layer.weight.detach())
        self.note()

    def note(self) -> None:
        """Remember the vectors of which a share of the next step is taken."""
        if 0 < self.share < 1:
            self._last = self.layer.weight.detach().clone()

    def observe(self, calls: list[Tensor]) -> None:
        """See the tokens of all calls of the layer.

        Raises:
            UserError: the layer was never called, though it is trained, or was in this task.
        """
        if not calls and (self.layer.weight.requires_grad or not torch.equal(self.layer.weight, self.start)):
            raise UserError(f"the embedding '{self.name}' was not called: it would lose its protection")
        for tokens in calls:
            self.now[tokens.to(self.now.device)] = True

    def consolidate(self) -> None:
        """End a task: its tokens join those that were seen."""
        self.seen |= self.now
        self.now.zero_()

    @torch.no_grad()
    def hold(self) -> None:
        """Put the vectors of tokens seen back, or take the share of what they moved in a step."""
        if self.exact:
            self.layer.weight[self.seen] = self.start[self.seen]
        elif self.share:
            seen = self.layer.weight[self.seen]
            self.layer.weight[self.seen] = seen.lerp(self._last[self.seen], self.share)
            self.note()

    def put_start(self) -> None:
        """Put all vectors back."""
        self.layer.weight.copy_(self.start)

    def take_out(self, values: Tensor) -> None:
        """Take what is held from values of the shape of the vectors, such as a gradient, in place."""
        if values.is_sparse:
            # As embeddings with sparse=True have it: the rows of tokens that were used.
            kept = 1 - self.share * self.seen[values._indices()[0]].to(values.dtype)
            values._values().mul_(kept[:, None])
        else:
            values[self.seen] *= 1 - self.share

    def leak(self) -> float:
        """How much the vectors of tokens seen have moved since the task's start, over the size of all."""
        moved = (self.layer.weight.detach() - self.start)[self.seen].double().norm()
        return round(float(moved / self.start.double().norm().clamp_min(1e-30)), 15)

    def memory_bytes(self) -> int:
        """What is kept beside the network."""
        return sum(value.numel() * value.element_size() for value in self.state_dict().values())
