"""Deep belief networks: the layers of a network learn from images without labels, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked, refuse_unknown
from orthotrace.core.seeds import derived
from orthotrace.layers.nonlinearities import NONLINEARITIES
from orthotrace.layers.rbm import RBM

# What may stand between Linear layers that follow each other.
BETWEEN = (nn.Flatten, nn.Identity, nn.Dropout, *NONLINEARITIES)
# Images whose hidden units are computed at once.
AT_ONCE = 1024


@checked
def dbn(
    model: nn.Module,
    images: Tensor,
    visible: Literal["auto", "binary", "gaussian"] = "auto",
    steps: Annotated[int, Field(ge=1)] = 1,
    epochs: Annotated[int, Field(ge=1)] = 5,
    lr: Annotated[float, Field(gt=0)] = 0.05,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    persistent: bool = False,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> list[str]:
    """Give the Linear layers of a network the weights and biases of restricted Boltzmann machines, in place.

    The machine of the first layer learns from the images, and each next one from the hidden probabilities of the one
    before, sigmoid(c + W v). These are the units of a deep belief network; a network of another nonlinearity, such as
    ReLU, starts from the same weights, and computes something else with them.

    Args:
        model: a Sequential of Linear layers with nonlinearities between them.
        images: that it learns from, (n, ...); they are flattened.
        visible: units of the first machine; "auto" for binary ones where all images are within [0, 1], else Gaussian
            ones, of variance 1. All other units are binary.
        steps: of Gibbs sampling, k of CD-k.
        epochs: of each machine over the images.
        lr: learning rate, above 0; a tenth of it for Gaussian units.
        momentum: of the steps, in [0, 1).
        batch_size: images of a step.
        persistent: the chains of the sampling go on from step to step.
        layers: names of the layers, the first ones of the network in their order; None for all but the last, the
            readout.
        seed: of all draws.

    Returns:
        The names of the layers.

    Raises:
        UserError: a network of other layers, a layer without a bias, layers that are not the first ones, binary units
            for images outside of [0, 1], an argument out of its range, or weights that are no longer finite.

    Source: Hinton, Osindero & Teh, A Fast Learning Algorithm for Deep Belief Nets, Neural Computation 2006; Bengio et
    al., Greedy Layer-Wise Training of Deep Networks, NIPS 2006.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Sigmoid(), nn.Linear(2, 2))
        >>> dbn(model, torch.eye(4), epochs=1)
        ['0', '2']
    """
    chosen = _chosen(model, layers)
    first = next(iter(chosen.values())).weight
    values = images.flatten(1).to(first)
    within = bool(((values >= 0) & (values <= 1)).all())
    if visible == "binary" and not within:
        raise UserError("the images have values outside of [0, 1]: take gaussian", "visible")
    units = "binary" if visible != "gaussian" and within else "gaussian"
    for number, (name, layer) in enumerate(chosen.items()):
        machine = RBM(layer.in_features, layer.out_features, units, derived(seed, number, 1)).to(layer.weight)
        rate = lr / 10 if units == "gaussian" else lr
        machine.fit(values, steps, epochs, rate, momentum, batch_size, persistent, derived(seed, number, 2))
        with torch.no_grad():
            layer.weight.copy_(machine.weight)
            layer.bias.copy_(machine.hidden_bias)
            if name != list(chosen)[-1]:
                values = torch.cat([machine(part) for part in values.split(AT_ONCE)])
        units = "binary"
    return list(chosen)


def _chosen(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Linear]:
    """The layers that learn, in their order."""
    there: dict[str, nn.Linear] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            there[name] = module
        elif not isinstance(module, BETWEEN) and type(module).forward is not nn.Sequential.forward:
            of = f"'{name}' is" if name else "the model is"
            raise UserError(
                f"trains Linear layers that follow each other, as those of model=mlp, and {of} {type(module).__name__}"
            )
    if names is not None:
        refuse_unknown(names, there, "there is no Linear layer", "layers")
        if list(names) != list(there)[: len(names)] or not names:
            raise UserError(f"each layer learns from the one before: name the first of {', '.join(there)}", "layers")
    chosen = {name: there[name] for name in (list(there)[:-1] if names is None else names)}
    if not chosen:
        raise UserError("the model has no Linear layer beside its readout", "layers")
    for name, layer in chosen.items():
        if layer.bias is None:
            raise UserError(f"layer '{name}' has no bias, where hidden units keep theirs")
    return chosen
