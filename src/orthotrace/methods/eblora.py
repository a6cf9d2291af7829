"""Adapters with orthonormal factors within the free directions (EBLoRA)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from orthotrace.core.errors import checked
from orthotrace.layers.lora import Adapter
from orthotrace.linalg import orthonormalise, polar
from orthotrace.methods.adapters import AdapterMethod
from orthotrace.methods.base import after_steps
from orthotrace.methods.context import TaskContext
from orthotrace.methods.inflora import random_free
from orthotrace.subspace import SvdSubspace


class EBLoRA(AdapterMethod):
    """Trains both factors on the Stiefel manifold, A within the free directions, and one size for all of a weight.

    dW = s m B A with B^T B = I, A A^T = I and A M^T = 0, M the rows held: all singular values of the update are alike,
    so that no component outweighs the others. Gradients are made tangent, G <- G - X G^T X for a factor X (of A after
    the rows held are taken out); what the optimizer applied is made tangent too, and the factor is the polar one of the
    sum, Y (Y^T Y)^(-1/2). The paper also scales the steps by the width of a layer; that is left out.

    Args:
        start: m when a task begins, in [-1, 1] (paper: -.005).
        **options: as for AdapterMethod.

    Source: Gu et al., Spectral Imbalance Causes Forgetting in Low-Rank Continual Adaptation, ICML 2026, and its code.
    """

    trained = ("up", "down", "size")

    @checked
    def __init__(self, start: Annotated[float, Field(ge=-1, le=1)] = 0.005, **options: Any) -> None:
        super().__init__(**options)
        self.start = start
        # Of each adapter its factors after the last step, columns orthonormal.
        self._last: list[tuple[Tensor, Tensor]] = []

    def design(self, adapter: Adapter, space: SvdSubspace, rows: Tensor, draw: torch.Generator) -> None:
        """Random orthonormal factors, of A within the free directions."""
        up, down, size = adapter.low_rank.up, adapter.low_rank.down, adapter.low_rank.size
        columns = torch.randn(up.shape[1], len(up), dtype=torch.float64, generator=draw).to(space.basis.device)
        with torch.no_grad():
            up.copy_(orthonormalise(columns).T)
            down.copy_(random_free(space, len(down), draw))
            size.fill_(self.start)

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """The factors are put back onto the manifold after every step."""
        self._note()
        detach, stop = super().attach(optimizers), after_steps(optimizers, self._retract)

        def both() -> None:
            stop()
            detach()

        return both

    def on_step(self, context: TaskContext) -> None:
        """Make the gradients tangent."""
        for adapter, space in self.pairs:
            up, down = adapter.low_rank.up, adapter.low_rank.down
            if up.grad is not None and down.grad is not None:
                up.grad.copy_(tangent(up.detach(), up.grad))
                down.grad.copy_(tangent(down.detach().T, space.project(down.grad).T).T)

    @torch.no_grad()
    def weights_written(self) -> None:
        """An average of orthonormal factors is none: those nearest to it take its place."""
        for adapter, space in self.pairs:
            factors = adapter.low_rank
            factors.up.copy_(polar(factors.up.T).T)
            factors.down.copy_(polar(space.project(factors.down)))
        self._note()

    @torch.no_grad()
    def _retract(self) -> None:
        for (adapter, space), (up, down) in zip(self.pairs, self._last, strict=True):
            factors = adapter.low_rank
            step = tangent(up, factors.up - up)
            factors.up.copy_(polar((up + step).T).T)
            step = tangent(down, factors.down.T - down)
            factors.down.copy_(polar(space.project((down + step).T)))
        self._note()

    def _note(self) -> None:
        self._last = [(one.low_rank.up.detach().clone(), one.low_rank.down.detach().T.clone()) for one in self.adapters]


def tangent(point: Tensor, step: Tensor) -> Tensor:
    """A step made tangent to the Stiefel manifold at a point, G - X G^T X.

    Args:
        point: X with orthonormal columns, (n, k).
        step: G, (n, k).

    Example:
        >>> x = torch.eye(3)[:, :2]
        >>> step = tangent(x, torch.arange(6.0).reshape(3, 2))
        >>> (x.T @ step + step.T @ x).abs().max().item()
        0.0
    """
    return step - point @ (step.T @ point)
