"""Outputs of layers for concept images, and how well concepts can be read from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from orthotrace.analysis.concepts.axes import Separability, axis_correlations, separability, whiteness
from orthotrace.analysis.concepts.images import PARTS, LabelledImages
from orthotrace.analysis.concepts.importance import Importance, importance
from orthotrace.analysis.concepts.purity import (
    ConceptFeatures,
    Purity,
    best_filter,
    concept_vector,
    linear_probe,
    purity,
)
from orthotrace.core.errors import UserError

Matrix = NDArray[np.float64]
# Images that a network takes at once.
BATCH = 500


@dataclass(frozen=True, eq=False)
class LayerOutputs:
    """A layer of one network, for the images of every part.

    Attributes:
        concepts: names.
        before: what enters the layer, reduced over places: part -> (n, channels).
        after: what leaves it, likewise.
        active: how active each concept is, by its axes: part -> (n, concepts); None for a layer without axes.
        means: what leaves the layer for test images, mean over places, (n, channels).
        white: |cov - I|_F / sqrt(d) of what leaves it, over test images and places.
        axes: of each concept, the rows of its axes in the channels before the layer, (axes, channels); or None.
        has: part -> (n, concepts).
    """

    concepts: tuple[str, ...]
    before: Mapping[str, Matrix]
    after: Mapping[str, Matrix]
    active: Mapping[str, Matrix] | None
    means: Matrix
    white: float
    axes: tuple[Matrix, ...] | None
    has: Mapping[str, NDArray[np.bool_]]

    def part(self, name: str, values: Mapping[str, Matrix]) -> ConceptFeatures:
        """Values of a part beside which concepts its images have."""
        return ConceptFeatures(values[name], self.has[name])


@dataclass(frozen=True, eq=False)
class ConceptEvaluation:
    """How well the concepts can be read from a layer, on test images.

    Attributes:
        axis: purity of the concepts' axes; None for a layer without axes.
        filter: of the best single channel: of those before the layer where it has axes, else of those after it.
        probe: of a linear probe on what leaves the layer.
        vector: of a concept-activation vector on it.
        separate: of the concepts' features, means over places.
        correlations: of the channels after the layer, |r|, reduced over places.
        white: as in LayerOutputs.
    """

    axis: Purity | None
    filter: Purity
    probe: Purity
    vector: Purity
    separate: Separability
    correlations: Matrix
    white: float


def read_layer(
    model: nn.Module, layer: str, images: Mapping[str, LabelledImages], concepts: tuple[str, ...], reduction: Any
) -> LayerOutputs:
    """Read a layer of a network in evaluation mode, for images of each part.

    Its inputs and outputs have channels, (n, channels, places...); the reduction makes numbers of such maps. Concepts
    are in the order of the images' ``has``.

    Raises:
        UserError: there is no such layer, or it is not called once.
    """
    module: Any = dict(model.named_modules()).get(layer)
    if module is None:
        raise UserError(f"there is no layer '{layer}'")
    dim = getattr(module, "channel_dim", 1)
    before: dict[str, Matrix] = {}
    after: dict[str, Matrix] = {}
    active: dict[str, Matrix] = {}
    means, moments = np.zeros((0, 0)), 0.0
    for part, of in images.items():
        rows: list[list[Tensor]] = [[], [], [], []]
        total: list[Tensor] = []
        for given, found in _calls(model, module, of):
            maps = found.movedim(dim, 1)
            rows[0].append(reduction(given.movedim(dim, 1)))
            rows[1].append(reduction(maps))
            if hasattr(module, "concept_activations"):
                rows[2].append(module.concept_activations(found))
            if part == "test":
                rows[3].append(maps.flatten(2).mean(2) if maps.ndim > 2 else maps)
                total.append(maps.transpose(0, 1).flatten(1).T)
        before[part], after[part] = (torch.cat(values).double().numpy() for values in rows[:2])
        if rows[2]:
            active[part] = torch.cat(rows[2]).double().numpy()
        if part == "test":
            means, moments = torch.cat(rows[3]).double().numpy(), whiteness(torch.cat(total))
    axes = None
    if active:
        order = [list(module.axes.names).index(name) for name in concepts]
        active = {part: values[:, order] for part, values in active.items()}
        matrix = module.affine()[0].detach().double().numpy()
        axes = tuple(matrix[list(module.axes.of[name])] for name in concepts)
    has = {part: of.has for part, of in images.items()}
    return LayerOutputs(concepts, before, after, active or None, means, moments, axes, has)


def _calls(model: nn.Module, module: nn.Module, images: LabelledImages) -> Any:
    """Input and output of a module for each batch of images."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = module.register_forward_hook(lambda _, given, found: seen.append((given[0].clone(), found.clone())))
    like = next(model.parameters())
    try:
        for start in range(0, len(images.inputs), BATCH):
            seen.clear()
            place = slice(start, start + BATCH)
            with torch.no_grad():
                model(images.inputs[place].to(like))
            if len(seen) != 1:
                raise UserError(f"the layer is called {len(seen)} times in a forward pass, not once")
            yield seen[0]
    finally:
        handle.remove()


def evaluate_concepts(outputs: LayerOutputs, level: float = 0.95) -> ConceptEvaluation:
    """How well the concepts can be read from the outputs of a layer for train, validation and test images."""
    channels = outputs.after if outputs.active is None else outputs.before
    train, validation, test = (outputs.part(name, outputs.after) for name in PARTS)
    return ConceptEvaluation(
        axis=axis_purity(outputs, level),
        filter=best_filter(outputs.part("validation", channels), outputs.part("test", channels), level),
        probe=linear_probe(train, validation, test, level=level),
        vector=concept_vector(train, test, level),
        separate=separability(outputs.means, outputs.has["test"], self_pairs=True),
        correlations=axis_correlations(outputs.after["test"]),
        white=outputs.white,
    )


def axis_purity(outputs: LayerOutputs, level: float = 0.95) -> Purity | None:
    """Purity of the concepts' axes on test images; None for a layer without axes."""
    return None if outputs.active is None else purity(outputs.active["test"], outputs.has["test"], level)


def concept_importance(
    model: nn.Module,
    layer: str,
    inputs: Tensor,
    labels: Tensor,
    outputs: range,
    concepts: Sequence[str],
    repeats: int = 3,
) -> Importance:
    """Importance of the axes of each concept, together, for the classes, by permutation over test images.

    Of a model in evaluation mode, one of its concept layers, and its active outputs; labels are those of the outputs.
    """
    module: Any = model.get_submodule(layer)
    features = torch.cat(
        [found for _, found in _calls(model, module, LabelledImages(inputs, np.zeros((len(inputs), 0), bool)))]
    )
    axes = [module.axes.of[name] for name in concepts]

    def losses(changed: Tensor) -> Tensor:
        parts = []
        for start in range(0, len(inputs), BATCH):
            place = slice(start, start + BATCH)
            handle = module.register_forward_hook(lambda _, given, found, place=place: changed[place])
            try:
                with torch.no_grad():
                    logits = model(inputs[place].to(features))
            finally:
                handle.remove()
            parts.append(
                cross_entropy(logits[:, outputs.start : outputs.stop], labels[place] - outputs.start, reduction="none")
            )
        return torch.cat(parts)

    return importance(losses, features, axes, labels.numpy(), repeats, dim=module.channel_dim)
