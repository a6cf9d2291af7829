"""The guards of networks that are trained together: what a step takes from all of them, by products of stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.core.precision import full_precision
from orthotrace.protection.guard import Projector
from orthotrace.subspace import HebbianSubspace, SvdSubspace

# Subspaces that take the component in the rows held, and nothing else.
PLAIN = (SvdSubspace, HebbianSubspace)


def check_stackable_guard(guard: Projector) -> None:
    """See whether what a guard does after a step can be done for several at once.

    Raises:
        UserError: it projects gradients, softly, or in another way than by the rows held.
    """
    if guard.rule != "applied":
        raise UserError("networks that are trained together are projected as applied: leave it at applied", "rule")
    if guard.norms.mode != "frozen":
        raise UserError("is the same for all tasks where networks are trained together: take frozen", "normalisation")
    for space in guard.subspaces.values():
        if not space.exact:
            raise UserError("a soft projection is not done for several networks at once: leave it at 1", "hold")
        if type(space) not in PLAIN:
            raise UserError(f"{type(space).__name__} is not projected for several networks at once")
    if guard.taps.used_elsewhere or guard.embeddings:
        raise UserError("a weight is used in other ways than by its layer: train such networks one by one")


@dataclass(frozen=True)
class _Matrix:
    """A matrix of all networks.

    Attributes:
        weight: a view (S, out, features) of the stacked weights.
        before: at the task's start, likewise.
        first, second: what an update is multiplied with, one after the other; None for one product.
    """

    weight: Tensor
    before: Tensor
    first: Tensor
    second: Tensor | None


class StackedProjector:
    """Does after a step what each of several guards would do for its own network.

    W <- W - ((W - W0) M^T) M, for the matrices of all networks by one batched product. Where networks hold different
    numbers of rows, those of M that are left over are zero: a row of zeros takes nothing, so that each network loses
    the component in its own rows, and no more. Biases, and outputs of other tasks, are put back as Projector does.

    Args:
        guards: one of each network, in the order of the stack, all at the same task; their task has begun.
        parameters: of all networks, name -> (S, ...).

    Example:
        >>> from torch import nn
        >>> layers = [nn.Linear(2, 1, bias=False) for _ in range(2)]
        >>> guards = [Projector(layer, SvdSubspace, rows=1) for layer in layers]
        >>> for guard in guards:
        ...     with guard.watching() as inputs:
        ...         _ = guard.layers[""](torch.tensor([[3.0, 0.0]]))
        ...     guard.observe(inputs)
        ...     guard.consolidate()
        ...     guard.begin()
        >>> weights = torch.stack([layer.weight.detach() for layer in layers])
        >>> moved = weights + 1
        >>> StackedProjector(guards, {"weight": moved}).enforce()
        >>> ((moved - weights)[:, 0] > 0.5).tolist()
        [[False, True], [False, True]]
    """

    def __init__(self, guards: Sequence[Projector], parameters: Mapping[str, Tensor]) -> None:
        self._matrices: list[_Matrix] = []
        # Values, and what is put back in their place.
        self._restored: list[tuple[Tensor, Tensor]] = []
        first = guards[0]
        for number, part in enumerate(first.parts):
            prefix = f"{part.name}." if part.name else ""
            spaces = [guard.subspaces[part.label] for guard in guards]
            starts = torch.stack([guard.start(number) for guard in guards])
            weight = parameters[prefix + part.weight_name].detach()[:, part.outputs].flatten(2)
            if any(space.active for space in spaces):
                bases = [space.held() if space.active else space.held()[:0] for space in spaces]
                before = starts[:, :, : part.features].contiguous()
                self._matrices.append(_Matrix(weight, before, *_factors(padded(bases))))
            if part.bias is not None:
                held = torch.tensor([guard.holds_constant(part.label) for guard in guards], device=weight.device)
                bias = parameters[prefix + part.bias_name].detach()[:, part.biases or part.outputs]
                self._restore(bias, starts[:, :: part.repeats, -1], held)
        if first.head is not None and first.outputs is not None:
            self._hold_head(guards, parameters, first.outputs)

    def _restore(self, values: Tensor, before: Tensor, held: Tensor) -> None:
        """Put values (S, ...) back after each step, where those of a network are held."""
        if bool(held.all()):
            self._restored.append((values, before.clone()))
        else:
            # Seldom: of the others nothing was observed but zeros.
            self._restored += [(values[i], before[i].clone()) for i in held.nonzero().flatten().tolist()]

    def _hold_head(self, guards: Sequence[Projector], parameters: Mapping[str, Tensor], active: range) -> None:
        heads = [guard.head for guard in guards if guard.head is not None]
        prefix = f"{guards[0].head_name}." if guards[0].head_name else ""
        weight, starts = parameters[f"{prefix}weight"].detach(), torch.stack([head.start for head in heads])
        bias = parameters.get(f"{prefix}bias")
        width = weight[0, 0].numel()
        for other in (slice(0, active.start), slice(active.stop, None)):
            values = weight[:, other]
            self._restored.append((values, starts[:, other, :width].reshape(values.shape).clone()))
            if bias is not None:
                self._restored.append((bias.detach()[:, other], starts[:, other, -1].clone()))

    @torch.no_grad()
    def enforce(self) -> None:
        """A step was applied to all networks: take back what moved along the rows held."""
        for values, before in self._restored:
            values.copy_(before)
        for one in self._matrices:
            update = one.weight - one.before
            with full_precision(update.device.type):
                if one.second is None:
                    one.weight.baddbmm_(update, one.first, alpha=-1)
                else:
                    one.weight.baddbmm_(update @ one.first, one.second, alpha=-1)


def padded(bases: Sequence[Tensor]) -> Tensor:
    """Rows of several subspaces, each (k, features), as one (S, largest k, features), with zeros for what is left over.

    Example:
        >>> padded([torch.ones(1, 2), torch.ones(2, 2)])[0]
        tensor([[1., 1.],
                [0., 0.]])
    """
    found = bases[0].new_zeros(len(bases), max(map(len, bases)), bases[0].shape[1])
    for number, basis in enumerate(bases):
        found[number, : len(basis)] = basis
    return found


def _factors(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """By which an update is multiplied to give what is taken: two thin products, or one where they are not thin."""
    turned = rows.transpose(1, 2)
    return (turned @ rows, None) if 2 * rows.shape[1] > rows.shape[2] else (turned.contiguous(), rows)
