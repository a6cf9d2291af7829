"""Regularization of training: everything that keeps a network from fitting its task too closely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import dropout
from torch.optim import Optimizer

from orthotrace.core.errors import UserError, checked
from orthotrace.data.active_outputs import Bootstrap
from orthotrace.data.augment import noisy
from orthotrace.layers.nonlinearities import is_nonlinearity
from orthotrace.layers.whitening import Whitening
from orthotrace.methods.base import after_steps
from orthotrace.protection.products import has_inputs_first


@checked
@dataclass(eq=False)
class Regularizer:
    """Any of these, together; each is off at its default.

    "Weights" are parameters of at least two dimensions: biases and normalisation are left alone.

    Args:
        l1, l2: l1 sum |w| + l2 / 2 sum w^2 is added to the loss, by its gradient (elastic net where both are given).
        max_norm: after each step the incoming weights of a unit are scaled to at most this Euclidean norm; of a layer
            whose weight has its inputs first, such as a transposed convolution, they are those of each of its outputs.
        dropout: probability that an output of a nonlinearity is zeroed, the others scaled up.
        dropconnect: probability that a weight is zeroed for a batch, the others scaled up.
        input_noise: standard deviation of Gaussian noise on the inputs, in their units.
        label_smoothing: share of the label spread over the outputs that count.
        bootstrap: for labels that may be wrong, targets that are partly the network's own answers over the outputs
            that count: "soft" its probabilities, "hard" its likeliest class; None for the labels alone. See
            bootstrapped.
        bootstrap_beta: the share of the label in them, in [0, 1]; None for .95 where soft and .8 where hard.
        average: decay of an average of the weights over the steps of a task, in [0, 1): it is what is tested, and
            what the next task starts from; see Average. None for the weights themselves.
        early_stopping: epochs without a better validation score after which a task ends; None for never. The next
            task has all its epochs again.
        restore_best: whether a task ends with the weights of its best validation score, in place of the last ones.
        monitor: the validation score: "loss" or "accuracy".

    Raises:
        UserError: a value out of its range; bootstrap_beta without bootstrap.

    Sources: Srivastava et al., JMLR 2014 (dropout, max-norm); Wan et al., ICML 2013 (DropConnect); Szegedy et al.,
    CVPR 2016 (label smoothing); Reed et al., ICLR 2015 workshop (bootstrap); Zou & Hastie, JRSS B 2005 (elastic net).
    """

    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    max_norm: Annotated[float, Field(gt=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropconnect: Annotated[float, Field(ge=0, lt=1)] = 0.0
    input_noise: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bootstrap: Bootstrap | None = None
    bootstrap_beta: Annotated[float, Field(ge=0, le=1)] | None = None
    average: Annotated[float, Field(ge=0, lt=1)] | None = None
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    restore_best: bool = False
    monitor: Literal["loss", "accuracy"] = "loss"

    def __post_init__(self) -> None:
        if self.bootstrap_beta is not None and self.bootstrap is None:
            raise UserError(
                "is the share of the label in bootstrapped targets: set regularizer.bootstrap=soft or hard too",
                "bootstrap_beta",
            )
        self._weights: dict[str, nn.Parameter] = {}
        # Of each weight the dimension of its outputs, and the blocks in which they are.
        self._outputs: dict[str, tuple[int, int]] = {}
        self._model: nn.Module = nn.Identity()

    def setup(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Meet the network; the function returned is the network as it is trained.

        Raises:
            UserError: dropout for a network without nonlinearities as modules.
        """
        self._model = model
        # The parameters of a rotation are no weights: they have no size to be small.
        turning = {id(v) for layer in model.modules() if isinstance(layer, Whitening) for v in layer.parameters()}
        self._weights = {
            name: value
            for name, value in model.named_parameters()
            if value.requires_grad and value.ndim >= 2 and id(value) not in turning
        }
        first = {id(layer.weight): getattr(layer, "groups", 1) for layer in model.modules() if has_inputs_first(layer)}
        self._outputs = {
            name: (1, first[id(value)]) if id(value) in first else (0, 1) for name, value in self._weights.items()
        }
        if self.dropout:
            layers = [module for module in model.modules() if is_nonlinearity(module)]
            if not layers:
                raise UserError("the model has no nonlinearity as a module of its own, whose outputs drop", "dropout")
            for layer in layers:
                layer.register_forward_hook(self._drop)
        return self._forward if self.dropconnect or self.input_noise else model

    def _drop(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return dropout(output, self.dropout, training=True) if module.training else output

    def _forward(self, inputs: Tensor) -> Tensor:
        if self.input_noise:
            inputs = noisy(inputs.clone(), self.input_noise)
        if not self.dropconnect:
            return self._model(inputs)
        return functional_call(self._model, dropped(self._weights, self.dropconnect), (inputs,))

    @property
    def is_linear(self) -> bool:
        """Whether it leaves steps as linear in the gradients as they are: it reads and writes no weight."""
        return not (self.penalises or self.max_norm)

    @property
    def penalises(self) -> bool:
        """Whether a penalty is added to the loss."""
        return bool(self.l1 or self.l2)

    @torch.no_grad()
    def on_gradients(self) -> None:
        """Add the gradients of the penalties, before clipping and the optimizer."""
        for value in self._weights.values():
            if value.grad is not None:
                if self.l1:
                    value.grad.add_(value.sign(), alpha=self.l1)
                if self.l2:
                    value.grad.add_(value, alpha=self.l2)

    def attach(self, optimizers: Sequence[Optimizer]) -> Callable[[], None]:
        """Bound the weights after every step; a guard that is attached later has the last word."""
        if self.max_norm is None:
            return lambda: None
        return after_steps(optimizers, self._bound)

    @torch.no_grad()
    def _bound(self) -> None:
        assert self.max_norm is not None
        for name, value in self._weights.items():
            outputs, blocks = self._outputs[name]
            for block in value.chunk(blocks):
                block.copy_(block.renorm(2, outputs, self.max_norm))

    def stops(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a task ends after these epochs.

        Example:
            >>> rows = [{"validation_loss": loss} for loss in (3.0, 2.0, 2.5, 2.1)]
            >>> Regularizer(early_stopping=2).stops(rows), Regularizer(early_stopping=3).stops(rows)
            (True, False)
        """
        if self.early_stopping is None:
            return False
        sign = 1 if self.monitor == "loss" else -1
        values = [sign * row[f"validation_{self.monitor}"] for row in rows]
        return len(values) - 1 - values.index(min(values)) >= self.early_stopping if values else False


def dropped(weights: Mapping[str, Tensor], probability: float) -> dict[str, Tensor]:
    """Weights with some of them zeroed at random and the others scaled up, so that the mean stays.

    Source: Wan et al., Regularization of Neural Networks using DropConnect, ICML 2013.

    Example:
        >>> kept = dropped({"w": torch.ones(1000, 10)}, 0.2)["w"]
        >>> kept.unique().tolist(), round(float(kept.mean()), 1)
        ([0.0, 1.25], 1.0)
    """
    return {name: dropout(value, probability, training=True) for name, value in weights.items()}
