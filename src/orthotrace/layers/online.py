"""Online learning through time: a network that runs one step after another, and keeps traces of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from orthotrace.layers.encoding import encoded
from orthotrace.layers.steps import current_step


def keep_traces(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Let the layers that lead to neurons learn from the traces of their inputs.

    A layer's weights move a membrane now and, as it leaks, at all later steps: its gradient at a step is the error
    times a[t] = decay a[t-1] + x[t]. A layer after the last neuron moves no membrane. Which neurons come after a layer
    is seen at the first step, as the network runs.
    """
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(_Trace(), with_kwargs=True)


def leaking(layer: nn.Module) -> float | None:
    """The decay of the trace of a layer's inputs; None where it keeps none, or has not run for two steps yet."""
    return next((hook.decay for hook in layer._forward_hooks.values() if isinstance(hook, _Trace)), None)


class _Trace:
    """Adds to a layer's outputs what is 0, and has the gradient of its past inputs."""

    def __init__(self) -> None:
        self.decay: float | None = None

    def __call__(
        self, layer: Any, args: tuple[Tensor, ...], named: dict[str, Tensor], outputs: Tensor
    ) -> Tensor | None:
        step = current_step()
        if step is None:
            return None
        (inputs,) = args or named.values()
        trace, decay = step.take(), step.decay
        if step.number:
            self.decay = decay
        if trace is None or decay is None:
            step.keep(inputs)
            return None
        step.keep(torch.add(inputs.detach(), trace, alpha=decay))
        if not torch.is_grad_enabled():
            return None
        past = trace * decay
        if isinstance(layer, nn.Linear):
            product = nn.functional.linear(past, layer.weight)
        else:
            product = layer._conv_forward(past, layer.weight, None)
        if layer.bias is not None:
            # The constant input of a bias has a trace too.
            ones = sum(decay ** (1 + past) for past in range(step.number))
            bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias.view(-1, *[1] * len(layer.kernel_size))
            product = product + bias * ones
        return outputs + (product - product.detach())


def online_logits(network: Any, images: Tensor) -> Tensor:
    """Logits of every step, (steps, n, classes), of a spiking network, whose backward pass runs each step anew.

    Nothing is kept of a step but its logits: errors go back within a step alone, so it can be run, and left, one after
    the other. To the images none go.
    """
    names, values = zip(*network.named_parameters(), strict=True)
    return _OnlineLogits.apply(network, names, images, *values)


class _OnlineLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, network: Any, names: Sequence[str], images: Tensor, *values: Tensor) -> Tensor:
        kind = images.device.type
        ctx.network, ctx.names = network, names
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        ctx.devices = [images.device] if kind == "cuda" else []
        ctx.drawn = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, ctx.devices)]
        ctx.save_for_backward(images, *values)
        found, state = [], network.rest
        for inputs in encoded(images, network.steps, network.encoding):
            outputs, state = functional_call(network, dict(zip(names, values, strict=True)), (inputs, state))
            found.append(outputs)
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        images, *values = ctx.saved_tensors
        network, kind = ctx.network, ctx.autocast
        asked = ctx.needs_input_grad[3:]
        leaves = [value.detach().requires_grad_(one) for value, one in zip(values, asked, strict=True)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        totals: list[Any] = [None] * len(wanted)
        named, state = dict(zip(ctx.names, leaves, strict=True)), network.rest
        with torch.random.fork_rng(ctx.devices), torch.enable_grad(), torch.autocast(kind[0], kind[1], kind[2]):
            # What dropout and encodings drew is drawn again.
            torch.set_rng_state(ctx.drawn[0])
            for device, drawn in zip(ctx.devices, ctx.drawn[1:], strict=True):
                torch.cuda.set_rng_state(drawn, device)
            for inputs, gradient in zip(encoded(images, network.steps, network.encoding), gradients[0], strict=True):
                outputs, state = functional_call(network, named, (inputs, state))
                parts = torch.autograd.grad(outputs, wanted, gradient, allow_unused=True)
                for place, part in enumerate(parts):
                    if part is not None:
                        totals[place] = part if totals[place] is None else totals[place].add_(part)
        of_leaf = dict(zip(map(id, wanted), totals, strict=True))
        return None, None, None, *(of_leaf.get(id(leaf)) for leaf in leaves)
