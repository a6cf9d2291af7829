"""Associative memories: Hopfield networks of binary units, and their continuous form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked

Rule = Literal["hebbian", "projection", "storkey"]
# Of a pattern's length: what is left of it below that share is rounding, and the pattern is known already.
KNOWN = 1e-8


class Hopfield(nn.Module):
    """A Hopfield network: patterns x of -1 and 1, stored one after another, are recalled from parts of them.

    s_i <- sign(sum_{j != i} W_ij s_j), with W after each new pattern

        hebbian     W + x x^T / N
        projection  W + r r^T / (r^T r), r = x - W x, so that W projects onto the patterns: W x = x for all of them
        storkey     W_ij + (x_i x_j - x_i h_ji - h_ij x_j) / N, h_ij = sum_{k != i, j} W_ik x_k

    Random patterns are recalled up to some .138 N (hebbian), N (projection). I - W of the projection rule is the
    projector of OWM as alpha tends to 0: what OWM leaves free is what is new about a pattern. By this rule nothing is
    stored of a pattern that is known already.

    Args:
        units: N.
        rule: how patterns are stored.
        dtype: of the weights; close to N patterns the projection rule needs float64.

    Raises:
        UserError: patterns of another length, or of other values than -1 and 1.

    Attributes:
        weight: W, (N, N), its diagonal included, which recall leaves out.

    Source: Hopfield, PNAS 1982; Amit, Gutfreund & Sompolinsky, Phys. Rev. Lett. 1985, for .138; Personnaz, Guyon &
    Dreyfus, J. Physique Lett. 1985, for the projection rule; Storkey, ICANN 1997.

    Example:
        >>> memory = Hopfield(4)
        >>> memory.store(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
        >>> memory(torch.tensor([[1.0, 1.0, -1.0, 1.0]]))
        tensor([[ 1.,  1., -1., -1.]], dtype=torch.float64)
    """

    weight: Tensor

    @checked
    def __init__(
        self, units: Annotated[int, Field(ge=2)], rule: Rule = "projection", dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        self.units = units
        self.rule: Rule = rule
        self.register_buffer("weight", torch.zeros(units, units, dtype=dtype))

    @torch.no_grad()
    def store(self, patterns: Tensor) -> None:
        """Store patterns, (p, N), one after another."""
        patterns = self._taken(patterns)
        if self.rule == "hebbian":
            self.weight.addmm_(patterns.T, patterns, alpha=1 / self.units)
        elif self.rule == "projection":
            self._project(patterns)
        else:
            for pattern in patterns:
                self._correct(pattern)

    def _project(self, patterns: Tensor) -> None:
        """All at once: the projector onto a span is the same in whichever order it grew."""
        new = patterns - patterns @ self.weight
        # Twice is enough for what rounding leaves of what is known.
        new -= new @ self.weight
        _, sizes, directions = torch.linalg.svd(new, full_matrices=False)
        new = directions[sizes > KNOWN * self.units**0.5]
        self.weight.addmm_(new.T, new)

    def _correct(self, pattern: Tensor) -> None:
        field = self.weight @ pattern
        # Of what reaches i the part that comes from neither i nor j; the diagonal is 0.
        without = field[:, None] - self.weight * pattern
        towards = without * pattern
        self.weight += (torch.outer(pattern, pattern) - towards - towards.T) / self.units
        self.weight.fill_diagonal_(0)

    @torch.no_grad()
    def forward(self, states: Tensor, sweeps: int = 50, together: bool = False, seed: int = 0) -> Tensor:
        """What states (n, N) of -1 and 1 come to: until no unit changes, or after so many sweeps over all units.

        Args:
            states: of the units, at first.
            sweeps: at most.
            together: update all units at once, which may end in a cycle of two states; else one after another, in an
                order drawn anew for each sweep.
            seed: of the orders.
        """
        states = self._taken(states).clone()
        couplings = self.weight.clone().fill_diagonal_(0)
        order = torch.Generator().manual_seed(seed)
        for _ in range(sweeps):
            before = states.clone()
            fields = states @ couplings
            if together:
                states = torch.where(fields == 0, states, fields.sign())
            else:
                for unit in torch.randperm(self.units, generator=order).tolist():
                    field = fields[:, unit]
                    change = torch.where(field * states[:, unit] < 0, -2 * states[:, unit], 0)
                    if change.any():
                        states[:, unit] += change
                        fields.addr_(change, couplings[unit])
            if torch.equal(states, before):
                break
        return states

    def _taken(self, patterns: Tensor) -> Tensor:
        if patterns.ndim != 2 or patterns.shape[1] != self.units:
            raise UserError(
                f"patterns (n, {self.units}) are needed (got the shape {tuple(patterns.shape)})", "patterns"
            )
        patterns = patterns.to(self.weight)
        if not bool((patterns.abs() == 1).all()):
            raise UserError("patterns of -1 and 1 are needed, such as the signs of numbers, x.sign()", "patterns")
        return patterns


class ModernHopfield(nn.Module):
    """The continuous Hopfield network: xi <- X^T softmax(beta X xi), with the stored patterns X as rows.

    One step is attention with the state as query and the patterns as keys and values. It minimises the energy

        E = -log sum_m exp(beta x_m . xi) / beta + |xi|^2 / 2,

    and stores exponentially many patterns, since all of them are kept.

    Args:
        features: of a pattern.
        beta: inverse temperature, above 0; None for 1 / sqrt(features), as in attention.

    Raises:
        UserError: patterns of another length; nothing was stored.

    Source: Ramsauer et al., Hopfield Networks is All You Need, ICLR 2021, eq. 2 and 3.

    Example:
        >>> memory = ModernHopfield(2, beta=20.0)
        >>> memory.store(torch.eye(2))
        >>> memory(torch.tensor([[0.9, 0.2]])).round(decimals=3)
        tensor([[1., 0.]])
    """

    patterns: Tensor

    @checked
    def __init__(
        self, features: Annotated[int, Field(ge=1)], beta: Annotated[float, Field(gt=0)] | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.beta = features**-0.5 if beta is None else beta
        self.register_buffer("patterns", torch.zeros(0, features))

    def store(self, patterns: Tensor) -> None:
        """Store patterns, (p, features)."""
        self.patterns = torch.cat([self.patterns.to(patterns), self._taken(patterns).detach()])

    def forward(self, states: Tensor, steps: int = 1) -> Tensor:
        """States (n, features) after so many steps."""
        if not len(self.patterns):
            raise UserError("nothing was stored yet", "patterns")
        for _ in range(steps):
            states = (self.beta * self._taken(states) @ self.patterns.T).softmax(1) @ self.patterns
        return states

    def energy(self, states: Tensor) -> Tensor:
        """E of each state, (n,)."""
        found = (self.beta * self._taken(states) @ self.patterns.T).logsumexp(1) / self.beta
        return states.square().sum(1) / 2 - found

    def _taken(self, patterns: Tensor) -> Tensor:
        if patterns.ndim != 2 or patterns.shape[1] != self.features:
            raise UserError(
                f"patterns (n, {self.features}) are needed (got the shape {tuple(patterns.shape)})", "patterns"
            )
        return patterns

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # As many as were stored.
        if (saved := state_dict.get(f"{prefix}patterns")) is not None:
            self.patterns = torch.zeros_like(saved)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
