"""A network as a configuration describes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from omegaconf import DictConfig, OmegaConf, open_dict

from orthotrace.config.build import build_a, plain
from orthotrace.config.outside import FEEDBACK
from orthotrace.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from orthotrace.data.streams import Stream


def make_network(
    config: DictConfig,
    shape: Sequence[int],
    classes: int,
    concepts: Sequence[str] | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """The network of a configuration, its weights orthogonal and its layers concept whitening where it says so.

    Args:
        config: the whole configuration; ``model.weights`` with a ``kind`` holds the arguments of ``orthogonalise``,
            ``model.feedback`` is the kind of ``feedback``, anything else below ``model`` goes to the model's own class.
        shape: of one input.
        classes: outputs.
        concepts: names, where ``concepts.layer`` names layers.
        weights: that it starts from, of such a network, or of one before its weights were made orthogonal, or before
            its layers became concept whitening, which then begin from these; None for drawn ones.

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
    start = _Start(weights, classes)
    ways = OmegaConf.select(config, "model.feedback")
    # A model of the user's own may have an argument of this name.
    if ways in get_args(FEEDBACK.annotation):
        config = copy.deepcopy(config)
        with open_dict(config):
            del config.model["feedback"]
    model = _weighted(config, shape, classes, start)
    if ways in get_args(FEEDBACK.annotation):
        from orthotrace.layers.feedback import feedback

        # Weights that were trained without it have no others.
        start(model)
        try:
            feedback(model, ways)
        except UserError as error:
            raise UserError(error.message, "model.feedback") from error
    layers = concept_layers_of(config)
    start(model, last=not layers)
    if layers:
        from orthotrace.layers import replace_norm

        for layer in layers:
            try:
                replace_norm(model, layer, concepts or (), **plain(config.concepts.whitening))
            except UserError as error:
                if error.key == "concepts":
                    raise UserError(error.message, "concepts") from error
                raise error.below("concepts" if error.key == "layer" else "concepts.whitening") from error
        start(model, last=True)
    return model


class _Start:
    """Puts weights into a network as soon as it has just these; once."""

    def __init__(self, weights: Mapping[str, Tensor] | None, classes: int) -> None:
        self.weights = weights
        self.classes = classes

    def __call__(self, model: nn.Module, last: bool = False) -> None:
        """Where the network is at one of its stages; at the last one they must fit."""
        if self.weights is None:
            return
        from orthotrace.models.weights import fits, load_weights

        if last or fits(model, self.weights):
            try:
                load_weights(model, self.weights, self.classes)
            except UserError as error:
                raise UserError(error.message, "init_from") from error
            self.weights = None


def concept_layers_of(config: DictConfig) -> list[str]:
    """Names of the layers that become concept whitening; none where no concepts are chosen.

    Raises:
        UserError: concepts are chosen, and no layer.
    """
    if OmegaConf.select(config, "concepts.sets") is None:
        return []
    layer = plain(OmegaConf.select(config, "concepts.layer"))
    if layer in (None, "", []):
        raise UserError("name the normalisation layer that concept whitening takes the place of", "concepts.layer")
    # Layers of a Sequential have numbers as names.
    names = [str(name) for name in layer] if isinstance(layer, (list, tuple)) else [str(layer)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"'{twice[0]}' is named twice", "concepts.layer")
    return names


def _weighted(config: DictConfig, shape: Sequence[int], classes: int, start: _Start) -> nn.Module:
    """The model, with weights of a kind where it has them."""
    from torch import nn

    weights = OmegaConf.select(config, "model.weights")
    # A model of the user's own may have an argument of this name, such as one that says what it was trained on.
    if not OmegaConf.is_dict(weights) or "kind" not in weights:
        return build_a(nn.Module, config, "model", shape=shape, classes=classes)
    from orthotrace.layers.weights import FROM_IMAGES, draws_anew

    rest = copy.deepcopy(config)
    with open_dict(rest):
        del rest.model["weights"]
    model = build_a(nn.Module, rest, "model", shape=shape, classes=classes)
    if weights["kind"] in FROM_IMAGES:
        if start.weights is not None:
            raise UserError(f"the network would start from other weights than {weights['kind']} learns", "init_from")
        # See pretrain.
        return model
    if not draws_anew(str(weights["kind"])):
        # What draws anew would not keep weights that were trained.
        start(model)
    _give(model, weights)
    return model


def pretrain(config: DictConfig, model: nn.Module, stream: Stream, seed: int) -> None:
    """Let a network learn its initial weights from images of the first task, where it has weights of such a kind.

    Once, when a run starts afresh, before its method meets the network.

    Args:
        config: the whole configuration.
        model: as make_network made it.
        stream: whose first task has the images; its labels are not looked at.
        seed: of all draws.

    Raises:
        UserError: a network whose layers cannot learn so, or a stream that is seen once.
    """
    weights = OmegaConf.select(config, "model.weights")
    if not OmegaConf.is_dict(weights) or "kind" not in weights:
        return
    from orthotrace.layers.weights import FROM_IMAGES

    if weights["kind"] in FROM_IMAGES:
        if stream.online:
            raise UserError("an online stream is seen once: there is no training before its first task", "weights")
        _give(model, weights, images=stream.task(0).train.inputs(), seed=seed)


def _give(model: nn.Module, weights: DictConfig, **more: Any) -> None:
    from orthotrace.layers.weights import give_weights

    try:
        options = plain(weights)
        if isinstance(options.get("layers"), list):
            # Layers of a Sequential have numbers as names.
            options["layers"] = [str(name) for name in options["layers"]]
        give_weights(model, **options, **more)
    except UserError as error:
        raise error.below("model.weights") from error
