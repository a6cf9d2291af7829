"""Taps collect what layers see, as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor as is_transformed
from torch.utils.hooks import RemovableHandle

from orthotrace.core.errors import UserError
from orthotrace.protection import attention, embedding, products, recurrent
from orthotrace.protection.attention import slow_attention
from orthotrace.protection.layers import kind_of
from orthotrace.protection.matrices import where
from orthotrace.protection.uses import Uses


class Hook:
    """A hook on a layer that does not go with it: of a layer that was copied or pickled, it does nothing.

    Args:
        call: what it does; None for nothing.
    """

    def __init__(self, call: Callable[..., None] | None = None) -> None:
        self._call = call

    def __call__(self, *args: Any) -> None:
        """As a hook of torch is called."""
        if self._call is not None:
            self._call(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, ()


class Collector:
    """Hands what a layer is called with to its taps, while they watch.

    Args:
        taps: that it belongs to.
        name: of the layer.
        layer: itself.
    """

    def __init__(self, taps: Taps, name: str, layer: nn.Module) -> None:
        self._taps, self._name, self._layer = taps, name, layer
        self._kept = taps.kinds[name].kept if name in taps.kinds else None
        self._linear, self._attends = isinstance(layer, nn.Linear), isinstance(layer, attention.LAYERS)

    def __call__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any = None) -> None:
        """As a hook of torch is called: note it, in one function, since every step comes here."""
        calls, layer = self._taps.calls, self._layer
        # A shallow copy of the layer has its hooks, and is none of those watched.
        if calls is None or module is not layer:
            return
        if self._kept is None:
            # A copy: a later in-place operation on the input must not reach the rows.
            call = (args[0] if args else kwargs["input"]).detach().clone()
        else:
            call = self._kept(layer, args, kwargs, output)
        there = self._taps.there[-1] if self._taps.there else None
        if there is not None and self._attends:
            call = attention.within(call, there, layer)
        elif there is not None and self._linear and call.shape[: there.ndim] == there.shape:
            call = call[there.to(call.device)]
        calls.setdefault(self._name, []).append(call)

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, ()


class Taps:
    """Collects the inputs that layers see in a forward pass.

    The hooks stay on the layers and cost nothing while nobody watches.

    Args:
        layers: that can be protected, by name, see protectable.
        patches: of a convolution's inputs at most this many are drawn in each call; None for all.
        observed: name of a layer, and the inputs of its calls -> what is seen of them; None for the inputs.
        blocks: that are told which places are padding: what layers within them see there is left out.

    Raises:
        UserError: fewer than one patch.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> taps = Taps({"first": model[0]})
        >>> with taps.watching() as inputs:
        ...     _ = model(torch.ones(5, 4))
        >>> [rows.shape for rows in inputs["first"]]
        [torch.Size([1, 5, 4])]
    """

    def __init__(
        self,
        layers: Mapping[str, Any],
        patches: int | None = None,
        observed: Callable[[str, Sequence[Tensor]], Sequence[Tensor]] | None = None,
        blocks: Sequence[nn.Module] = (),
    ) -> None:
        if patches is not None and patches < 1:
            raise UserError(f"at least 1, or None for all (got {patches})", "patches")
        self._layers = dict(layers)
        self._blocks = list(blocks)
        self.patches = patches
        self._observed = observed
        # Whether patches are drawn, so that a seed counts.
        self.draws = patches is not None and any(
            isinstance(layer, (*products.CONVOLUTIONS, *products.TRANSPOSED)) for layer in layers.values()
        )
        # What was collected so far, while somebody watches, and places of padding of the blocks that run.
        self.calls: dict[str, list[Any]] | None = None
        self.there: list[Tensor | None] = []
        self._generator = torch.Generator()
        # Of other uses of a weight than the calls of its layer: whether there were some.
        self.used_elsewhere = False
        self._attends = any(isinstance(layer, attention.LAYERS) for layer in layers.values())
        self.kinds = {
            name: kind_of(layer)
            for name, layer in layers.items()
            if not isinstance(layer, (nn.Linear, *embedding.LAYERS))
        }
        self._handles: list[RemovableHandle] = []
        self._listen()
        for block in blocks:
            block.register_forward_pre_hook(self._enter(block), with_kwargs=True)
            block.register_forward_hook(self._leave(block))

    def _listen(self) -> None:
        """Hook the layers: after all hooks that change what they are given, before those that change what they give."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for name, layer in self._layers.items():
            if isinstance(layer, recurrent.SEQUENCES):
                # Before hooks of the user's, which may change what it gave.
                handle = layer.register_forward_hook(Collector(self, name, layer), with_kwargs=True, prepend=True)
            else:
                handle = layer.register_forward_pre_hook(Collector(self, name, layer), with_kwargs=True)
            self._handles.append(handle)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied or pickled with hooks of its own on the other layers: those that came with them do nothing there."""
        given = (self._layers, self.patches, self._observed, self._blocks)
        return Taps, given, {"used_elsewhere": self.used_elsewhere}

    def _enter(self, block: nn.Module) -> Any:
        def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.calls is not None and module is block:
                self.there.append(attention.places(block, args, kwargs))

        return Hook(enter)

    def _leave(self, block: nn.Module) -> Any:
        def leave(module: Any, args: tuple[Any, ...], output: Any) -> None:
            if self.calls is not None and module is block:
                self.there.pop()

        return Hook(leave)

    @contextmanager
    def watching(self, seed: int = 0, whole: bool = False) -> Iterator[dict[str, list[Sequence[Tensor]]]]:
        """Collect within the block; after it: layer -> of each of its calls the rows of each of its matrices.

        Args:
            seed: of the draw of patches.
            whole: look for other uses of the weights too, see Uses; it goes on by itself where there are some.

        Raises:
            UserError: a weight is used in a way that is not known.
        """
        if whole:
            # A user may have added hooks meanwhile.
            self._listen()
        before, self.calls, self.there = (self.calls, self.there), {}, []
        found: dict[str, list[Any]] = {}
        # A spiking network says itself what its layers learn from.
        look = (whole or self.used_elsewhere) and self._observed is None
        try:
            with (
                Uses(self._layers, self.calls) if look else nullcontext() as uses,
                slow_attention() if self._attends else nullcontext(),
            ):
                yield found
            self.used_elsewhere |= uses is not None and uses.some
            self._generator.manual_seed(seed)
            for name, calls in self.calls.items():
                if any(isinstance(call, Tensor) and is_transformed(call) for call in calls):
                    raise UserError(
                        f"{where(name)} is called within a transform of torch.func (vmap, grad, jvp): what it is given "
                        "can only be seen in plain calls, on a whole batch; call it so where the guard watches, or use "
                        "another method"
                    )
                layer = self._layers.get(name)
                if layer is None or isinstance(layer, embedding.LAYERS):
                    # Of a transposed use the rows themselves, of an embedding the tokens.
                    found[name] = [[call] for call in calls]
                    continue
                if self._observed is not None:
                    calls = self._observed(name, calls)
                kind = self.kinds.get(name)
                if kind is None:
                    found[name] = [call.reshape(1, -1, call.shape[-1]) for call in calls]
                else:
                    found[name] = [kind.rows(layer, call, self.patches, self._generator) for call in calls]
        finally:
            self.calls, self.there = before

    def rows_of(self, calls: Mapping[str, Sequence[Tensor]], seed: int = 0) -> dict[str, list[Sequence[Tensor]]]:
        """Rows as watching has them, of the inputs of calls that somebody else has collected.

        Args:
            calls: layer -> what it was given in each of its calls.
            seed: of the draw of patches.
        """
        self._generator.manual_seed(seed)
        found: dict[str, list[Any]] = {}
        for name, given in calls.items():
            layer, kind = self._layers[name], self.kinds.get(name)
            if kind is None:
                found[name] = [call.reshape(1, -1, call.shape[-1]) for call in given]
            else:
                found[name] = [kind.rows(layer, call, self.patches, self._generator) for call in given]
        return found
