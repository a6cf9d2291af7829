"""How much of the variance of numbers, or of RDMs, factors such as the seed or the method explain: a mixed model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.rdm.arrays import finite, kinds_of, labels, scaled_back
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
STEPS = 200
ALL = "the factors explain all of the variance: there is no residual to compare with"


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of a mixed model.

    Attributes:
        variances: factor -> the variance of its levels; "residual" -> what is left; in squared units of the values.
        shares: the same over their sum.
        observations: how many.
    """

    variances: dict[str, float]
    shares: dict[str, float]
    observations: int


def variance_components(values: ArrayLike, factors: Mapping[str, ArrayLike]) -> VarianceComponents:
    """Variance that factors explain, by a linear mixed model with crossed random effects.

        y = mean + sum_f u_f(level of f) + e,  u_f ~ N(0, s_f^2),  e ~ N(0, s^2)

    fitted by restricted maximum likelihood (REML), no variance below 0. In a balanced design without negative
    estimates these are those of the analysis of variance. An interaction is one more factor, whose levels are pairs of
    levels. Observations count as independent given the factors: pairs of networks are not quite, as each network is in
    several.

    Args:
        values: a number of each observation, (n,); or an RDM of each, (n, m), whose entries have a mean of their own
            each and share the variances: that between RDMs.
        factors: name -> the level of each observation, (n,).

    Raises:
        UserError: labels of another number; a factor with one level, with as many levels as observations, or with the
            levels of another factor; nothing that varies; too few observations to tell the factors from the rest.

    Source: Patterson & Thompson, Biometrika 58 (1971) 545; for RDMs Chow & Palmeri, 2026.

    Example:
        >>> found = variance_components([1.0, 1.2, 3.0, 3.2, 5.0, 5.2], {"seed": [0, 0, 1, 1, 2, 2]})
        >>> {name: round(value, 3) for name, value in found.variances.items()}
        {'seed': 3.99, 'residual': 0.02}
    """
    y = finite(values, "values")
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not y.size:
        raise UserError(f"numbers (n,) or RDMs (n, m) are needed, got shape {y.shape}", "values")
    n = len(y)
    contrasts, designs, basis = _within(factors, n)
    largest = float(np.abs(y).max()) or 1.0
    y = y / largest
    rest = contrasts.T @ y
    size = float((rest**2).mean())
    if size <= 1e-24:
        raise UserError("all observations are the same: there is no variance to explain", "values")
    if float(((rest - basis @ (basis.T @ rest)) ** 2).mean()) <= 1e-20 * size:
        raise UserError(ALL, "values")
    kernels = [one @ one.T for one in designs.values()]
    found = _reml(rest @ rest.T / y.shape[1] / size, kernels) * size
    back = [float(one) for one in scaled_back(found, largest, 2, "values")]
    names = [*designs, "residual"]
    return VarianceComponents(
        dict(zip(names, back, strict=True)), dict(zip(names, (found / found.sum()).tolist(), strict=True)), n
    )


def check_factors(factors: Mapping[str, ArrayLike], number: int) -> None:
    """Refuse factors that so many observations cannot tell apart, as variance_components does.

    Args:
        factors: name -> the level of each observation, (number,).
        number: of observations.

    Raises:
        UserError: names the factor.

    Example:
        >>> check_factors({"seed": [0, 0, 0]}, 3)
        Traceback (most recent call last):
        orthotrace.core.errors.UserError: factors['seed']: has one level (0): a factor needs two or more
    """
    _within(factors, number)


def _within(factors: Mapping[str, ArrayLike], n: int) -> tuple[Matrix, dict[str, Matrix], Matrix]:
    """The contrasts (n, n - 1) that are left without the mean, the levels of each factor in them, and their span."""
    designs = _designs(factors, n)
    contrasts = np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, : n - 1]]))[0][:, 1:]
    within = {name: contrasts.T @ one for name, one in designs.items()}
    basis, heights, _ = np.linalg.svd(np.column_stack(list(within.values())), full_matrices=False)
    basis = basis[:, heights > 1e-9 * heights.max()]
    if basis.shape[1] >= n - 1:
        raise UserError(
            f"{n} observations leave nothing beside the levels of {', '.join(designs)}: more are needed", "factors"
        )
    return contrasts, within, basis


def _designs(factors: Mapping[str, ArrayLike], n: int) -> dict[str, Matrix]:
    """The levels of each factor as columns of 0 and 1, (n, levels)."""
    if not factors:
        raise UserError("at least one factor is needed", "factors")
    found: dict[str, Matrix] = {}
    seen: dict[tuple[int, ...], str] = {}
    for name, given in factors.items():
        key = f"factors['{name}']"
        if name == "residual":
            raise UserError("residual is the name of what is left: call the factor otherwise", key)
        kinds, which = kinds_of(labels(given, key, n, "observations"), key)
        if len(kinds) < 2:
            raise UserError(f"has one level ({kinds[0]}): a factor needs two or more", key)
        if len(kinds) == n:
            raise UserError("has as many levels as there are observations: it cannot be told from the residual", key)
        # By the order in which levels come, so that other names of the same ones are seen.
        order = tuple(dict.fromkeys(which.tolist()))
        partition = tuple(order.index(one) for one in which.tolist())
        if partition in seen:
            raise UserError(f"has the levels of '{seen[partition]}': the two cannot be told apart", key)
        seen[partition] = name
        found[name] = np.eye(len(kinds))[which]
    return found


def _reml(second: Matrix, kernels: list[Matrix]) -> Matrix:
    """Variances of the factors, and the residual, that maximise the restricted likelihood.

    Of the second moments of contrasts (d, d) and the kernel of each factor: log|V| + tr(V^-1 S), V = s^2 I + sum s_f^2
    K_f.
    """
    from scipy.optimize import minimize

    d = len(second)

    def cost(ratios: Matrix) -> tuple[float, Matrix]:
        # Beside the residual, which has a closed form then.
        spread = np.eye(d) + sum(ratio * one for ratio, one in zip(ratios, kernels, strict=True))
        inverse = np.linalg.inv(spread)
        fitted = inverse @ second
        trace = float(np.trace(fitted))
        slope = [np.sum(inverse * one) - d * np.sum((fitted @ inverse) * one) / trace for one in kernels]
        return d * np.log(trace) + np.linalg.slogdet(spread)[1], np.array(slope)

    begun = [np.full(len(kernels), ratio) for ratio in (0.0, 0.1, 1.0, 10.0)]
    runs = [
        minimize(
            cost, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(kernels),
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        for start in begun
    ]  # fmt: skip
    ratios = min(runs, key=lambda one: float(one.fun)).x
    inverse = np.linalg.inv(np.eye(d) + sum(ratio * one for ratio, one in zip(ratios, kernels, strict=True)))
    residual = float(np.sum(inverse * second)) / d
    if 1e-9 * ratios.sum() >= 1:
        raise UserError(ALL, "values")
    return _polished(np.array([*(ratios * residual), residual]), second, [*kernels, np.eye(d)])


def _polished(found: Matrix, second: Matrix, kernels: list[Matrix]) -> Matrix:
    """The last digits, by Fisher scoring on the variances that are not 0."""
    free = np.flatnonzero(found > 1e-9 * found.sum())
    found = np.where(np.isin(np.arange(len(found)), free), found, 0.0)
    for _ in range(STEPS):
        inverse = np.linalg.inv(sum(found[place] * kernels[place] for place in free))
        parts = [inverse @ kernels[place] for place in free]
        rest = inverse @ second
        score = np.array([np.sum(rest.T * part) - np.trace(part) for part in parts])
        information = np.array([[np.sum(one.T * other) for other in parts] for one in parts])
        step = np.linalg.lstsq(information, score, rcond=None)[0]
        moved = found.copy()
        moved[free] = np.maximum(found[free] + step, 0.1 * found[free])
        done = np.abs(moved - found).max() <= 1e-13 * found.sum()
        found = moved
        if done:
            break
    return found
