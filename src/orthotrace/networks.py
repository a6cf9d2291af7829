"""A network as a configuration describes it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from orthotrace.configuration import build, plain
from orthotrace.errors import UserError


def make_network(config: DictConfig, shape: Sequence[int], classes: int) -> nn.Module:
    """The network of a configuration, its weights made orthogonal if ``model.weights`` says so.

    Args:
        config: the whole configuration; ``model.weights`` with a ``kind`` holds the arguments of ``orthogonalise``,
            anything else below ``model`` goes to the model's own class.
        shape: of one input.
        classes: outputs.

    Raises:
        UserError: a value that does not fit; names its path.

    Example:
        >>> node = {"_target_": "orthotrace.models.mlp.MLP", "hidden": [6], "weights": {"kind": "own", "group": 2}}
        >>> make_network(OmegaConf.create({"model": node}), (1, 3, 3), 2).fc1
        ParametrizedLinear(
          in_features=9, out_features=6, bias=True
          (parametrizations): ModuleDict(
            (weight): ParametrizationList(
              (0): OWN()
            )
          )
        )
    """
    weights = OmegaConf.select(config, "model.weights")
    # A model of the user's own may have an argument of this name, such as one that says what it was trained on.
    if not OmegaConf.is_dict(weights) or "kind" not in weights:
        return build(config, "model", shape=shape, classes=classes)
    from orthotrace.layers import orthogonalise

    rest = copy.deepcopy(config)
    with open_dict(rest):
        del rest.model["weights"]
    model = build(rest, "model", shape=shape, classes=classes)
    try:
        orthogonalise(model, **plain(weights))
    except UserError as error:
        raise error.below("model.weights") from error
    return model
