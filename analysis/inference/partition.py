"""How the variance of RDMs is divided among model RDMs: what each explains alone, and what several explain together."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from orthotrace.analysis.inference.partial import standardised
from orthotrace.analysis.rdm.stacks import Matrix
from orthotrace.core.errors import UserError

# Models: each more doubles the parts.
MOST = 10


@dataclass(frozen=True, eq=False)
class VariancePartition:
    """Parts of the variance of k RDMs.

    Attributes:
        names: of the models.
        shares: models -> the share of the variance that these explain together and no other does, (k,); of one model
            its unique share. All add up to the total. That of several may be below 0, where one model hides what
            disturbs another (suppression).
        total: explained by all models together, R^2, (k,).
    """

    names: tuple[str, ...]
    shares: dict[tuple[str, ...], NDArray[np.float64]]
    total: NDArray[np.float64]

    @property
    def unique(self) -> dict[str, NDArray[np.float64]]:
        """The unique share of each model."""
        return {name: self.shares[(name,)] for name in self.names}


def variance_partition(
    rdms: ArrayLike, model_rdms: ArrayLike, names: Sequence[str] | None = None, method: str = "pearson"
) -> VariancePartition:
    """Divide the variance of RDMs among model RDMs (commonality analysis).

        R^2(A) = sum of the parts of all sets of models that have one of A,  A any set of models

    with R^2(A) of the linear regression on the models of A. It solves for the parts.

    Args:
        rdms: upper triangles, (k, m); or any quantities of pairs or things.
        model_rdms: of one to ten models, (l, m). Entries that are missing (NaN) in an RDM or in any model are left out.
        names: of the models; None for "model 0", "model 1", ...
        method: "pearson", or "spearman", of ranks.

    Raises:
        UserError: as partial; more than ten models; names that are not one of each.

    Source: Nimon, Lewis, Kane & Haynes, Behavior Research Methods 40 (2008) 457.

    Example:
        >>> models = [[0, 0, 0, 1, 1, 1], [1, 2, 4, 2, 3, 4]]
        >>> found = variance_partition([[1, 2, 4, 3, 6, 5]], models, ["kind", "place"])
        >>> {names: float(share[0].round(3)) for names, share in found.shares.items()}
        {('kind',): 0.216, ('place',): 0.381, ('kind', 'place'): 0.25}
        >>> float(found.total[0].round(3))
        0.848
    """
    pairs = standardised(rdms, model_rdms, method, least=1)
    number = len(pairs[0][1])
    if number > MOST:
        raise UserError(f"at most {MOST} models can be divided (got {number})", "model_rdms")
    given = [f"model {place}" for place in range(number)] if names is None else [str(one) for one in names]
    if len(given) != number or len(set(given)) != number:
        raise UserError(f"one name of each of the {number} models is needed, no two the same", "names")
    subsets = [kept for size in range(1, number + 1) for kept in itertools.combinations(range(number), size)]
    explained = np.array([_explained(y, models, subsets) for y, models in pairs])
    total = explained[:, -1]
    of = {kept: explained[:, place] for place, kept in enumerate(subsets)}
    of[()] = np.zeros(len(pairs))
    everything = subsets[-1]
    # What all explain and those outside a set do not is the sum of the parts within the set.
    within = {kept: total - of[tuple(one for one in everything if one not in kept)] for kept in subsets}
    parts: dict[tuple[int, ...], Matrix] = {}
    for kept in subsets:
        smaller = (one for size in range(1, len(kept)) for one in itertools.combinations(kept, size))
        parts[kept] = within[kept] - sum(parts[one] for one in smaller)
    shares = {tuple(given[place] for place in kept): part for kept, part in parts.items()}
    return VariancePartition(tuple(given), shares, total)


def _explained(y: Matrix, models: Matrix, subsets: list[tuple[int, ...]]) -> list[float]:
    """R^2 of the regression on each set of models."""
    basis, triangle = np.linalg.qr(models.T)
    inside = basis.T @ y
    found = []
    for kept in subsets:
        own = np.linalg.qr(triangle[:, kept])[0]
        found.append(min(1.0, float(np.square(own.T @ inside).sum())))
    return found
