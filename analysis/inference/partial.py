"""What each of several model RDMs says of RDMs that the other models do not: partial and semi-partial correlations."""

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.rdm.stacks import Matrix, as_stack, check_together, moderate
from orthotrace.analysis.rdm.triangles import ranks
from orthotrace.core.errors import UserError, refuse_unknown

METHODS = ("pearson", "spearman")
# Of a model RDM of length 1: below this nothing of it is left beside the others but rounding.
LEAST = 1e-6


def partial(rdms: ArrayLike, model_rdms: ArrayLike, method: str = "pearson") -> Matrix:
    """Partial correlation of RDMs with each model RDM, given all other models.

        r(y, m_j | others) = r(y - y', m_j - m_j'),  ' what the other models predict by linear regression

    Args:
        rdms: upper triangles, (k, m).
        model_rdms: of two models or more, (l, m). Entries that are missing (NaN) in an RDM or in any model are left
            out.
        method: "pearson", or "spearman", of ranks.

    Returns:
        (k, l), in [-1, 1].

    Raises:
        UserError: fewer than two models, too few entries, an RDM or a model without a part of its own, such as one that
            is constant or a sum of other models; names it.

    Source: mne-rsa 1.0, metrics "partial" and "partial-spearman", whose values these are.

    Example:
        >>> rdms, models = [[1, 2, 4, 3, 6, 5]], [[0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3]]
        >>> partial(rdms, models).round(3)
        array([[0.852, 0.818]])
    """
    return _over_models(rdms, model_rdms, method, of_both=True)


def semi_partial(rdms: ArrayLike, model_rdms: ArrayLike, method: str = "pearson") -> Matrix:
    """Semi-partial correlation of RDMs with the part of each model RDM that the other models do not predict.

        r(y, m_j - m_j'),  ' what the other models predict by linear regression

    Its square is the unique share of the model: see variance_partition.

    Args, Returns, Raises: as partial.

    Source: Cohen, Cohen, West & Aiken, Applied Multiple Regression, 3rd ed., section 3.3.

    Example:
        >>> rdms, models = [[1, 2, 4, 3, 6, 5]], [[0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3]]
        >>> semi_partial(rdms, models).round(3)
        array([[0.683, 0.598]])
    """
    return _over_models(rdms, model_rdms, method, of_both=False)


def standardised(rdms: ArrayLike, model_rdms: ArrayLike, method: str, least: int = 2) -> list[tuple[Matrix, Matrix]]:
    """Each RDM (m,) and the models (l, m), centred and of length 1, by the entries that all of them have.

    Raises:
        UserError: as partial.

    Example:
        >>> [(y, models)] = standardised([[1, 2, 4, 1]], [[1, 0, 0, 0], [0, 1, 0, 0]], "pearson")
        >>> y.round(3), models.shape
        (array([-0.408,  0.   ,  0.816, -0.408]), (2, 4))
    """
    refuse_unknown([method], list(METHODS), "there is no comparison", "method")
    check_together(rdms, model_rdms)
    stack, models = moderate(as_stack(rdms)), moderate(as_stack(model_rdms, "model_rdms"))
    if stack.shape[1] != models.shape[1]:
        raise UserError(f"RDMs of one size are needed, got {stack.shape[1]} and {models.shape[1]} entries")
    if len(models) < least:
        raise UserError(f"at least {least} models are needed (got {len(models)})", "model_rdms")
    found = []
    for number, one in enumerate(stack):
        there = ~np.isnan(models).any(axis=0) & ~np.isnan(one)
        if there.sum() < len(models) + 2:
            raise UserError(
                f"RDM {number} and the {len(models)} models share {int(there.sum())} entries: {len(models) + 2} are "
                "needed"
            )
        y, x = one[None, there], models[:, there]
        if method == "spearman":
            y, x = ranks(y), ranks(x)
        found.append((_unit(y, f"RDM {number}")[0], _unit(x, "model RDM")))
        _refuse_sums(found[-1][1])
    return found


def _unit(stack: Matrix, what: str) -> Matrix:
    largest = np.abs(stack).max(axis=1, keepdims=True)
    scaled = stack / np.where(largest > 0, largest, 1)
    centred = scaled - scaled.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    if (size <= 1e-12 * stack.shape[1] ** 0.5).any():
        name = what if len(stack) == 1 else f"{what} {int(np.argmin(size))}"
        raise UserError(f"{name} is constant over the entries that all have: its correlation is undefined")
    return centred / size


def _refuse_sums(models: Matrix) -> None:
    """Refuse a model that the others predict."""
    for number in range(len(models)):
        if np.linalg.norm(_rest(models[number], np.delete(models, number, axis=0))) < LEAST:
            raise UserError(
                f"model {number} is a sum of the other models, or one of them: it has no part of its own", "model_rdms"
            )


def _rest(one: Matrix, others: Matrix) -> Matrix:
    """What is left of a vector (m,) beside others, (l, m)."""
    basis = np.linalg.qr(others.T)[0]
    rest = one - basis @ (basis.T @ one)
    # Twice: what the first step has left of the others by its rounding.
    return rest - basis @ (basis.T @ rest)


def _over_models(rdms: ArrayLike, model_rdms: ArrayLike, method: str, of_both: bool) -> Matrix:
    rows = []
    for number, (y, models) in enumerate(standardised(rdms, model_rdms, method)):
        row = []
        for place in range(len(models)):
            others = np.delete(models, place, axis=0)
            part = _rest(models[place], others)
            mine = _rest(y, others) if of_both else y
            if (size := float(np.linalg.norm(mine))) < LEAST:
                raise UserError(f"RDM {number} is a sum of the models without model {place}: nothing is left of it")
            row.append(float(np.clip(mine @ part / size / np.linalg.norm(part), -1, 1)))
        rows.append(row)
    return np.array(rows)
