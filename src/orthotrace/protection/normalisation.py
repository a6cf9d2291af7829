"""Normalisation layers and trained neurons: they drift beside the weights, so they are frozen or kept by task."""

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.layers.normalisation import drifts, is_normalisation
from orthotrace.protection.matrices import where

Mode = Literal["frozen", "task"]


class Normalisation(nn.Module):
    """The normalisation layers of a model, from task to task.

    "frozen": the first task learns statistics and affine; from then on the layers work in evaluation mode and their
    affine does not move, so that what follows sees the inputs that it saw. So it is with the thresholds and decays of
    spiking neurons, where they are trained.
    "task": each task has statistics and affine of its own, which go on from those of the task before; at the test one
    must know which task an image is of.

    Args:
        model: whose layers.
        mode: of the two.
        tasks: how many different ones there are; counts for "task" alone.

    Raises:
        UserError: an unknown mode, or "task" without the number of tasks.

    Source: Xiao et al., ICLR 2024, freeze after the first task; Wang et al., CVPR 2021, discuss the drift.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> norms = Normalisation(model)
        >>> norms.enter(started=1)
        >>> detach = norms.attach()
        >>> model.train()[1].training, model[1].weight.requires_grad
        (False, False)
        >>> detach()
        >>> model.train()[1].training
        True
    """

    def __init__(self, model: nn.Module, mode: Mode = "frozen", tasks: int = 0) -> None:
        super().__init__()
        named: dict[str, Any] = {name: module for name, module in model.named_modules() if drifts(module)}
        layers = list(named.values())
        if mode not in get_args(Mode):
            raise UserError(f"frozen or task (got {mode!r})", "normalisation")
        if mode == "task" and layers and tasks < 1:
            raise UserError("normalisation='task' keeps some for each task: say how many there are", "tasks")
        # In lists: the layers belong to the model.
        self._layers = layers
        self._names = list(named)
        self.mode = mode
        self.tasks = tasks
        self.frozen = False
        self.held: list[Tensor] = []
        # What the first task has learned, where it is frozen from then on and somebody asked to keep it.
        self.learned: list[Tensor] = []
        self.trainable = [value for layer in layers for value in layer.parameters() if value.requires_grad]
        if mode == "task" and layers:
            for task in range(tasks):
                for number, value in enumerate(self._values(model)):
                    self.register_buffer(f"task{task}_{number}", value.clone())

    @staticmethod
    def _values(model: nn.Module) -> list[Tensor]:
        """Statistics and affine of all normalisation layers of a model, in order."""
        found = (module for module in model.modules() if drifts(module))
        return [value for layer in found for value in layer.state_dict(keep_vars=True).values()]

    def check(self, task: int) -> None:
        """See whether a task can have its own.

        Raises:
            UserError: there are more tasks than were said.
        """
        if self.mode == "task" and self._layers and task >= self.tasks:
            raise UserError(f"{self.tasks} have a normalisation of their own, and this is task {task + 1}", "tasks")

    def enter(self, started: int) -> None:
        """Training of a task starts or continues, after so many others."""
        self.frozen = self.mode == "frozen" and started > 0
        for value in self.trainable:
            value.requires_grad_(not self.frozen)
            if self.frozen:
                value.grad = None
        self.held = [value.detach().clone() for value in self.trainable] if self.frozen else []

    @torch.no_grad()
    def hold(self) -> None:
        """Put a frozen affine back: an optimizer may have gone on by what it remembers, or by a gradient left over."""
        if self.held:
            for value, kept in zip(self.trainable, self.held, strict=True):
                value.copy_(kept)

    def attach(self) -> Callable[[], None]:
        """Frozen layers stay in evaluation mode, whoever calls train(), until the function returned is called."""
        # Neurons have no statistics, and no other mode of evaluation.
        layers = [layer for layer in self._layers if is_normalisation(layer)] if self.frozen else []
        held = {id(layer) for layer in layers}
        for layer in layers:
            layer.eval()
            layer.train = MethodType(_staying(held), layer)
            if hasattr(layer, "guard"):
                layer.guard(True)

        def detach() -> None:
            for layer in layers:
                layer.__dict__.pop("train", None)
                if hasattr(layer, "guard"):
                    layer.guard(False)

        return detach

    @torch.no_grad()
    def learn(self) -> None:
        """A task has ended: keep what layers are frozen at."""
        if self.mode == "frozen":
            self.learned = [value.detach().clone() for _, value in self._named()]

    def take_up(self, learned: list[Tensor]) -> None:
        """Go on with what another process has kept by learn."""
        self.learned = learned

    @property
    def kind(self) -> str:
        """Mode, and how many tasks have their own."""
        return f"one for each of {self.tasks} tasks" if self.mode == "task" and self._layers else "frozen"

    def _named(self) -> list[tuple[str, Tensor]]:
        """Statistics and affine of the layers, by name."""
        return [
            (f"{key} of {where(name)}", value)
            for name, layer in zip(self._names, self._layers, strict=True)
            for key, value in layer.state_dict(keep_vars=True).items()
            if value.is_floating_point()
        ]

    def check_still(self) -> None:
        """See whether frozen layers are as the first task left them.

        Raises:
            UserError: statistics or an affine have moved.
        """
        for (name, value), was in zip(self._named(), self.learned, strict=False):
            if not torch.equal(value, was.to(value.device)):
                raise UserError(
                    f"{name} has moved since the first task, though normalisation is frozen: the model was called in "
                    "training mode outside of guard.protecting, or it was written; guard.settle() puts it back"
                )

    @torch.no_grad()
    def settle(self) -> None:
        """Put back what the first task has learned."""
        for (_, value), was in zip(self._named(), self.learned, strict=False):
            value.copy_(was)

    @torch.no_grad()
    def keep(self, model: nn.Module, task: int) -> None:
        """Keep those of a task that has ended."""
        if self.mode == "task":
            for number, value in enumerate(self._values(model)):
                getattr(self, f"task{task}_{number}").copy_(value)

    @torch.no_grad()
    def put(self, model: nn.Module, task: int) -> None:
        """Put those of a task into a model of the same kind."""
        for number, value in enumerate(self._values(model)):
            value.copy_(getattr(self, f"task{task}_{number}"))

    def of(self, model: nn.Module, task: int) -> nn.Module:
        """The model with those of a task, where each task has its own."""
        if self.mode == "frozen" or not self._layers:
            return model
        model = copy.deepcopy(model)
        self.put(model, task)
        return model


def _staying(held: set[int]) -> Callable[..., Any]:
    """Instead of a frozen layer's train: it stays in evaluation mode, as long as it is held; a copy of it is not."""

    def train(layer: Any, mode: bool = True) -> Any:
        if id(layer) in held:
            return layer
        layer.__dict__.pop("train", None)
        return layer.train(mode)

    return train
