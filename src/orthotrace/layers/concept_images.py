"""What the images of a concept answer to rows of a rotation."""

from __future__ import annotations

import torch
from torch import Tensor

from orthotrace.layers.reductions import Reduction, reduced


class ConceptImages:
    """Inputs of a layer for the images of one concept, seen through its whitening: r W (x - mu) for few rows r.

    Rows are few and images many, so that rows are whitened, not images: (r W) x - (r W) mu.

    Args:
        values: (n, d) or (n, d, places...), in float32 at least.
        mean: mu, (d,).
        root: W, (d, d), symmetric.
        reduction: from maps to activations.
        mask: weights of the places, (n, places...).

    Attributes:
        means: mean features of each image, or of its mask, not whitened, (n, d); not finite where an image is not.

    Example:
        >>> images = ConceptImages(torch.ones(5, 3, 2, 2), torch.zeros(3), torch.eye(3), "mean")
        >>> objective, slope = images.slope(torch.eye(3)[:1])
        >>> float(objective), slope
        (1.0, tensor([[1., 1., 1.]]))
    """

    def __init__(
        self, values: Tensor, mean: Tensor, root: Tensor, reduction: Reduction, mask: Tensor | None = None
    ) -> None:
        self.mean = mean
        self.root = root
        self.reduction: Reduction = reduction
        self.means = reduced(values, "mean", mask)
        # The mean of a map is the map of the mean.
        self.values, self.mask = (self.means, None) if reduction == "mean" else (values, mask)

    def whitened_means(self) -> Tensor:
        """Mean whitened features of each image, (n, d)."""
        return (self.means - self.mean) @ self.root

    def objective(self, rows: Tensor) -> Tensor:
        """Mean over the images of the largest activation of these rows, (axes of the concept, d)."""
        return self._of(self._maps(rows))

    def slope(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The objective, and its gradient in the rows: automatic as far as to the maps, which are small."""
        maps = self._maps(rows.detach()).detach()
        with torch.enable_grad():
            found = self._of(maps.requires_grad_())
        (slopes,) = torch.autograd.grad(found, maps)
        if self.values.ndim == 2:
            sums, total = slopes.T @ self.values, slopes.sum(0)
        else:
            slopes = slopes.flatten(2)
            sums, total = torch.bmm(slopes, self.values.flatten(2).mT).sum(0), slopes.sum((0, 2))
        return found.detach(), (sums - total[:, None] * self.mean) @ self.root

    def _of(self, maps: Tensor) -> Tensor:
        return reduced(maps, self.reduction, self.mask).amax(1).mean()

    def _maps(self, rows: Tensor) -> Tensor:
        """Maps of the rows, (n, rows, places...)."""
        turned = rows.to(self.root.dtype) @ self.root
        offset = turned @ self.mean
        if self.values.ndim == 2:
            return self.values @ turned.T - offset
        maps = torch.bmm(turned.expand(len(self.values), -1, -1), self.values.flatten(2)) - offset[:, None]
        return maps.unflatten(2, self.values.shape[2:])
