"""Other uses of a protected weight than the calls of its layer: a tied decoder, a second call past the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from orthotrace.core.errors import UserError
from orthotrace.protection import embedding, products
from orthotrace.protection.matrices import transposed_name, where

PRODUCTS = {
    torch.matmul, torch.mm, torch.mv, Tensor.matmul, Tensor.mm, Tensor.mv, Tensor.__matmul__, Tensor.__rmatmul__
}  # fmt: skip
SUMS = {torch.addmm, Tensor.addmm}
CONVOLUTIONS = {functional.conv1d, functional.conv2d, functional.conv3d}
# Of these the result has no value of the weight.
LIKE = {
    torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, torch.randn_like,
    Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full, Tensor.new_tensor,
}  # fmt: skip
# And of these none, where it is what another tensor is made like.
MODELS = {Tensor.to, Tensor.type_as, Tensor.view_as, Tensor.expand_as, Tensor.reshape_as}


class Uses(TorchFunctionMode):
    """Sees every function of torch that is given a protected weight outside of a call of its layer.

    What the weight is multiplied with there joins the calls of the layer, since it is a further row: y = h W^T. A
    product with the transposed weight, y = h W, which a tied decoder makes, has its rows under a name of its own.
    Whatever else is done with a weight would change unprotected, and is refused.

    Args:
        layers: protected, by name.
        calls: of layers, to which those found are added.

    Raises:
        UserError: within the block, a use that is none of these.

    Attributes:
        some: whether any was seen.

    Example:
        >>> from torch import nn
        >>> layer, calls = nn.Linear(3, 2), {}
        >>> with Uses({"a": layer}, calls):
        ...     _ = torch.ones(5, 2) @ layer.weight
        >>> [(name, rows.shape) for name, (rows,) in calls.items()]
        [('a, transposed', torch.Size([5, 2]))]
    """

    def __init__(self, layers: Mapping[str, Any], calls: dict[str, list[Any]]) -> None:
        super().__init__()
        self.some = False
        self._layers = layers
        self._calls = calls
        # id -> the tensor, so that none of the same id is taken for it; the layer's name; whether it is turned.
        self._known: dict[int, tuple[Tensor, str, bool]] = {}
        for name, layer in layers.items():
            for value in layer.parameters():
                # What is added is a constant, and held as one.
                if value.requires_grad and value.ndim > 1:
                    self._known[id(value)] = (value, name, False)
        self._depth = 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Uses:
        # A compiled network calls functions of its own, of which none has the layer's name.
        self._eager = torch.compiler.set_stance("force_eager")
        self._eager.__enter__()
        for layer in self._layers.values():
            self._handles += [
                layer.register_forward_pre_hook(self._inside, prepend=True),
                layer.register_forward_hook(self._outside, always_call=True),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._eager.__exit__(None, None, None)
        for handle in self._handles:
            handle.remove()

    def _inside(self, *hook: object) -> None:
        self._depth += 1

    def _outside(self, *hook: object) -> None:
        self._depth -= 1

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not self._depth:
            found = [value for value in _tensors((*args, *kwargs.values())) if id(value) in self._known]
            if found:
                self._look(func, list(args), kwargs, result, found[0])
        return result

    def _look(
        self, func: Callable[..., Any], args: list[Any], kwargs: Mapping[str, Any], result: Any, weight: Tensor
    ) -> None:
        results = list(_tensors((result,)))
        if not results or func in LIKE or (func in MODELS and weight is not args[0]) or result is weight.grad:
            return
        _, name, turned = self._known[id(weight)]
        alias = _alias(result, weight)
        if alias is not None and not _writes(func):
            self._known[id(result)] = (result, name, turned != alias)
            return
        rows = self._rows(func, args, kwargs, weight, turned)
        if rows is None:
            raise UserError(
                f"a weight of {where(name)} is also used by {getattr(func, '__name__', func)} outside of the layer: "
                "what that gives would change unprotected; call the layer, multiply by its weight, freeze it "
                "(requires_grad_(False)), or use another method"
            )
        self.some = True
        of, values = rows
        self._calls.setdefault(transposed_name(name) if of else name, []).append(values.detach().clone())

    def _rows(
        self, func: Callable[..., Any], args: list[Any], kwargs: Mapping[str, Any], weight: Tensor, turned: bool
    ) -> tuple[bool, Tensor] | None:
        """Whether a product is with the transposed weight, and what the weight is multiplied with; None if unknown."""
        layer = self._layers[self._known[id(weight)][1]]
        base = products.LAYERS
        if func is functional.linear and (args[1:2] or [kwargs.get("weight")])[0] is weight:
            inputs = args[0] if args else kwargs["input"]
            return self._product(layer, turned, inputs)
        if func in PRODUCTS or func in SUMS:
            first, second = args[-2:] if func in SUMS else args[:2]
            if func is Tensor.__rmatmul__:
                first, second = second, first
            if second is weight and first is not weight:
                # h W multiplies with the transposed weight, h W^T with the weight.
                return self._product(layer, not turned, first)
            if first is weight:
                columns = second[:, None] if second.ndim == 1 else second
                return self._product(layer, turned, columns.transpose(-1, -2))
        if func in CONVOLUTIONS and isinstance(layer, base) and not turned and args[1:2] and args[1] is weight:
            return (False, args[0]) if _as_called(layer, args, kwargs) else None
        if func is functional.embedding and isinstance(layer, embedding.LAYERS) and not turned:
            return False, args[0]
        return None

    def _product(self, layer: Any, transposed: bool, rows: Tensor) -> tuple[bool, Tensor] | None:
        """Of layers that have one weight of two dimensions."""
        if not isinstance(layer, nn.Linear):
            return None
        return transposed, rows.reshape(-1, rows.shape[-1])


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _writes(func: Callable[..., Any]) -> bool:
    """Whether a function writes its argument, by the name that torch gives such functions."""
    name = getattr(func, "__name__", "")
    return name.endswith("_") and not name.endswith("__") and name not in ("requires_grad_", "share_memory_")


def _alias(result: Any, weight: Tensor) -> bool | None:
    """Whether a result is the weight itself (False) or the weight turned (True); None for anything else."""
    if not isinstance(result, Tensor) or result.device != weight.device or result.dtype != weight.dtype:
        return None
    if result.data_ptr() != weight.data_ptr() or result.numel() != weight.numel():
        return None
    if result.shape == weight.shape and result.stride() == weight.stride():
        return False
    return True if result.shape == weight.shape[::-1] and result.stride() == weight.stride()[::-1] else None


def _as_called(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a convolution has the stride, padding, dilation and groups of the layer whose weight it takes."""
    names = ("stride", "padding", "dilation", "groups")
    given = dict(zip(names, args[3:], strict=False)) | {name: kwargs[name] for name in names if name in kwargs}
    if layer.padding_mode != "zeros":
        return False
    usual = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    return all(_same(given.get(name, usual[name]), getattr(layer, name)) for name in names)


def _same(given: Any, own: Any) -> bool:
    if isinstance(own, tuple) and not isinstance(given, (tuple, list)):
        given = (given,) * len(own)
    return tuple(given) == own if isinstance(own, tuple) else given == own
