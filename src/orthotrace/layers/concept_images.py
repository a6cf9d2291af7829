"""What the images of concepts answer to the axes of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orthotrace.layers.reductions import Reduction, reduced


@dataclass(frozen=True)
class ConceptInputs:
    """What a layer is given of the images of one concept.

    Attributes:
        axes: of the concept, a range.
        values: inputs of the layer, (n, d) or (n, d, places...), in float32 at least.
        mask: weights of the places, (n, places...), or None.
        means: of each image over its places, or its mask, (n, d).
    """

    axes: slice
    values: Tensor
    mask: Tensor | None
    means: Tensor

    @property
    def kind(self) -> tuple[object, ...]:
        """What concepts must share to be reduced together."""
        return self.axes.stop - self.axes.start, self.values.shape[2:], self.mask is None

    def maps(self, rows: Tensor, offset: Tensor) -> Tensor:
        """Maps of these rows, one for each axis, less an offset, (n, axes, places...)."""
        if self.values.ndim == 2:
            return torch.addmm(-offset, self.values, rows.T)
        rows = rows.expand(len(self.values), -1, -1)
        return torch.baddbmm(-offset[:, None], rows, self.values.flatten(2)).unflatten(2, self.values.shape[2:])

    def pulled(self, slopes: Tensor) -> Tensor:
        """Gradient in the rows of a gradient in the maps, but for the offset, (axes, d)."""
        if self.values.ndim == 2:
            return slopes.T @ self.values
        return torch.bmm(slopes.flatten(2), self.values.flatten(2).mT).sum(0)


class SeenConcepts:
    """Images of concepts, seen through a whitening by few rows of a rotation: r W (x - mu) = (r W) x - (r W) mu.

    Rows are few and images many, so that rows are whitened, not images. Images of all concepts are reduced together.

    Args:
        concepts: inputs of each.
        mean: mu, (d,).
        root: W, (d, d), symmetric.
        reduction: from maps to activations.

    Example:
        >>> one = ConceptInputs(slice(0, 1), torch.ones(5, 3), None, torch.ones(5, 3))
        >>> images = SeenConcepts([one], torch.zeros(3), torch.eye(3), "mean")
        >>> objective, gradient = images.slope(torch.eye(3)[:1])
        >>> float(objective), gradient
        (1.0, tensor([[1., 1., 1.]]))
    """

    def __init__(self, concepts: Sequence[ConceptInputs], mean: Tensor, root: Tensor, reduction: Reduction) -> None:
        self.concepts = concepts
        self.mean = mean
        self.root = root
        self.reduction: Reduction = reduction
        # The mean of a map is the map of the mean.
        used = (
            [ConceptInputs(one.axes, one.means, None, one.means) for one in concepts]
            if reduction == "mean"
            else concepts
        )
        self.groups: dict[tuple[object, ...], list[ConceptInputs]] = {}
        for one in used:
            self.groups.setdefault(one.kind, []).append(one)

    def whitened(self, features: Tensor) -> Tensor:
        """Features whitened, (n, d)."""
        return (features - self.mean) @ self.root

    def objective(self, rows: Tensor) -> Tensor:
        """Sum over concepts of the mean over their images of the largest activation of their axes.

        Args:
            rows: of all axes, (axes, d).
        """
        turned = rows.to(self.root.dtype) @ self.root
        found = [self._of(group, self._maps(group, turned)) for group in self.groups.values()]
        return torch.stack(found).sum() if found else rows.new_zeros(())

    def slope(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The objective and its gradient in the rows: automatic down to the maps, which are small."""
        turned = rows.detach().to(self.root.dtype) @ self.root
        pulled, counted = torch.zeros_like(turned), turned.new_zeros(len(turned))
        total = turned.new_zeros(())
        for group in self.groups.values():
            with torch.enable_grad():
                maps = self._maps(group, turned).detach().requires_grad_()
                found = self._of(group, maps)
            (slopes,) = torch.autograd.grad(found, maps)
            total = total + found.detach()
            for one, part in zip(group, slopes.split([len(one.values) for one in group]), strict=True):
                pulled[one.axes] += one.pulled(part)
                counted[one.axes] += part.transpose(0, 1).flatten(1).sum(1)
        return total, torch.addr(pulled, counted, self.mean, alpha=-1) @ self.root

    def _maps(self, group: Sequence[ConceptInputs], turned: Tensor) -> Tensor:
        offset = turned @ self.mean
        return torch.cat([one.maps(turned[one.axes], offset[one.axes]) for one in group])

    def _of(self, group: Sequence[ConceptInputs], maps: Tensor) -> Tensor:
        """The objective of maps of a group."""
        masks = [one.mask for one in group if one.mask is not None]
        answers = reduced(maps, self.reduction, torch.cat(masks) if masks else None).amax(1)
        return torch.stack([part.mean() for part in answers.split([len(one.values) for one in group])]).sum()
