"""Two representations of the same stimuli, as every measure takes them.

They come as arrays of any kind that arrays.real takes, (n, p) and (n, q), and are computed with in float64; tensors
stay on their device. Float32 of more than four million entries stays float32, but for its means and its products.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from orthotrace.analysis.rdm.arrays import same_index
from orthotrace.analysis.rdm.dissimilarity import BLOCK
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.products import gram, largest
from orthotrace.analysis.rdm.rounding import squared_distances as rdm_distances
from orthotrace.core.errors import UserError

Activations = Tensor | ArrayLike


def centred_pair(x: Activations, y: Activations, least: int = 3) -> tuple[Tensor, Tensor]:
    """Two matrices of the same stimuli, their features centred; in units of their largest entries.

    Raises:
        UserError: see matrix; different numbers of stimuli, or a representation that is constant.
    """
    same_index(x=x, y=y)
    a, b = matrix(x, least, name="first", key="x"), matrix(y, least, name="second", key="y")
    if len(a) != len(b):
        raise UserError(f"the same stimuli are needed: the first has {len(a)}, the second {len(b)}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return centred(a.to(dtype), "first"), centred(b.to(dtype).to(a.device), "second")


def centred(x: Tensor, name: str) -> Tensor:
    """One of the two."""
    # In units of the largest entry: squares of 1e200 are no numbers.
    size = largest(x).amax().double()
    size = size if size > 0 else torch.ones_like(size)
    found = torch.empty_like(x)
    for part, into in zip(x.split(BLOCK, dim=1), found.split(BLOCK, dim=1), strict=True):
        # In float64: the rounding of a mean would come to all stimuli alike.
        wide = part.double() / size
        into.copy_(wide - wide.mean(0))
    if float(found.abs().amax()) <= 8 * torch.finfo(x.dtype).eps:
        raise UserError(f"the {name} representation is constant over the stimuli: it has no similarity to anything")
    return found


def gram_matrix(x: Tensor) -> Tensor:
    """K = H X X^T H, in float64: half of the products are enough."""
    return gram((part.double() for part in x.split(BLOCK, dim=1)), x)


def double_centred(k: Tensor) -> Tensor:
    """H K H, with H = I - 11^T/n."""
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def squared_distances(x: Tensor) -> Tensor:
    """|x_i - x_j|^2 of all stimuli, (n, n), in float64, of patterns in units of their largest entry."""
    return rdm_distances(x, BLOCK)[0]
