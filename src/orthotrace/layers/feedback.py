"""How errors go back through a network's layers: by their weights, or by others."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import vjp
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError, checked

Feedback = Literal["backprop", "alignment", "sign_symmetric"]
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@checked
def feedback(model: nn.Module, kind: Feedback) -> nn.Module:
    """Let errors go back by other weights than those that inputs are multiplied with.

    Through a layer y = W x the error of x is B^T times that of y. "backprop": B = W. "alignment": B is drawn as W is
    at the start, once, and stays. "sign_symmetric": B = s sign(W), with s the mean size of the first weights. The
    gradient of W itself is what it was, so what protects weights protects them alike.

    Args:
        model: any torch module; its Linear layers and convolutions are changed in place.
        kind: of the three.

    Returns:
        The model.

    Raises:
        UserError: an unknown kind, no layer, or one whose weight is parametrised, or an adder layer.

    Sources: Lillicrap et al., Nature Communications 2016 (alignment); Liao, Leibo & Poggio, AAAI 2016, and Xiao et al.,
    ICLR 2019 (sign-symmetric).

    Example:
        >>> model = feedback(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), "alignment")
        >>> model[2].feedback.shape
        torch.Size([2, 3])
    """
    if kind == "backprop":
        return model
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)}
    if not layers:
        raise UserError("the model has no Linear layer and no convolution", "model")
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer, "weight"):
            raise UserError(f"the weight of layer '{name}' is parametrised: its errors go back by itself", "model")
    for name, module in model.named_modules():
        if hasattr(type(module), "unprotected"):
            raise UserError(f"layer '{name}' has a way back of its own: take layers that multiply", "model")
    for layer in layers.values():
        weight = layer.weight.detach()
        if kind == "alignment":
            # Of the size of the weights, whatever drew them; of them it knows nothing.
            drawn = weight.flatten()[torch.randperm(weight.numel(), device=weight.device)]
            layer.register_buffer("feedback", drawn.view_as(weight).clone())
        else:
            layer.register_buffer("feedback_size", weight.abs().mean())
        path = _Path()
        layer.register_forward_pre_hook(path.enter, with_kwargs=True)
        layer.register_forward_hook(path.leave)
    return model


class _Path:
    """Takes a layer's inputs apart before its call, and joins the way back to its outputs after it."""

    def __init__(self) -> None:
        self._open: list[Tensor | None] = []

    def enter(self, layer: Any, args: tuple[Tensor, ...], named: dict[str, Tensor]) -> Any:
        if not torch.is_grad_enabled():
            self._open.append(None)
            return None
        (inputs,) = args or named.values()
        self._open.append(inputs)
        return (inputs.detach(),), {}

    def leave(self, layer: Any, args: tuple[Tensor, ...], outputs: Tensor) -> Tensor | None:
        inputs = self._open.pop()
        if inputs is None:
            return None
        fixed = getattr(layer, "feedback", None)
        weight = layer.feedback_size * layer.weight.detach().sign() if fixed is None else fixed
        return _Returned.apply(outputs, inputs, weight, layer)


class _Returned(torch.autograd.Function):
    """The outputs of a layer as they are, whose errors reach its inputs by other weights."""

    generate_vmap_rule = True

    @staticmethod
    def forward(outputs: Any, inputs: Any, weight: Any, layer: Any) -> Any:
        return outputs.view_as(outputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, shown, weight, ctx.layer = inputs
        ctx.save_for_backward(shown, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        shown, weight = ctx.saved_tensors
        (errors,) = gradients
        if not ctx.needs_input_grad[1]:
            return errors, None, None, None
        weight = weight.to(errors.dtype)
        if isinstance(ctx.layer, nn.Linear):
            return errors, errors @ weight, None, None
        # A convolution is linear: where its inputs stand is nothing to its way back.
        back: Any = vjp(
            lambda values: ctx.layer._conv_forward(values, weight, None), torch.zeros_like(shown, dtype=errors.dtype)
        )[1]
        return errors, back(errors)[0].to(shown.dtype), None, None
