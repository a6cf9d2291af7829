"""How many directions to hold, by their energies."""

import torch
from torch import Tensor

from orthotrace.core.errors import UserError

# Of the optimum, where no other is given: for networks that are trained from scratch.
PLASTICITY = 0.3


def none_unused(rows: bool, optimum: bool, growth: float, plasticity: float) -> None:
    """See that no option is given that nothing would heed.

    Args:
        rows: whether the numbers of rows are given.
        optimum: whether the optimum is asked for.
        growth: of the energy, see CountedSubspace.
        plasticity: of the optimum, likewise.

    Raises:
        UserError: a growth beside rows or the optimum; a plasticity other than the default without the optimum.

    Example:
        >>> none_unused(rows=False, optimum=False, growth=0.01, plasticity=PLASTICITY)
        >>> none_unused(rows=True, optimum=False, growth=0.01, plasticity=PLASTICITY)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: growth: is added to the energy, and rows take its place: leave it at 0
    """
    if growth and (rows or optimum):
        taken = "rows take" if rows else "rank takes"
        raise UserError(f"is added to the energy, and {taken} its place: leave it at 0", "growth")
    if plasticity != PLASTICITY and not optimum:
        raise UserError(f"is of the optimum: set rank to optimum, or leave it at {PLASTICITY}", "plasticity")


def least_count(energies: Tensor, total: float, share: float) -> int:
    """The least k for which the energies after the first k are at most (1 - share) of the total.

    Args:
        energies: of the residual's directions, largest first, (r,).
        total: energy of all rows, what earlier directions hold included.
        share: in (0, 1].

    Example:
        >>> least_count(torch.tensor([6.0, 3.0, 1.0]), total=20.0, share=0.9)
        2
    """
    # Few numbers; on a GPU a sum of the first ones is not deterministic.
    energies = energies.cpu()
    after = energies.sum() - torch.cat([energies.new_zeros(1), energies.cumsum(0)])
    # The subtractions leave rounding where nothing is left.
    allowed = (1 - share + 8 * torch.finfo(energies.dtype).eps) * total
    return int((after > allowed).sum())


def optimum_count(energies: Tensor, total: float, tasks: int, plasticity: float, features: int) -> int:
    """The k held that minimises what is forgotten and what cannot be learned, t e(k) - a f(k) / d.

    With e(k) the share of the energy that is left free, f(k) the number of directions left free, of d, and t the tasks
    so far: a direction is held where its share of the energy is above a / (t d).

    Args:
        energies: of the directions that may be held, largest first, (r,).
        total: energy of all rows, what earlier directions hold included; above 0.
        tasks: t, at least 1.
        plasticity: a, above 0; the larger, the fewer are held.
        features: d.

    Source: Qiu et al., SplitLoRA: Balancing Stability and Plasticity in Continual Learning Through Gradient Space
    Splitting, ICLR 2026, where t - 1 are the tasks before the one to come. There a is 20, for adapters of a pretrained
    transformer; networks that are trained from scratch need less, see docs/concepts/projections.md.

    Example:
        >>> optimum_count(torch.tensor([6.0, 3.0, 1.0]), total=10.0, tasks=1, plasticity=1.0, features=5)
        2
    """
    return int((tasks * features * energies > plasticity * total).sum())
