"""Whether the RDMs of several subjects or networks agree better than chance: their noise ceiling against zero."""

import numpy as np
from numpy.typing import ArrayLike

from orthotrace.analysis.inference.ceilings import ceiling
from orthotrace.analysis.rdm.arguments import generator, whole
from orthotrace.analysis.rdm.stacks import of_shared_stimuli, stacks
from orthotrace.analysis.rdm.triangles import places_of
from orthotrace.core.errors import UserError

# Equal values differ by their rounding.
ROUNDING = 1e-12


def ceiling_test(
    rdms: ArrayLike, method: str = "pearson", permutations: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Whether the lower bound of the noise ceiling is above 0, that of RDMs that have nothing in common.

        p = (1 + permutations with a lower bound at least as high) / (1 + permutations)

    The stimuli of each RDM are permuted on their own, so that nothing that RDMs have in common is left but the
    distribution of their entries. A t-test over subjects would take their scores for independent: each is in the mean
    that the others are compared with.

    Args:
        rdms: upper triangles, (k, m), k >= 2, of four stimuli or more. Stimuli that are missing (NaN) in one are left
            out of all.
        method: as for ceiling.
        permutations: drawn at random, at least 1.
        seed: of the draws.

    Returns:
        The lower bound, and p, one-sided.

    Raises:
        UserError: as ceiling; fewer than four stimuli; single entries that are missing.

    Source: Nili et al., PLoS Computational Biology 10:e1003553 (2014), for the ceiling; Mantel, Cancer Research 27
    (1967) 209, for the permutation of stimuli.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shared = rng.random(45)
        >>> lower, p = ceiling_test(shared + 0.5 * rng.random((5, 45)), permutations=99)
        >>> round(lower, 2), p
        (0.87, 0.01)
    """
    whole(permutations, "permutations", 1, "at least one permutation is needed")
    stack, n = of_shared_stimuli(stacks(rdms, None)[0])
    if np.isnan(stack).any():
        raise UserError("whole RDMs are needed, single entries are missing (NaN): leave out stimuli")
    if n < 4:
        raise UserError(f"at least four stimuli are needed to permute them (got {n})")
    lower = ceiling(stack, method).lower
    rng = generator(seed)
    rows, columns = np.triu_indices(n, 1)
    higher = 0
    for _ in range(permutations):
        # One may keep its order: what counts is how they lie to each other.
        orders = [np.arange(n), *(rng.permutation(n) for _ in stack[1:])]
        moved = [one[places_of(order[rows], order[columns], n)] for one, order in zip(stack, orders, strict=True)]
        higher += ceiling(np.stack(moved), method).lower >= lower - ROUNDING
    return lower, (1 + higher) / (1 + permutations)
