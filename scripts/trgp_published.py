"""TRGP as its published code has it: three things that it does otherwise than ours, each an option.

    PYTHONPATH=scripts orthotrace-train experiment=digits method=trgp method._target_=trgp_published.PublishedTRGP

scripts/cifar100_superclasses.sh runs it, to see what they cost. Nothing else uses it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from orthotrace.methods.context import TaskContext
from orthotrace.methods.trgp import TRGP
from orthotrace.subspace import RegionSubspace


class WithoutFirst(RegionSubspace):
    """Leaves out the new direction of the most energy of every task after the first.

    Of the new directions, the published code takes up those whose place is above the number of the old ones, and
    counts places from 0. There the direction still belongs to the task's own trust region; here it does not.
    """

    def take_up(self, rows: Tensor, new: Tensor, energies: Tensor) -> None:
        """Hold new rows but the first, and note those of the task."""
        later = len(self.members) > 0
        super().take_up(rows, new[later:], energies[later:])


class PublishedTRGP(TRGP):
    """TRGP with what its published code does otherwise.

    Not done here: the published code collects the inputs of the two convolutions from 24 and 100 images, and after the
    first task holds one direction fewer than the energy asks for.

    Args:
        without_first: the strongest new direction of every task after the first is not held.
        unscaled: a task's inputs are collected by the network without the scales of the task.
        scaled_layers: only the first of the layers have scales, so many; None: all.
        **options: as for TRGP.

    Source: github.com/LYang-666/TRGP, commit 6f5536e, main_cifar100_sup.py: get_space_and_grad,
    get_representation_and_gradient, main.
    """

    def __init__(
        self, without_first: bool = True, unscaled: bool = True, scaled_layers: int | None = 2, **options: Any
    ) -> None:
        super().__init__(**options)
        self.without_first = without_first
        self.unscaled = unscaled
        self.scaled_layers = scaled_layers

    def subspace(self, features: int, seed: int, **options: Any) -> RegionSubspace:
        """Principal directions, and those of each task."""
        return (WithoutFirst if self.without_first else RegionSubspace)(features, **options)

    def trusted(self, number: int, gradient: Tensor) -> list[int]:
        """The earlier tasks that are trust regions of a matrix."""
        if self.scaled_layers is not None and number >= self.scaled_layers:
            return []
        return super().trusted(number, gradient)

    def learn(self, context: TaskContext) -> None:
        """Draw the samples and let the subspaces observe them."""
        running = self._running
        if self.unscaled:
            self._running = {}
        super().learn(context)
        self._running = running
