"""Taps collect what layers see, as rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from orthotrace.core.errors import UserError
from orthotrace.protection.layers import rows


class Taps:
    """Collects the inputs that layers see in a forward pass.

    The hooks stay on the layers and cost nothing while nobody watches.

    Args:
        layers: Linear layers and convolutions by name.
        patches: of a convolution's inputs at most this many are drawn in each call; None for all.
        observed: name of a layer, and the inputs of its calls -> what is seen of them; None for the inputs.

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
    ) -> None:
        if patches is not None and patches < 1:
            raise UserError(f"at least 1, or None for all (got {patches})", "patches")
        # Their inputs become rows after the forward pass: what patches are drawn is nothing for torch.compile to trace.
        self._convolutions = {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Linear)}
        self.patches = patches
        self._observed = observed
        # Whether patches are drawn, so that a seed counts.
        self.draws = patches is not None and bool(self._convolutions)
        self._inputs: dict[str, list[Tensor]] | None = None
        self._generator = torch.Generator()
        for name, layer in layers.items():
            layer.register_forward_pre_hook(self._hook(name, layer), with_kwargs=True)

    def _hook(self, name: str, layer: nn.Module) -> Any:
        convolution = name in self._convolutions

        def collect(module: Any, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            # A copy of the layer has its hooks, and is none of those watched.
            if self._inputs is not None and module is layer:
                # A copy: a later in-place operation on the input must not reach the rows.
                inputs = (args[0] if args else kwargs["input"]).detach().clone()
                if not convolution and self._observed is None:
                    inputs = inputs.reshape(1, -1, inputs.shape[-1])
                self._inputs.setdefault(name, []).append(inputs)

        return collect

    @contextmanager
    def watching(self, seed: int = 0) -> Iterator[dict[str, list[Tensor]]]:
        """Collect within the block; after it: layer -> rows of each of its calls, each (groups, n, features)."""
        before, self._inputs = self._inputs, {}
        found: dict[str, list[Tensor]] = {}
        try:
            yield found
            self._generator.manual_seed(seed)
            for name, calls in self._inputs.items():
                layer = self._convolutions.get(name)
                if self._observed is not None:
                    calls = self._observed(name, calls)
                    if layer is None:
                        calls = [inputs.reshape(1, -1, inputs.shape[-1]) for inputs in calls]
                found[name] = (
                    list(calls)
                    if layer is None
                    else [rows(layer, inputs, self.patches, self._generator) for inputs in calls]
                )
        finally:
            self._inputs = before
