"""The principal directions of a stream of inputs, learned by a Hebbian rule (HLOP)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated, Any, Self

import torch
from pydantic import Field
from torch import Tensor

from orthotrace.core.distributed import all_reduce_sum, rank_and_world_size
from orthotrace.core.errors import checked
from orthotrace.linalg import orthonormalise, principal, project_out
from orthotrace.subspace.base import CountedSubspace, NoRowsError

# Share of the largest response by which rows without a response keep their place: above the rounding of float32,
# below every response that counts.
FILL = 1e-5
# Of the largest variance, in units of the type's precision: below it a variance is rounding.
PRECISION = 8
# Of all energy: a shortfall that is worth a warning.
SHORT = 1e-3
# Numbers of the rows that wait for a product: those of several small batches.
TOGETHER = 1 << 17
# Steps below which the rows have not found all of their variance.
FEW = 10

# State that is no buffer while it works.
COUNTS = ("begun", "seen", "batches", "steps", "refined")


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
        # pass, what it averages. Counted in Python: a look at a tensor would wait for the device. See COUNTS.
        self.begun = self.seen = self.batches = self.steps = self.refined = 0
        # Of these batches those that are not in the correlation yet.
        self._waiting: list[Tensor] = []
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
        self._forget()
        self.traced_energies.zero_()
        self.steps = self.refined = 0
        self.begun = 1

    def observe(self, rows: Tensor) -> None:
        """Learn from a batch of inputs, shape (n, features); older batches are forgotten with the momentum.

        The first batch of a task begins it, where nothing has. Rows are kept until the next step, and are not to be
        written to.
        """
        for _ in range(self.iterations):
            self._see(rows)
            if self.iterations > 1 or self.batches >= (self.interval if self.steps >= self.interval else 1):
                self._learn(1 - self.momentum)

    def refine(self, rows: Tensor) -> None:
        """Learn from a batch of a closing pass, shape (n, features): the pass is averaged, nothing is forgotten."""
        if not self.refined:
            self._rest()
            self.refined += 1
        self._see(rows)
        if self.batches >= self.interval:
            self._rest()

    def _rest(self) -> None:
        """Learn from what was seen since the last step."""
        if not self.batches:
            return
        if self.refined:
            self.refined += 1
            self._learn(1 / self.refined)
        else:
            self._learn(1 - self.momentum)

    def _see(self, rows: Tensor) -> None:
        # In every step, where there is mostly nothing to change.
        if rows.requires_grad or rows.dtype != self.basis.dtype or rows.shape[1:] != self.basis.shape[1:]:
            rows = self.taken(rows)
        if not self.begun:
            self.begin()
        if not len(rows):
            return
        self.seen += len(rows)
        self.batches += 1
        self._waiting.append(rows)
        if sum(one.numel() for one in self._waiting) >= TOGETHER:
            self._correlate()

    def _correlate(self) -> None:
        """Add what waits to the correlation: small batches by one product."""
        parts, self._waiting = self._waiting, []
        if not parts:
            return
        rows, learning = torch.cat(parts) if len(parts) > 1 else parts[0], self.learning
        # The learning rows lie outside the rows held, so they answer to what those leave over: H x = H (x - M^T M x).
        responses = rows @ learning.T
        if self.levels is not None:
            each = responses.split([len(part) for part in parts])
            responses = torch.cat([rounded(one, self.levels) for one in each])
        self.correlation.addmm_(responses.T, rows)
        # One product in its own type, the sum over them in float64.
        flat = rows.flatten()
        energy = torch.dot(flat, flat).double()
        if self.rows is None:
            # By Pythagoras.
            left = energy - (rows @ self.basis.T).square().sum(dtype=torch.float64)
            self.energies += torch.stack([energy, left.clamp_min(0)])
        else:
            self.energies += energy

    def _forget(self) -> None:
        """Begin anew to see."""
        self.correlation.zero_()
        self.energies.zero_()
        self.seen = self.batches = 0
        self._waiting = []

    def _learn(self, weight: float) -> None:
        self._correlate()
        weight = weight if self.steps else 1.0
        correlation, energies, count = self.correlation, self.energies, self.seen
        if rank_and_world_size()[1] > 1:
            all_reduce_sum(correlation, energies, every := torch.tensor(count, device=correlation.device))
            count = int(every)
        if self.steps and not float(energies[0]):
            # Inputs that are all zero say nothing: what was learned stays.
            self._forget()
            return
        latest = correlation / count
        trace = self.trace.lerp_(latest, weight)
        traced = self.traced_energies.lerp_(energies / count, weight)
        self._forget()
        self.steps += 1
        # A sum is finite where all its parts are, unless it is too large itself.
        if not (bool(trace.sum().isfinite()) or bool(trace.isfinite().all())) or not bool(traced.isfinite().all()):
            raise ValueError(
                "the inputs observed, or their squares, are not finite; lower the learning rate, or strengths and noise"
            )
        learning, basis = self.learning, self.basis
        if not len(learning):
            return
        moved = self._moved(latest, weight)
        if len(basis):
            moved = torch.addmm(moved, moved @ basis.T, basis, alpha=-1)
        learned = torch.linalg.qr(moved.T).Q.T.contiguous()
        turned = learned @ learning.T
        self.trace = turned @ trace
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
        if not self.steps:
            raise NoRowsError()
        new = self._principal(self.steps)
        if len(new):
            new = orthonormalise(new, self.basis.double())
            self.basis = torch.cat([self.basis, new.to(self.basis)])
        for name in ("learning", "correlation", "trace", "velocity"):
            setattr(self, name, self.basis[:0].clone())
        self.begun = self.steps = 0
        self.tasks += 1

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What moves the buffers, or changes their type, moves the rows that wait too."""
        super()._apply(fn, recurse)
        self._waiting = [fn(rows) for rows in self._waiting]
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Counts and rows that wait are state too."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in COUNTS:
            destination[prefix + name] = torch.tensor(getattr(self, name), device=self.basis.device)
        if self._waiting:
            destination[prefix + "waiting"] = torch.cat(self._waiting)
            destination[prefix + "sizes"] = torch.tensor([len(rows) for rows in self._waiting])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Taken out: what is left over in it would be refused as not known.
        for name in COUNTS:
            if (saved := state_dict.pop(prefix + name, None)) is not None:
                setattr(self, name, int(saved))
        waiting, sizes = (state_dict.pop(prefix + name, None) for name in ("waiting", "sizes"))
        parts = () if waiting is None else waiting.to(self.basis).split(sizes.tolist())
        self._waiting = list(parts)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

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
