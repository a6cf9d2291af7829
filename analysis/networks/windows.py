"""How a spiking network is read over time: firing rates, rates in windows of its steps, or the spikes of every step."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.layers.spiking import SpikingNetwork

# What follows the name of a layer in a window: its first and last step, or its only one.
WINDOW = re.compile(r"(.+)(@(\d+)(?:-(\d+))?)")


@dataclass(frozen=True)
class TimeReading:
    """How a spiking network is read over time; whatever does not change with time is read as it is.

    Attributes:
        windows: of time, as long as each other where the steps can be so divided, else the first ones a step longer;
            in each the mean over its steps. None for the firing rates over all steps.
        spikes: every step apart, not their mean.
    """

    windows: int | None = None
    spikes: bool = False

    @property
    def called(self) -> str:
        """What tells it from firing rates, in a list; empty where nothing does.

        Example:
            >>> TimeReading().called, TimeReading(3).called
            ('', ', 3 windows')
        """
        return "" if self.windows is None else f", {self.windows} windows"

    def check(self, steps: int) -> None:
        """Refuse more windows than there are steps.

        Raises:
            UserError: there are more.
        """
        if self.windows is not None and self.windows > steps:
            raise UserError(f"of {steps} steps there are at most {steps} windows (got {self.windows})", "windows")

    def parts(self, model: SpikingNetwork, over_steps: Tensor) -> dict[str, Tensor]:
        """What is read of values (steps, n, ...): end of the layer's name -> (n, ...), of spikes (n, steps, ...)."""
        parts = over_steps.tensor_split(self.windows or 1)
        ends = [""] if self.windows is None else [f"@{window}" for window in windows(len(over_steps), self.windows)]
        return {
            end: part.movedim(0, 1) if self.spikes else model.rates(part) for end, part in zip(ends, parts, strict=True)
        }


def windows(steps: int, count: int) -> list[str]:
    """First and last step of each window, from 1.

    Example:
        >>> windows(6, 3), windows(5, 3)
        (['1-2', '3-4', '5-6'], ['1-2', '3-4', '5'])
    """
    found, first = [], 1
    for place in range(count):
        last = first + steps // count + (place < steps % count) - 1
        found.append(f"{first}-{last}" if last > first else str(first))
        first = last + 1
    return found


def parted(name: str) -> tuple[str, str]:
    """The name of a layer without its window, and what follows it.

    Example:
        >>> parted("relu1@3-4"), parted("relu1")
        (('relu1', '@3-4'), ('relu1', ''))
    """
    match = WINDOW.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def bounds(name: str) -> tuple[int, int] | None:
    """The first and the last step of the window of a layer; None where it has none.

    Example:
        >>> bounds("relu1@3-4"), bounds("relu1@5"), bounds("relu1")
        ((3, 4), (5, 5), None)
    """
    match = WINDOW.fullmatch(name)
    return (int(match[3]), int(match[4] or match[3])) if match else None


def by_layer(names: Iterable[str]) -> list[str]:
    """Names with the windows of a layer beside each other, layers in the order in which they come.

    Example:
        >>> by_layer(["relu1", "head", "relu1@1-2", "head@1-2"])
        ['relu1', 'relu1@1-2', 'head', 'head@1-2']
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(parted(name)[0], []).append(name)
    return [name for same in found.values() for name in same]
