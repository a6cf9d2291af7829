"""Networks of one kind as one: their values in stacked tensors, one forward pass for all."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import modules as layers
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.layers.maxout import Maxout
from orthotrace.layers.response import LocalResponseNorm

# Layers that torch.func maps over networks, and that draw nothing.
MAPPED: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, LocalResponseNorm,
    nn.Flatten, nn.Unflatten, nn.Identity, nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh,
    nn.Sigmoid, nn.Hardtanh, nn.Softmax, Maxout,
)  # fmt: skip
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
# Of what two sums in another order differ in, over all layers.
CLOSE = 1e-3


def check_stackable(model: nn.Module) -> None:
    """See whether networks of this kind can be stacked.

    Raises:
        UserError: names the first module that torch.func cannot map over networks, that draws, or that is hooked.

    Example:
        >>> check_stackable(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))
        >>> check_stackable(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)))
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: module '1' (Dropout) draws, ...
    """
    for name, module in model.named_modules():
        called = f"module '{name}' ({type(module).__name__})" if name else f"{type(module).__name__}"
        # Layers of ours that draw say so.
        drops = isinstance(module, layers.dropout._DropoutNd)
        draws = module.p if drops else isinstance(module, nn.RReLU) or getattr(module, "draws", False) is True
        if draws:
            raise UserError(f"{called} draws, and networks that are trained together would share the draws")
        if parametrize.is_parametrized(module) or isinstance(module, nn.RNNBase):
            raise UserError(f"{called} has no rule by which torch.func maps it over networks")
        elif type(module) not in MAPPED and not drops and not any(True for _ in module.children()):
            raise UserError(f"{called} is not among the layers that are mapped over networks")
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.momentum is None:
            raise UserError(f"{called} with momentum=None looks at a count, which torch.func cannot map over networks")
        for hooks in HOOKS:
            for hook in getattr(module, hooks).values():
                if not str(getattr(hook, "__module__", "")).startswith("orthotrace."):
                    raise UserError(f"{called} has a hook, which would see all networks at once")


class Stack:
    """Networks of one kind, whose values are views into stacked tensors (S, ...) while it is in use.

    The networks stay what they are: whoever reads or writes their weights in place reads or writes the stack. Their
    forward passes and gradients are those of each alone, by torch.func, but for rounding: sums are made in another
    order.

    Args:
        models: of one architecture, on one device, in one type.
        watched: names of the layers whose inputs are asked for.

    Raises:
        UserError: they cannot be stacked, see check_stackable; or differ in their parameters.

    Attributes:
        parameters: name -> (S, ...).
        buffers: likewise.

    Example:
        >>> models = [nn.Linear(3, 2) for _ in range(4)]
        >>> stack = Stack(models)
        >>> inputs = torch.ones(4, 5, 3)
        >>> with stack.shared():
        ...     logits, _ = stack(inputs)
        >>> logits.shape, torch.allclose(logits[1], models[1](inputs[1]))
        (torch.Size([4, 5, 2]), True)
    """

    def __init__(self, models: Sequence[nn.Module], watched: Sequence[str] = ()) -> None:
        first = models[0]
        for model in models:
            check_stackable(model)
            if _shapes(model) != _shapes(first):
                raise UserError("networks that are trained together have the same layers, of the same widths")
        self.models = list(models)
        self._own: list[dict[str, Tensor]] = [_values(model) for model in models]
        # Whatever order a weight has in memory: who projects the stack writes to matrices that are views into it.
        joined = {name: torch.stack([own[name].detach().contiguous() for own in self._own]) for name in self._own[0]}
        trained = {name: value.requires_grad for name, value in first.named_parameters()}
        self.parameters = {name: joined[name].requires_grad_(needs) for name, needs in trained.items()}
        self.buffers = {name: value for name, value in joined.items() if name not in trained}
        # Without values, and without the hooks that listen to one network.
        self._form = copy.deepcopy(first).to("meta")
        self._calls: dict[str, list[Tensor]] | None = None
        for module in self._form.modules():
            for hooks in HOOKS:
                getattr(module, hooks).clear()
        for name in watched:
            self._form.get_submodule(name).register_forward_pre_hook(self._hook(name), with_kwargs=True)

    def _hook(self, name: str) -> Any:
        def collect(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._calls is not None:
                # A copy: a later operation in place must not reach it.
                given = args[0] if args else kwargs["input"]
                self._calls.setdefault(name, []).append(given.detach().clone())

        return collect

    def __len__(self) -> int:
        return len(self.models)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Within the block the networks' values lie in the stack; after it each has its own again."""
        stacked = self.parameters | self.buffers
        try:
            for number, own in enumerate(self._own):
                for name, value in own.items():
                    value.data = stacked[name].detach()[number]
            yield
        finally:
            for own in self._own:
                for value in own.values():
                    # A view would be saved with all of what it is a view into.
                    value.data = value.detach().clone()

    def follow(self) -> None:
        """Take over which modules of the networks train, and which of their parameters do."""
        first = self.models[0]
        for form, module in zip(self._form.modules(), first.modules(), strict=True):
            form.train(module.training)
        for name, value in first.named_parameters():
            self.parameters[name].requires_grad_(value.requires_grad)

    def __call__(self, inputs: Tensor, watch: bool = False) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Logits (S, n, outputs) of inputs (S, n, ...), and where it is wanted what watched layers were given.

        Args:
            inputs: of each network.
            watch: collect the inputs of the watched layers, name -> (S, ...) of each call.
        """

        def each(parameters: Any, buffers: Any, given: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
            self._calls = {} if watch else None
            try:
                logits = functional_call(self._form, (parameters, buffers), (given,))
                return logits, self._calls or {}
            finally:
                self._calls = None

        return vmap(each)(self.parameters, self.buffers, inputs)

    @torch.no_grad()
    def check(self, inputs: Tensor) -> None:
        """Compare the stack with its networks on inputs (S, n, ...), in evaluation mode.

        Raises:
            UserError: torch.func cannot map a network, or gives something else.
        """
        modes = [[module.training for module in model.modules()] for model in self.models]
        for model in self.models:
            model.eval()
        try:
            self.follow()
            logits, _ = self(inputs)
            alone = torch.stack([model(one) for model, one in zip(self.models, inputs, strict=True)])
            # In training mode too, where statistics are updated: of copies.
            kept = {name: value.clone() for name, value in self.buffers.items()}
            self._form.train()
            self(inputs)
            for name, value in kept.items():
                self.buffers[name].copy_(value)
        except UserError:
            raise
        # A model of the user's own may raise anything.
        except Exception as error:
            line = str(error).strip().split("\n")[0]
            raise UserError(f"{type(self.models[0]).__name__} cannot be mapped over networks: {line[:200]}") from error
        finally:
            for model, mode in zip(self.models, modes, strict=True):
                for module, training in zip(model.modules(), mode, strict=True):
                    module.train(training)
        size = float(alone.abs().nan_to_num().max())
        if not torch.allclose(logits, alone, rtol=CLOSE, atol=CLOSE * size, equal_nan=True):
            raise UserError(f"{type(self.models[0]).__name__} gives something else where it is mapped over networks")


def _values(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {name: (value.shape, value.dtype, value.device) for name, value in _values(model).items()}
