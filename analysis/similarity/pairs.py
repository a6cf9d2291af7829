"""Two representations of the same stimuli, as every measure takes them.

They come as arrays or tensors, (n, p) and (n, q); tensors stay in their type and on their device, in float32 at least.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.core.errors import UserError

Activations = Tensor | ArrayLike


def centred_pair(x: Activations, y: Activations, least: int = 3, units: bool = False) -> tuple[Tensor, Tensor]:
    """Two matrices of the same stimuli, their features centred; in units of their largest entries, or in their own.

    Raises:
        UserError: see matrix; different numbers of stimuli, or a representation that is constant.
    """
    a, b = matrix(x, least, name="first"), matrix(y, least, name="second")
    if len(a) != len(b):
        raise UserError(f"the same stimuli are needed: the first has {len(a)}, the second {len(b)}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    return _centred(a.to(dtype), "first", units), _centred(b.to(dtype).to(a.device), "second", units)


def _centred(x: Tensor, name: str, units: bool) -> Tensor:
    # In units of the largest entry: squares of 1e200 are no numbers.
    size = x.abs().amax()
    x = x / size if size > 0 else x
    centred = x - x.mean(0)
    if float(centred.abs().amax()) <= 8 * torch.finfo(x.dtype).eps:
        raise UserError(f"the {name} representation is constant over the stimuli: it has no similarity to anything")
    return centred * size if units else centred


def gram_matrix(x: Tensor) -> Tensor:
    """K = H X X^T H, in float64 from products in the matrix's own type."""
    return (x @ x.T).double()


def double_centred(k: Tensor) -> Tensor:
    """H K H, with H = I - 11^T/n."""
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def squared_distances(x: Tensor) -> Tensor:
    """|x_i - x_j|^2 of all stimuli, (n, n), in float64."""
    gram = gram_matrix(x)
    size = gram.diagonal()
    return (size[:, None] + size[None] - 2 * gram).clamp_min(0).fill_diagonal_(0)
