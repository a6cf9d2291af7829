"""The kinds of blocks that a network may be described by."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from orthotrace.core.errors import UserError, nearest, refuse_unknown, short
from orthotrace.models.style import BlockStyle

# What makes a block of each kind, by name: a kind is imported where it is chosen. Each is a class that takes the shape
# of its input, the style of the network and its own keys, and has the shape of its output.
KINDS = {
    "conv": "orthotrace.models.plain_blocks.ConvBlock",
    "linear": "orthotrace.models.plain_blocks.LinearBlock",
    "pool": "orthotrace.models.plain_blocks.PoolBlock",
    "inception": "orthotrace.models.inception.Inception",
    "separable": "orthotrace.models.separable.Separable",
    "inverted": "orthotrace.models.separable.InvertedResidual",
    "fractal": "orthotrace.models.fractal.Fractal",
}


def make_block(described: Mapping[str, Any], shape: tuple[int, ...], style: BlockStyle) -> Any:
    """A block as a mapping describes it: its kind, and the keys of that kind.

    Args:
        described: with a ``kind``.
        shape: of the input.
        style: of the network.

    Raises:
        UserError: an unknown kind or key, a value out of its range, or maps where there are none.

    Example:
        >>> make_block({"kind": "conv", "channels": 4}, (3, 8, 8), BlockStyle()).shape
        (4, 8, 8)
    """
    if "kind" not in described:
        raise UserError(f"is missing; {nearest('', KINDS)}", "kind")
    keys = {name: value for name, value in described.items() if name != "kind"}
    kind = str(described["kind"])
    refuse_unknown([kind], KINDS, "there is no kind", "kind")
    if reserved := [name for name in keys if name in ("shape", "style")]:
        raise UserError("no such option", reserved[0])
    if len(shape) != 3 and kind != "linear":
        what = f"units ({shape[0]})" if len(shape) == 1 else f"inputs of the shape {short(str(shape))}"
        raise UserError(f"{kind} works on maps (channels, height, width), and is given {what}", "kind")
    module, _, name = KINDS[kind].rpartition(".")
    return getattr(import_module(module), name)(shape, style, **keys)
