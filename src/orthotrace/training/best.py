"""The weights of a task's best validation score, with which the task ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn


class Best(nn.Module):
    """Keeps weights and statistics of the epoch with the best validation score of a task, to put them back at its end.

    Of epochs with the same score the first one counts. Between tasks nothing is kept.

    Args:
        model: the network.
        monitor: the score: "loss", the lower the better, or "accuracy", the higher the better.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> best = Best(model, "loss")
        >>> best.begin(list)
        >>> for weight, loss in ((1.0, 0.5), (2.0, 0.25), (3.0, 0.75)):
        ...     _ = nn.init.constant_(model.weight, weight)
        ...     best.look(loss)
        >>> best.put_back()
        >>> model.weight.item()
        2.0
    """

    score: Tensor

    def __init__(self, model: nn.Module, monitor: Literal["loss", "accuracy"]) -> None:
        super().__init__()
        self.monitor = monitor
        # In a tuple: the network is not part of it.
        self._model = (model,)
        self._extra: Callable[[], Sequence[Tensor]] = tuple
        self.register_buffer("score", torch.tensor(float("inf"), dtype=torch.float64))

    def _values(self) -> dict[str, Tensor]:
        model = self._model[0]
        found = (*model.parameters(), *model.buffers(), *self._extra())
        return {f"value{number}": value.detach() for number, value in enumerate(found)}

    def begin(self, extra: Callable[[], Sequence[Tensor]]) -> None:
        """A task begins, or goes on.

        Args:
            extra: gives what is trained, or added up, beside the network in this task. Buffers are other tensors once a
                module has moved to another device.
        """
        self._extra = extra

    @torch.no_grad()
    def look(self, score: float) -> None:
        """Keep what the network is now where its score is the best so far; a score that is no number never is."""
        found = score if self.monitor == "loss" else -score
        if found < float(self.score):
            self.score.fill_(found)
            for name, value in self._values().items():
                self.register_buffer(name, value.clone())

    @torch.no_grad()
    def put_back(self) -> None:
        """A task ends: the network is what it was in the best epoch. It stays as it is where no score was a number."""
        if self.score < float("inf"):
            for name, value in self._values().items():
                value.copy_(self._buffers.pop(name))  # pyright: ignore[reportArgumentType]
        self.score.fill_(float("inf"))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        # What is kept of a task is there from its first epoch on.
        saved = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
        for name in [name for name in self._buffers if name not in saved]:
            del self._buffers[name]
        for name, value in saved.items():
            self.register_buffer(name, torch.empty_like(value))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
