"""Spiking neurons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.firing import Surrogate, fire, number, rate_spikes, surrogate_spikes
from orthotrace.layers.steps import current_step

Learning = Literal["dsr", "bptt", "ottt"]
Trained = Literal["threshold", "decay"]
Threshold = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(gt=0, le=1)]
# What a trained threshold, or decay, does not fall below.
LEAST = 5e-4
# Thresholds and decays that suit each way of learning. Under DSR a spike is as high as the threshold, so that a layer
# is a ReLU that is clipped there: the paper's threshold .3 over its time step .05, and its leak exp(-.05).
THRESHOLDS: dict[Learning, float] = {"dsr": 6.0, "bptt": 1.0, "ottt": 1.0}
DECAYS: dict[Learning, float] = {"dsr": math.exp(-0.05), "bptt": 0.5, "ottt": 0.5}
# Under DSR a neuron fires from this share of its threshold on.
FIRES = 0.3


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons, over all steps of time at once.

        u[t] = decay u[t-1] + x[t],   s[t] = 1 where u[t] >= threshold,   u[t] <- u[t] - threshold s[t]

    The reset subtracts, within the step. How errors go back through the spikes is the learning:

    "bptt": through all steps, with a surrogate slope, and not through the reset. "ottt": the same, within a step: see
    spiking, which runs its network step by step. "dsr": the weighted rate is differentiated, see rate_spikes; a neuron
    fires from .3 threshold on, and a spike is as high as the threshold.

    Args:
        steps: of time, at least 1.
        learning: of the three.
        threshold: above 0; None for 6 under dsr, else 1.
        decay: in (0, 1]; None for exp(-.05) under dsr, else .5.
        surrogate: "sigmoid", of sharpness 4, or "atan", 1 / (1 + (pi u)^2).
        trained: what is trained beside the weights: "threshold", and under bptt "decay"; None for the threshold under
            dsr. Methods that protect freeze it after the first task.
        repeats: each input is the current of all steps: of n inputs steps * n spikes are made.

    Raises:
        UserError: a value out of its range.

    Sources: Neftci, Mostafa & Zenke 2019 (bptt); Meng et al., CVPR 2022 (dsr); Xiao et al., NeurIPS 2022 (ottt).

    Example:
        >>> LIF(steps=3, decay=0.5)(torch.full((3, 1), 0.6)).flatten().tolist()
        [0.0, 0.0, 1.0]
    """

    # What is trained of it drifts as the affine of a normalisation does.
    drifts = True

    @checked
    def __init__(
        self,
        steps: Annotated[int, Field(ge=1)],
        learning: Learning = "bptt",
        threshold: Threshold | None = None,
        decay: Decay | None = None,
        surrogate: Surrogate = "sigmoid",
        trained: Sequence[Trained] | None = None,
        repeats: bool = False,
    ) -> None:
        super().__init__()
        self.steps = steps
        self.learning: Learning = learning
        self.surrogate: Surrogate = surrogate
        self.repeats = repeats
        chosen = (["threshold"] if learning == "dsr" else []) if trained is None else trained
        if "decay" in chosen and learning != "bptt":
            raise UserError(f"under {learning} the decay is fixed: it can be trained under bptt", "trained")
        # Numbers where they are not trained: a network has then the weights of one that does not spike.
        self.threshold: Any = THRESHOLDS[learning] if threshold is None else threshold
        self.decay: Any = DECAYS[learning] if decay is None else decay
        for name in ("threshold", "decay"):
            if name in chosen:
                value = torch.tensor(float(self.__dict__.pop(name)))
                self.register_parameter(name, nn.Parameter(value))

    def forward(self, currents: Tensor) -> Tensor:
        """Spikes (steps * n, ...), step after step, of currents in the same order, or (n, ...) where they repeat.

        Within a step of a network: (n, ...) of (n, ...).
        """
        if (step := current_step()) is not None:
            spikes, membrane = self.over(currents[None], step.take())
            step.keep(membrane, number(self.decay))
            return spikes[0]
        if self.repeats:
            over_time = currents.expand(self.steps, *currents.shape)
        else:
            over_time = currents.unflatten(0, (self.steps, -1))
        return self.over(over_time)[0].flatten(0, 1)

    def over(self, currents: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spikes over any number of steps, and the state that they leave.

        Args:
            currents: (steps, ...).
            state: membrane that earlier steps have left, (...); None for neurons at rest.

        Returns:
            Spikes (steps, ...), and the membrane, (...).

        Example:
            >>> neurons, x = LIF(steps=4, decay=0.5), torch.rand(4, 2, 3)
            >>> first, state = neurons.over(x[:2])
            >>> torch.equal(torch.cat([first, neurons.over(x[2:], state)[0]]), neurons.over(x)[0])
            True
        """
        threshold, decay = self._limited(self.threshold, math.inf), self._limited(self.decay, 1.0)
        if not torch.is_grad_enabled():
            level, dsr = number(threshold), self.learning == "dsr"
            least, height = (FIRES * level, level) if dsr else (level, 1.0)
            return fire(currents, state, level, number(decay), least, height, keep=False)[:2]
        if self.learning == "dsr":
            if state is not None:
                raise UserError("a rate is one of all steps: under dsr there is no state to go on from", "state")
            return rate_spikes(currents, threshold, decay, FIRES)
        return surrogate_spikes(currents, state, threshold, decay, self.surrogate)

    @staticmethod
    def _limited(value: Any, most: float) -> Any:
        return value.clamp(LEAST, most) if isinstance(value, Tensor) else value

    def extra_repr(self) -> str:
        """What it is made with."""
        numbers = f"threshold={number(self.threshold):g}, decay={number(self.decay):g}"
        return f"steps={self.steps}, learning={self.learning}, {numbers}"


class IF(LIF):
    """Integrate-and-fire neurons: LIF that forget nothing, decay 1.

    Args:
        steps: of time, at least 1.
        **options: as for LIF.

    Raises:
        UserError: a value out of its range, or a decay.

    Example:
        >>> IF(steps=3)(torch.full((3, 1), 0.6)).flatten().tolist()
        [0.0, 1.0, 0.0]
    """

    def __init__(self, steps: int, **options: Any) -> None:
        if options.pop("decay", None) not in (None, 1) or "decay" in (options.get("trained") or ()):
            raise UserError("IF neurons forget nothing: their decay is 1; take lif", "decay")
        super().__init__(steps, decay=1.0, **options)
