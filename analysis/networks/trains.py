"""Distances of spike trains as measures of dissimilarity in the layers of spiking networks, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from orthotrace.analysis.rdm.arguments import number
from orthotrace.analysis.rdm.arrays import finite, numbers
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.spike_trains import van_rossum, victor_purpura
from orthotrace.core.errors import UserError, refuse_unknown

if TYPE_CHECKING:
    from orthotrace.analysis.rdm.rdms import Measure

Trains = Literal["van_rossum", "victor_purpura"]
# What the constant of each is called.
CONSTANTS: Mapping[Trains, str] = {"van_rossum": "tau", "victor_purpura": "cost"}
# Where none is given: a spike is as good as moved by four steps as taken away and put elsewhere.
TAU, COST = 2.0, 0.5


@dataclass(frozen=True)
class TrainDistance:
    """A distance of spike trains with its constant: the dissimilarity of stimuli in a layer of a spiking network.

    Spikes of any one height count as 1 each, as those of a neuron that fires with the height of its threshold.

    Args:
        name: van_rossum or victor_purpura.
        constant: its tau or cost.

    Raises:
        UserError: another name; called with no array (stimuli, steps, neurons), or what the distance refuses.

    Example:
        >>> TrainDistance("victor_purpura", 0.5)([[[0.7], [0]], [[0], [0.7]], [[0], [0]]])
        array([0.5, 1. , 1. ])
    """

    name: Trains
    constant: float

    def __post_init__(self) -> None:
        refuse_unknown([self.name], get_args(Trains), "there is no distance of spike trains", "rdm")

    @property
    def called(self) -> str:
        """Its name with its constant.

        Example:
            >>> TrainDistance("van_rossum", 2.0).called
            'van_rossum (tau 2)'
        """
        return f"{self.name} ({CONSTANTS[self.name]} {self.constant:g})"

    def takes(self, values: Tensor | ArrayLike) -> bool:
        """Whether these are spikes: 0, or whole multiples of one height."""
        heights = np.unique(numbers(values, "spikes"))
        counts = heights / _height(heights)
        return bool((heights >= 0).all() and np.allclose(counts, counts.round(), rtol=0, atol=1e-4))

    def __call__(self, spikes: Tensor | ArrayLike) -> NDArray[np.float64]:
        """The distances, (n (n - 1) / 2,)."""
        values = np.asarray(finite(spikes, "spikes"), dtype=np.float64)
        if values.ndim < 3:
            raise UserError(f"(stimuli, steps, neurons) are needed, got shape {values.shape}", "spikes")
        counts = values / _height(values)
        counts = counts.round() if self.takes(values) else values
        return van_rossum(counts, self.constant) if self.name == "van_rossum" else victor_purpura(counts, self.constant)


def named_measure(name: str, tau: float = TAU, cost: float = COST) -> Measure | None:
    """A measure of dissimilarity by its name, of activations or of spike trains; None where there is none.

    Raises:
        UserError: a constant out of its range.
    """
    if name in MEASURES:
        return MEASURES[name]
    if name == "van_rossum":
        return TrainDistance(name, number(tau, "tau", "a number of steps above 0", lambda one: one > 0))
    if name == "victor_purpura":
        return TrainDistance(name, number(cost, "cost", "a cost of at least 0", lambda one: one >= 0))
    return None


def _height(values: NDArray[np.float64]) -> float:
    """Of the least spike; 1 where there is none."""
    return float(values[values > 0].min(initial=np.inf)) if (values > 0).any() else 1.0
