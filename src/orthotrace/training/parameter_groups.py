"""The parameters of a network, grouped by learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from orthotrace.core.errors import UserError, nearest


def parameter_groups(model: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The trainable parameters, grouped by learning rate, as optimizers take them.

    Args:
        model: whose parameters.
        rates: name of a layer or a parameter -> its learning rate; the longest name that matches counts.

    Raises:
        UserError: a name that matches no trainable parameter, or a rate that is not positive.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
        >>> [(len(group["params"]), group.get("lr")) for group in parameter_groups(model, {"0.weight": 0.5})]
        [(3, None), (1, 0.5)]
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    layers = {name.rpartition(".")[0] for name in parameters}
    for name, rate in rates.items():
        if not any(f"{parameter}.".startswith(f"{name}.") for parameter in parameters):
            raise UserError(f"no parameter has the name '{name}'; {nearest(name, [*parameters, *layers])}", "rates")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate <= 0:
            raise UserError(f"the rate of {name} must be a positive number (got {rate})", "rates")
    groups: dict[str | None, list[nn.Parameter]] = {None: []}
    for parameter, value in parameters.items():
        names = [name for name in rates if f"{parameter}.".startswith(f"{name}.")]
        groups.setdefault(max(names, key=len, default=None), []).append(value)
    return [
        {"params": values} if name is None else {"params": values, "lr": rates[name]}
        for name, values in groups.items()
        if values
    ]
