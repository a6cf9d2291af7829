"""Distances between spike trains as they are defined, one pair and one neuron at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy.integrate import quad


def times(train: Any) -> list[int]:
    return [step for step, count in enumerate(train) for _ in range(int(count))]


def van_rossum(a: Any, b: Any, tau: float) -> float:
    """The integral, between the places where spikes make it jump, by quadrature."""
    total = 0.0
    for neuron in range(a.shape[1]):
        x, y = times(a[:, neuron]), times(b[:, neuron])

        def difference(t: float, x: Any = x, y: Any = y) -> float:
            return sum(math.exp(-(t - s) / tau) for s in x if s <= t) - sum(
                math.exp(-(t - s) / tau) for s in y if s <= t
            )

        ends = [*range(len(a)), len(a) + 60 * tau]
        for low, high in itertools.pairwise(ends):
            total += quad(lambda t: difference(t) ** 2, low, high, epsabs=1e-12, limit=200)[0] / tau
    return math.sqrt(total)


def victor_purpura(a: Any, b: Any, cost: float) -> float:
    total = 0.0
    for neuron in range(a.shape[1]):
        x, y = times(a[:, neuron]), times(b[:, neuron])
        table = np.zeros((len(x) + 1, len(y) + 1))
        table[:, 0], table[0] = range(len(x) + 1), range(len(y) + 1)
        for i, j in itertools.product(range(1, len(x) + 1), range(1, len(y) + 1)):
            moved = table[i - 1, j - 1] + cost * abs(x[i - 1] - y[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, moved)
        total += table[-1, -1]
    return total
