"""One step of a network that runs through time, and the state that is handed from each to the next."""

from __future__ import annotations

from contextvars import ContextVar, Token
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class State:
    """What a network keeps from one step to the next, nothing at rest.

    Attributes:
        steps: that were made.
        values: membranes of neurons and traces of layers, in the order in which they are called.
        decays: beside each the decay of the neurons that are called next; None where none come after.
    """

    steps: int = 0
    values: tuple[Tensor | None, ...] = ()
    decays: tuple[float | None, ...] = ()


class TimeStep:
    """A step of a network in the making: within the block neurons and layers take their state from it, in turn."""

    def __init__(self, state: State) -> None:
        self._before = state
        self._values: list[Tensor | None] = []
        self._decays: list[float | None] = []
        self._token: Token[TimeStep | None] | None = None

    def __enter__(self) -> TimeStep:
        self._token = _STEP.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        _STEP.reset(self._token)

    def take(self) -> Tensor | None:
        """What the next in turn kept; None at the first step."""
        return self._before.values[len(self._values)] if self._before.steps else None

    @property
    def decay(self) -> float | None:
        """Of the neurons that were called after the next in turn; None at the first step, and where there were none."""
        return self._before.decays[len(self._values)] if self._before.steps else None

    def keep(self, value: Tensor | None, decay: float | None = None) -> None:
        """What is kept of it for the step to come; of neurons with their decay."""
        self._values.append(None if value is None else value.detach())
        self._decays.append(decay)

    @property
    def number(self) -> int:
        """Of the step, from 0."""
        return self._before.steps

    @property
    def after(self) -> State:
        """The state after the step."""
        decays: list[float | None] = []
        following = None
        for decay in reversed(self._decays):
            following = following if decay is None else decay
            decays.append(following)
        return State(self._before.steps + 1, tuple(self._values), tuple(reversed(decays)))


_STEP: ContextVar[TimeStep | None] = ContextVar("step", default=None)


def current_step() -> TimeStep | None:
    """The step that is being made, if one is."""
    return _STEP.get()
