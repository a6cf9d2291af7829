"""While a network trains, its concept axes follow their concepts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.distributed import broadcast_from_first
from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import derived
from orthotrace.data.concepts import ConceptPart, ConceptSets
from orthotrace.data.streams import Stream
from orthotrace.layers import ConceptWhitening
from orthotrace.layers.modes import evaluated
from orthotrace.layers.reductions import shrunk
from orthotrace.methods import Method
from orthotrace.training.chunks import BatchCallback


@checked
@dataclass(eq=False)
class Alignment(BatchCallback):
    """Shows every concept-whitening layer a batch of each concept, once in a fixed number of steps.

    The images of all concepts go through the network once, in evaluation mode and without gradients; each layer then
    turns its axes, or, where its rotation is trained, the gradient of the objective is added to that of the loss. What
    is drawn depends on the seed and the step alone, so a run that continues turns them alike, and so does every process
    of a distributed run.

    With ``freeze`` statistics and the axes that have been aligned stay as they are once a task has ended: concepts that
    come later move the free axes alone. A trained rotation stays as a whole. A layer that a projection method holds in
    evaluation mode is not turned.

    Args:
        sets: the concepts, of the images as their data set holds them.
        stream: whose tasks show them.
        every: steps of the optimizer between two updates, at least 1.
        batch_size: images of each concept, at least 1.
        freeze: see above.
        weight: of the objective, where the rotation is trained.
        seed: of what is drawn.

    Raises:
        UserError: a number out of its range, images of another shape than those of the stream; in training, see check.

    Source: Chen, Bei & Rudin, Nature Machine Intelligence 2020: every 20 steps.
    """

    sets: ConceptSets
    stream: Stream
    every: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 64
    freeze: bool = False
    weight: Annotated[float, Field(ge=0)] = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.sets.as_in_task(self.stream, 0)
        self._task = -1
        self._part: ConceptPart = self.sets.train
        self._known: list[str] = []
        self._last = -1

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Check the network that is to be trained."""
        self.check(pl_module.model, pl_module.method)

    def check(self, model: nn.Module, method: Method) -> None:
        """Refuse what the concept layers of a model cannot do: a trained rotation has no free axes, others no loss.

        Raises:
            UserError: concepts that come after a trained rotation has been frozen, or a weight though none is trained.
        """
        trained = any(layer.trained for layer in concept_layers(model).values())
        if not trained and self.weight != 1:
            raise UserError(
                f"only a trained rotation is weighed against the loss (got {self.weight}): take "
                "concepts.whitening.rotation=trained, or leave it at 1",
                "concepts.weight",
            )
        if not self.freeze or not trained or method.restarts:
            return
        known = self.sets.known(self.stream, 0)
        later = [name for name in self.sets.known(self.stream, len(self.stream.names) - 1) if name not in known]
        if later:
            raise UserError(
                f"the concept '{later[0]}' comes after the first task, with which a trained rotation is frozen: take "
                "concepts.whitening.rotation=aligned, or leave concepts.freeze=false",
                "concepts.freeze",
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """A task begins, or goes on: its images show the concepts from now on."""
        task, epoch = pl_module.context.number, pl_module.context.epoch
        self._last = pl_module.step
        if task != self._task:
            self._task = task
            self._part = self.sets.as_in_task(self.stream, task).train
            self._known = self.sets.known(self.stream, task)
        for layer in concept_layers(pl_module.model).values():
            layer.frozen = self.freeze and not pl_module.method.fresh(task)
            if layer.frozen and epoch == 0:
                layer.freeze_axes()

    def before_step(self, trainer: pl.Trainer, learner: Any) -> None:
        """A trained rotation gets the gradient of the objective beside that of the loss; a frozen one gets none."""
        layers = [layer for layer in concept_layers(learner.model).values() if layer.trained and layer.training]
        for layer in layers:
            if layer.frozen:
                for value in layer.parameters():
                    value.grad = None
        layers = [layer for layer in layers if not layer.frozen]
        if not layers or learner.step % self.every:
            return
        for layer, (inputs, masks) in self._seen(learner.model, layers, learner.step):
            parameters = list(layer.parameters())
            loss = self.weight * layer.concept_loss(inputs, masks)
            for value, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                value.grad = gradient if value.grad is None else value.grad + gradient

    def after_batch(self, trainer: pl.Trainer, learner: Any, done: int, of: int) -> None:
        """Turn the axes, where it is time."""
        step = learner.step
        if step == self._last or step % self.every:
            return
        self._last = step
        layers = [layer for layer in concept_layers(learner.model).values() if not layer.trained and layer.training]
        for layer, (inputs, masks) in self._seen(learner.model, layers, step):
            layer.align(inputs, masks)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Say which concepts no axes tell apart, now that statistics have settled, and which no step has reached."""
        layers = [layer for layer in concept_layers(pl_module.model).values() if layer.training]
        if trainer.interrupted:
            return
        # Every process takes part, one reports.
        seen = self._seen(pl_module.model, layers, pl_module.step)
        for layer, (inputs, masks) in seen:
            if trainer.is_global_zero:
                layer.warn_of_neighbours(inputs, masks)
                # Not turned now: what reads the layer could not learn it any more.
                if unseen := [] if layer.trained else layer.unseen(self._known):
                    warnings.warn(
                        f"{layer.label}no step turned the axis of '{unseen[0]}', so it means nothing: train longer, or "
                        f"lower concepts.every ({self.every})",
                        stacklevel=2,
                    )

    def _seen(
        self, model: nn.Module, layers: Sequence[ConceptWhitening], step: int
    ) -> list[tuple[ConceptWhitening, tuple[dict[str, Tensor], dict[str, Tensor]]]]:
        """What each layer sees of a batch of each concept, and the masks of its places."""
        if not layers or not self._known:
            return []
        # Statistics of other layers are those of each process' own images: all must see the same.
        broadcast_from_first(*model.buffers())
        part = self._part
        places = {}
        for name in self._known:
            number = self.sets.names.index(name)
            draws = torch.Generator().manual_seed(derived(self.seed, 8, number, step))
            places[name] = part.drawn(number, self.batch_size, draws)
        inputs = layer_inputs(model, layers, part, torch.cat(list(places.values())))
        counts = [len(of) for of in places.values()]
        found = []
        for layer, values in zip(layers, inputs, strict=True):
            parts: Sequence[Tensor] = torch.split(values, counts)
            by_name = dict(zip(places, parts, strict=True))
            masks = masks_of(part, places, values, layer.channel_dim)
            found.append((layer, (by_name, masks)))
        return found


def concept_layers(model: nn.Module) -> dict[str, ConceptWhitening]:
    """The concept-whitening layers of a model, by name.

    Example:
        >>> list(concept_layers(nn.Sequential(nn.Linear(3, 4), ConceptWhitening(4, ["red"]))))
        ['1']
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, ConceptWhitening)}


def layer_inputs(
    model: nn.Module, layers: Sequence[nn.Module], part: ConceptPart, places: Tensor, size: int = 512
) -> list[Tensor]:
    """What layers are given for the images at these places, the model in evaluation mode.

    Args:
        model: any; its modes are put back.
        layers: of the model, each called once in a forward pass.
        part: of the images.
        places: of the images.
        size: images at once.
    """
    seen: list[list[Tensor]] = [[] for _ in layers]

    def keep(number: int) -> Any:
        return lambda module, given: seen[number].append(given[0].detach())

    handles = [layer.register_forward_pre_hook(keep(number)) for number, layer in enumerate(layers)]
    like = next(model.parameters())
    try:
        with evaluated(model), torch.no_grad():
            for chosen in places.split(size):
                model(part.images.inputs(chosen, like))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(values) for values in seen]


def masks_of(part: ConceptPart, places: Mapping[str, Tensor], values: Tensor, channel_dim: int) -> dict[str, Tensor]:
    """The masks of images in the size of a layer's maps; none where there are no masks, or no maps of two sides."""
    if part.masks is None or values.ndim != 4 or channel_dim != 1:
        return {}
    sides = (values.shape[2], values.shape[3])
    return {name: shrunk(part.masks[chosen], sides).to(values) for name, chosen in places.items()}
