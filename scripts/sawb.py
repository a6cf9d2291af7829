"""The coefficients of SAWB, fitted, and how near its scale comes to the best one.

    python scripts/sawb.py

Six kinds of distributions, symmetric about 0: Gaussian, uniform, Laplace, logistic, triangular, von Mises (kappa 1). Of
each the scale a* of least squared error on 2^b levels from -a to a, by integration of its density, and the c1 and c2
that bring c1 sqrt(E[w^2]) - c2 E|w| nearest to a*, in relative least squares over the six. Beside them the least
distance that any c1 and c2 could have from a* in all six, and in the five without von Mises. Writes
scripts/results/sawb.json; some ten seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from records import write_record
from scipy import stats
from scipy.optimize import linprog, minimize_scalar

RESULTS = Path("scripts/results/sawb.json")
DISTRIBUTIONS: dict[str, Any] = {
    "Gaussian": stats.norm(),
    "uniform": stats.uniform(-1, 2),
    "Laplace": stats.laplace(),
    "logistic": stats.logistic(),
    "triangular": stats.triang(0.5, -1, 2),
    "von Mises": stats.vonmises(1.0),
}
POINTS = 40_001


def half(distribution: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sizes |w|, and the probability at each."""
    end = float(distribution.ppf(1 - 1e-9)) if np.isinf(distribution.support()[1]) else float(distribution.support()[1])
    sizes = np.linspace(0, end, POINTS)
    density = distribution.pdf(sizes)
    return sizes, density / density.sum()


def error(scale: float, bits: int, sizes: np.ndarray, shares: np.ndarray) -> float:
    """Mean squared error of the nearest of the levels."""
    step = 2 * scale / (2**bits - 1)
    nearest = np.clip((np.floor(sizes / step) + 0.5) * step, 0, scale)
    return float(shares @ (sizes - nearest) ** 2)


def best_scale(bits: int, sizes: np.ndarray, shares: np.ndarray) -> float:
    """The scale of least squared error."""
    tried = np.linspace(0.02, 1, 200) * min(sizes[-1], 12 * np.sqrt(shares @ sizes**2))
    place = int(np.argmin([error(one, bits, sizes, shares) for one in tried]))
    bounds = tried[max(0, place - 1)], tried[min(len(tried) - 1, place + 1)]
    found: Any = minimize_scalar(error, bounds=bounds, args=(bits, sizes, shares), method="bounded")
    return float(found.x)


def fit(bits: int) -> dict[str, Any]:
    """Coefficients, and for each distribution what they give over the best scale."""
    moments, best = [], []
    for distribution in DISTRIBUTIONS.values():
        sizes, shares = half(distribution)
        moments.append((np.sqrt(shares @ sizes**2), -(shares @ sizes)))
        best.append(best_scale(bits, sizes, shares))
    table = np.array(moments) / np.array(best)[:, None]
    found = np.linalg.lstsq(table, np.ones(len(best)), rcond=None)[0]
    record: dict[str, Any] = {"bits": bits, "c1": round(float(found[0]), 3), "c2": round(float(found[1]), 3)}
    record["scale_over_best"] = {
        name: round(float(value), 4) for name, value in zip(DISTRIBUTIONS, table @ found, strict=True)
    }
    record["error_over_best"] = {
        name: round(error(ratio * scale, bits, *half(one)) / error(scale, bits, *half(one)), 4)
        for (name, one), ratio, scale in zip(DISTRIBUTIONS.items(), table @ found, best, strict=True)
    }
    record["best"] = {name: round(value, 4) for name, value in zip(DISTRIBUTIONS, best, strict=True)}
    record["nearest_possible"] = round(nearest_possible(table), 4)
    # Of the von Mises distributions the paper does not tell which.
    others = [number for number, name in enumerate(DISTRIBUTIONS) if name != "von Mises"]
    record["nearest_possible_without_von_mises"] = round(nearest_possible(table[others]), 4)
    return record


def nearest_possible(table: np.ndarray) -> float:
    """The least c for which some c1 and c2 come within c of the best scale for all distributions."""
    slack = np.ones((len(table), 1))
    limits = np.vstack([np.hstack([table, -slack]), np.hstack([-table, -slack])])
    found: Any = linprog([0, 0, 1], limits, np.vstack([slack, -slack]), bounds=(None, None))
    return float(found.x[2])


def main() -> None:
    """Fit for 2, 3 and 4 bits."""
    records = [fit(bits) for bits in (2, 3, 4)]
    for one in records:
        print(one)
    write_record(RESULTS, {"command": "python scripts/sawb.py", "records": records})


if __name__ == "__main__":
    main()
