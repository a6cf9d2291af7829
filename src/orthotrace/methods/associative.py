"""An associative memory as the readout: features that stay, and classes stored beside what is known."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad
from torch.nn.utils import parametrize

from orthotrace.core.distributed import rank_and_world_size
from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch
from orthotrace.data.streams import Stream
from orthotrace.methods.base import Method, Outcome, trainable
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.nearest_mean import Features
from orthotrace.subspace.recursive import recursive_least_squares

# Images at once: the gain is a solve of so many equations.
BATCH = 512
# The mean |phi|^2 over alpha, above which rounding decides what is stored after some ten thousand images.
LARGEST = 1e7


class Associative(Method):
    """Stores what features go with which class in the readout, by the recursion that OWM projects with.

        k = P phi / (alpha + phi^T P phi),   W <- W + (y - W phi) k^T,   P <- P - k (P phi)^T

    for each image with the features phi, what the network gives its readout, and a 1 for its bias, if it has one; and
    the class y as a vector of 0 and 1. The first task trains the network; from its end on all below the readout stays
    as it is, and the readout is W. After any number of tasks W is the least squares readout of all images so far with
    the penalty alpha |W|^2, as if they had come together: no image is kept, and nothing that was stored is forgotten.

    Of a stream that may be seen once only each batch is stored as it comes, those of the first task with the features
    of that moment.

    Args:
        alpha: of the recursion, above 0: the smaller, the more exactly each image is stored.
        trained: "first" trains the features on the first task, "never" leaves them as they begin, such as those of
            init_from.

    Raises:
        UserError: a value out of its range, or an alpha that is lost beside the size of the features; at setup, a
            regression, a readout whose weight is parametrised, or as for Features.

    Sources: Kohonen, Associative Memory, 1977, for the optimal linear associator; the recursion of Zeng et al., Nature
    Machine Intelligence 2019, eq. 2 and 3; Zhuang et al., ACIL, NeurIPS 2022, for classes that come one after another.
    """

    inverse: Tensor
    stored: Tensor

    @checked
    def __init__(
        self, alpha: Annotated[float, Field(gt=0)] = 1.0, trained: Literal["first", "never"] = "first"
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.trained = trained

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make room for P and W."""
        super().setup(model, seeds, stream)
        if stream.regression:
            raise UserError("stores classes, and a regression has none")
        self.features = Features(model, stream, unit=False)
        if parametrize.is_parametrized(readout := self._readout):
            raise UserError(f"stores classes in the readout '{self.features.name}', whose weight is parametrised")
        size = self.features.count + (readout.bias is not None)
        like = next(model.parameters())
        self.register_buffer("inverse", torch.eye(size, dtype=torch.float64, device=like.device))
        self.register_buffer("stored", self.inverse.new_zeros(stream.active.outputs, size))
        self.watches = stream.online
        # Before anything is trained, where features are of that size from the start.
        self._checked(self.features(model, stream.test(0).inputs(torch.arange(2), like)))

    def _stays(self, context: TaskContext) -> bool:
        """Whether the features are as they will be."""
        return self.trained == "never" or context.number > 0

    def enter(self, context: TaskContext) -> None:
        """Refuse what is not stored alike everywhere."""
        if self.watches and rank_and_world_size()[1] > 1:
            raise UserError("images of an online stream are stored in one process only: set it to 1", "trainer.devices")

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """As of any network; where the features stay, of no parameter."""
        if self.watches:
            self._store(batch.inputs, batch.labels)
        if not self._stays(context):
            return super().loss(network, batch, context)
        # Statistics of normalisation stay as well.
        if self.model.training:
            self.model.eval()
        with torch.no_grad():
            loss, logits = super().loss(network, batch, context)
        # Several processes wait for a gradient of each parameter.
        return loss + 0 * sum(value.sum() for value in trainable(self.model)), logits

    def on_step(self, context: TaskContext) -> None:
        """Nothing moves, whatever penalties and momentum say."""
        if self._stays(context):
            for value in self.model.parameters():
                value.grad = None

    def end_task(self, context: TaskContext) -> Outcome:
        """Store the images of the task, and put what is stored in the place of the readout."""
        if not self.watches:
            for inputs, labels in context.part.split(BATCH, next(self.model.parameters())):
                self._store(inputs, labels)
        readout = self._readout
        with torch.no_grad():
            readout.weight.copy_(self.stored[:, : self.features.count].reshape_as(readout.weight))
            if readout.bias is not None:
                readout.bias.copy_(self.stored[:, -1])
        return Outcome()

    @torch.no_grad()
    def _store(self, inputs: Tensor, labels: Tensor) -> None:
        """Store images (n, ...) with their labels (n,)."""
        try:
            rows = self._checked(self.features(self.model, inputs))
        except UserError as error:
            raise error.below("method") from error
        missed = one_hot(labels.to(rows.device), len(self.stored)) - rows @ self.stored.T
        self.stored.addmm_(missed.T, recursive_least_squares(self.inverse, rows, self.alpha).T)

    def _checked(self, features: Tensor) -> Tensor:
        """Features as rows, with a 1 for the bias.

        Raises:
            UserError: they are not finite, or so large that alpha is lost beside them.
        """
        rows = pad(features.double(), (0, len(self.inverse) - features.shape[1]), value=1.0)
        size = float(rows.square().sum(1).mean())
        if not math.isfinite(size):
            raise UserError("the features that are to be stored are not finite: lower the learning rate")
        if size > LARGEST * self.alpha:
            raise UserError(
                f"{self.alpha:g} is too small for features of a mean square length of {size:.2g}: rounding would "
                f"decide what is stored; take {size / LARGEST:.1g} or more",
                "alpha",
            )
        return rows

    @property
    def _readout(self) -> nn.Linear | nn.Conv2d:
        found = self.model.get_submodule(self.features.name)
        assert isinstance(found, (nn.Linear, nn.Conv2d))
        return found
