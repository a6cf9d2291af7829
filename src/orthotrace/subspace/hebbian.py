"""The principal directions of a stream of inputs, learned by a Hebbian rule (HLOP)."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum
from orthotrace.core.errors import checked
from orthotrace.linalg import orthonormalise, principal, project_out
from orthotrace.subspace.base import CountedSubspace

# Share of the largest response by which rows without a response keep their place: above the rounding of float32,
# below every response that counts.
FILL = 1e-5
# Of the largest variance, in units of the type's precision: below it a variance is rounding.
PRECISION = 8
# Of all energy: a shortfall that is worth a warning.
SHORT = 1e-3
# Steps below which the rows have not found all of their variance.
FEW = 10


class HebbianSubspace(CountedSubspace):
    """Learns lateral weights H, whose rows become the principal directions of what the rows held leave over.

    With x the input outside the rows held and y = H x the responses, every ``interval`` batches

        S <- momentum S + (1 - momentum) E[y x^T]      the Hebbian trace
        H <- orthonormal(S),   S <- (H_new H_old^T) S  the trace follows the rows

    The published rule, H <- H + eta V with V a momentum of the clamped E[y x^T] - E[y y^T] H, has a fixed step: it
    must match the energy of the input (too small it learns nothing, too large it explodes unseen behind the clamp),
    and directions of little variance learn slowly. Taking the momentum of the Hebbian term itself and normalising
    the rows replaces the step, so the rule is free of scale: multiplying the input leaves H as it is. Without noise
    it is the orthogonal iteration, H <- orthonormal(H E[x x^T]).

    With a ``step`` the published rule is used instead, in units of the largest response p of a row, so that it is
    free of scale too, and with rows orthonormal again after each step, so that H^T H stays a projector:

        V <- momentum V + (1 - momentum) (E[y x^T] - E[y y^T] H),   H <- orthonormal(H + step / p V)

    Under an energy, ``max_rows`` rows learn, and consolidate keeps the least number that reaches it: the singular
    values of S are the variances along its directions.

    Args:
        features, energy, growth, rows, hold, dtype: as for CountedSubspace.
        step: of the published rule, above 0; None for the trace.
        momentum: what the trace, or V, keeps at a step, in [0, 1).
        iterations: times that each batch is learned from, at least 1; beyond 1 each is a step, whatever the interval.
        interval: batches for one step, at least 1. The first ``interval`` batches are a step each.
        max_rows: rows that learn under an energy, at least 1.
        levels: of lateral neurons that spike: responses are rounded to multiples of the largest of a batch over so
            many, at least 1; None for real-valued responses.
        seed: of the first rows.

    Source: Xiao et al., Hebbian Learning based Orthogonal Projection, ICLR 2024, eq. 4 and 5; the trace in the
    manner of Yang, Hsieh & Wang, History PCA, 2018.

    Example:
        >>> subspace = HebbianSubspace(3, rows=1)
        >>> subspace.begin()
        >>> for _ in range(20):
        ...     subspace.observe(torch.diag(torch.tensor([3.0, 1.0, 0.1])))
        >>> subspace.consolidate()
        >>> bool(subspace.basis[0, 0].abs() > 0.999)
        True
    """

    learning: Tensor
    correlation: Tensor
    trace: Tensor
    energies: Tensor
    traced_energies: Tensor
    begun: Tensor
    seen: Tensor
    batches: Tensor
    steps: Tensor
    refined: Tensor

    @checked
    def __init__(
        self,
        features: int,
        *,
        step: Annotated[float, Field(gt=0)] | None = None,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        iterations: Annotated[int, Field(ge=1)] = 1,
        interval: Annotated[int, Field(ge=1)] = 5,
        max_rows: Annotated[int, Field(ge=1)] = 100,
        levels: Annotated[int, Field(ge=1)] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(features, **options)
        self.step = step
        self.momentum = momentum
        self.iterations = iterations
        self.interval = interval
        self.max_rows = max_rows
        self.levels = levels
        self.seed = seed
        # Whether a task was begun; rows and batches since the last step; steps since the task's start; in a closing
        # pass, what it averages.
        for name in ("begun", "seen", "batches", "steps", "refined"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        # Energy of the rows, and of what the rows held leave over; since the last step, and traced.
        for name in ("energies", "traced_energies"):
            self.register_buffer(name, torch.zeros(2, dtype=torch.float64))
        for name in ("learning", "correlation", "trace", "velocity"):
            self.register_buffer(name, self.basis[:0].clone())

    def begin(self) -> None:
        """Start a task with orthonormal random rows outside the rows held, never more than there are directions."""
        wanted = self.wanted()
        count = min(self.max_rows, self.free) if wanted is None else wanted
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * int(self.tasks))
        rows = torch.randn(count, self.features, generator=generator, dtype=torch.float64).to(self.basis)
        self.learning = orthonormalise(rows, self.basis)
        self.correlation = torch.zeros_like(rows)
        self.trace = torch.zeros_like(rows)
        self.velocity = torch.zeros_like(rows if self.step is not None else rows[:0])
        for name in ("seen", "batches", "steps", "refined", "energies", "traced_energies"):
            getattr(self, name).zero_()
        self.begun.fill_(1)

    def observe(self, rows: Tensor) -> None:
        """Learn from a batch of inputs, shape (n, features); older batches are forgotten with the momentum.

        The first batch of a task begins it, where nothing has.
        """
        for _ in range(self.iterations):
            self._see(rows)
            if self.iterations > 1 or int(self.batches) >= (self.interval if int(self.steps) >= self.interval else 1):
                self._learn(1 - self.momentum)

    def refine(self, rows: Tensor) -> None:
        """Learn from a batch of a closing pass, shape (n, features): the pass is averaged, nothing is forgotten."""
        if not int(self.refined):
            self._rest()
            self.refined += 1
        self._see(rows)
        if int(self.batches) >= self.interval:
            self._rest()

    def _rest(self) -> None:
        """Learn from what was seen since the last step."""
        if not int(self.batches):
            return
        if int(self.refined):
            self.refined += 1
            self._learn(1 / int(self.refined))
        else:
            self._learn(1 - self.momentum)

    def _see(self, rows: Tensor) -> None:
        # In every step, where there is mostly nothing to change.
        if rows.requires_grad or rows.dtype != self.basis.dtype or rows.shape[1:] != self.basis.shape[1:]:
            rows = self.taken(rows)
        if not int(self.begun):
            self.begin()
        if not len(rows):
            return
        # The learning rows lie outside the rows held, so they answer to what those leave over: H x = H (x - M^T M x).
        responses = rows @ self.learning.T
        if self.levels is not None:
            responses = rounded(responses, self.levels)
        self.correlation.addmm_(responses.T, rows)
        # One batch in its own type, the sum over batches in float64.
        flat = rows.flatten()
        energy = torch.dot(flat, flat).double()
        if self.rows is None:
            # By Pythagoras.
            left = energy - (rows @ self.basis.T).square().sum(dtype=torch.float64)
            self.energies += torch.stack([energy, left.clamp_min(0)])
        else:
            self.energies += energy
        self.seen += len(rows)
        self.batches += 1

    def _learn(self, weight: float) -> None:
        weight = weight if int(self.steps) else 1.0
        all_reduce_sum(self.correlation, self.energies, self.seen)
        if int(self.steps) and not float(self.energies[0]):
            # Inputs that are all zero say nothing: what was learned stays.
            for buffer in (self.correlation, self.energies, self.seen, self.batches):
                buffer.zero_()
            return
        latest = self.correlation / self.seen
        self.trace.lerp_(latest, weight)
        self.traced_energies.lerp_(self.energies / self.seen, weight)
        for buffer in (self.correlation, self.energies, self.seen, self.batches):
            buffer.zero_()
        self.steps += 1
        if not (self.trace.isfinite().all() and self.traced_energies.isfinite().all()):
            raise ValueError(
                "the inputs observed, or their squares, are not finite; lower the learning rate, or strengths and noise"
            )
        if not len(self.learning):
            return
        moved = self._moved(latest, weight)
        if len(self.basis):
            moved = moved - (moved @ self.basis.T) @ self.basis
        learned = torch.linalg.qr(moved.T).Q.T.contiguous()
        turned = learned @ self.learning.T
        self.trace = turned @ self.trace
        if self.step is not None:
            self.velocity = turned @ self.velocity
        self.learning = learned

    def _moved(self, latest: Tensor, weight: float) -> Tensor:
        """What the rows become, before they are orthonormal again."""
        largest = self.trace.norm(dim=1).amax()
        if not torch.isfinite(largest):
            # Squares beyond the range of the type.
            largest = self.trace.double().norm(dim=1).amax().to(self.trace)
        rounding = torch.finfo(self.trace.dtype).eps * self.traced_energies[0].to(self.trace)
        if self.step is None:
            # Where the inputs span fewer directions than rows learn, the rows left over stay as they were: a
            # factorisation alone would fill them with anything, rows held among it.
            stay = FILL * largest + rounding
            # Without any response they all stay.
            return self.trace + torch.where(stay > 0, stay, 1) * self.learning
        # E[y y^T] = E[y x^T] H^T; the trace is the running mean of E[y x^T].
        self.velocity.lerp_(latest - (latest @ self.learning.T) @ self.learning, weight)
        response = (self.trace * self.learning).sum(1).amax()
        unit = response + rounding
        return self.learning + self.step / torch.where(unit > 0, unit, 1) * self.velocity

    def consolidate(self) -> None:
        """Hold what was learned: all rows of a fixed number, or as many as reach the energy.

        Raises:
            ValueError: nothing was observed.
        """
        self._rest()
        if not int(self.steps):
            raise ValueError("no rows were observed in this task")
        new = self._principal(int(self.steps))
        if len(new):
            new = orthonormalise(new, self.basis.double())
            self.basis = torch.cat([self.basis, new.to(self.basis)])
        for name in ("learning", "correlation", "trace", "velocity"):
            setattr(self, name, self.basis[:0].clone())
        self.begun.zero_()
        self.steps.zero_()
        self.tasks += 1

    def _principal(self, steps: int) -> Tensor:
        """The principal directions of the trace, largest first, as many as are to be held."""
        squares, directions = principal(project_out(self.trace.double(), self.basis.double()))
        energies = squares.sqrt()
        total, left = self.traced_energies.tolist()
        # A direction below the precision of the trace is not one of the data: there are none left.
        precision = PRECISION * torch.finfo(self.trace.dtype).eps
        floor = max(float(energies[0]) * precision, self.rounding(total)) if len(energies) else 0.0
        answered = int((energies > floor).sum())
        if self.rows is not None:
            return directions[:answered]
        # What no row has learned is energy too: one more, last direction.
        energies = energies[:answered]
        unlearned = max(left - float(energies.sum()), 0.0)
        count = self.enough(energies, total, unlearned)
        if self.plasticity is not None:
            if count == len(self.learning) and self.max_rows < self.free:
                warnings.warn(
                    f"{self.label}all {count} rows of max_rows are used: the optimum may be more", stacklevel=2
                )
        elif count > answered and self.max_rows < self.free:
            reached = f"energy {1 - unlearned / total:.3f} of {self.share:.3g} reached"
            if steps < FEW:
                reached += (
                    f" in {steps} training steps, which see less than there is: take more epochs or smaller batches"
                )
            if answered == len(self.learning):
                warnings.warn(f"{self.label}all {self.max_rows} rows of max_rows are used: {reached}", stacklevel=2)
            elif unlearned > (1 - self.share + SHORT) * total:
                warnings.warn(
                    f"{self.label}only {answered} of {len(self.learning)} rows found what they could tell from "
                    f"rounding: {reached}",
                    stacklevel=2,
                )
        return directions[: min(count, answered)]


def rounded(responses: Tensor, levels: int) -> Tensor:
    """Responses as counts of spikes, of either sign: multiples of the largest over so many levels.

    Source: Xiao et al., ICLR 2024, whose neurons have the range +-20 and 1000 or 40 levels; here the range is that of
    the responses, so that the rule stays free of scale.

    Example:
        >>> rounded(torch.tensor([1.0, -0.3, 0.2]), 4).tolist()
        [1.0, -0.25, 0.25]
    """
    if not responses.numel():
        return responses
    step = responses.abs().amax() / levels
    return torch.where(step > 0, (responses / step).round() * step, 0)
