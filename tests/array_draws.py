"""How the arrays of a generated call are drawn, and what a case of a public function is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
SCALES = (0, 0, 0, 0, -4, 5, -30, 30, -150, 150, -300, 300)
FLAWS = ("none",) * 6 + ("twice", "zero", "constant row", "constant column", "all equal", "outlier", "whole", "near")


class Draw:
    """Sizes, and arrays of these sizes with a scale and a flaw, from one generator."""

    def __init__(self, seed: int, plain: bool = False) -> None:
        self.rng, self.plain = np.random.default_rng(seed), plain
        self.n, self.p, self.q, self.k = (
            (8, 3, 2, 3) if plain else map(int, self.rng.integers((3, 1, 1, 1), (10, 6, 6, 5)))
        )

    def array(self, *shape: int) -> np.ndarray:
        x = self.rng.standard_normal(shape) + 0.3
        return x if self.plain else self.spoilt(x) * 10.0 ** int(self.rng.choice(SCALES))

    def spoilt(self, x: np.ndarray) -> np.ndarray:
        flaw, row = self.rng.choice(FLAWS), int(self.rng.integers(len(x)))
        if flaw == "twice":
            x[row] = x[0]
        elif flaw == "near":
            x[row] = x[0] * (1 + 1e-9)
        elif flaw == "zero":
            x[row] = 0
        elif flaw == "constant row":
            x[row] = x[row].flat[0]
        elif flaw == "constant column":
            x[..., 0] = 0.5
        elif flaw == "all equal":
            x[:] = 0.7
        elif flaw == "outlier":
            x[row] *= 1e4
        elif flaw == "whole":
            x = np.round(2 * x)
        return x

    def stack(self, k: int, n: int | None = None) -> np.ndarray:
        n = n or self.n
        return np.abs(self.array(k, n * (n - 1) // 2))

    def square(self, n: int, diagonal: float = 0.0) -> np.ndarray:
        full = np.zeros((n, n))
        full[np.triu_indices(n, 1)] = self.stack(1, n)[0]
        return full + full.T + diagonal * np.eye(n)

    def definite(self, n: int) -> np.ndarray:
        x = self.rng.standard_normal((n, n + 2))
        return x @ x.T * (1 if self.plain else 10.0 ** int(self.rng.choice(SCALES)))

    def has(self, n: int, k: int) -> np.ndarray:
        return ((np.arange(n)[:, None] + np.arange(k)) % 3 == 0).astype(float)


@dataclass
class Case:
    """A public function: how its arrays are drawn, how it is called, what is right."""

    make: Callable[[Draw], Arrays]
    call: Callable[..., Any]
    oracle: Callable[..., Any]
    # Of what is returned, what the oracle gives.
    of: Callable[[Any], Any] = lambda found: found
    tolerance: float = 1e-8
    # NaN is documented as undefined, or entries may be missing.
    undefined: bool = False
    missing: bool = False
    # Rounding counts beside: "one", of what is in units of its own; the "largest" entry of the arguments, its "square",
    # the "product" of those of all, or x P x, the "form"; else the largest number of the result.
    beside: str = "one"
