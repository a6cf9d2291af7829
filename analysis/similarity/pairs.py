"""Two representations of the same stimuli, as every measure takes them.

They come as arrays of any kind that arrays.real takes, (n, p) and (n, q), and are computed with in float64; tensors
stay on their device.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from orthotrace.analysis.rdm.arrays import same_index
from orthotrace.analysis.rdm.dissimilarity import BLOCK
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.rdm.products import largest, moments
from orthotrace.analysis.rdm.rounding import squared_distances as rdm_distances
from orthotrace.analysis.rdm.triangles import square
from orthotrace.core.errors import UserError

Activations = Tensor | ArrayLike


def centred_pair(x: Activations, y: Activations, least: int = 3) -> tuple[Tensor, Tensor]:
    """Two matrices of the same stimuli in float64, their features centred; in units of their largest entries.

    Raises:
        UserError: see matrix; different numbers of stimuli, or a representation that is constant.
    """
    a, b = plain_pair(x, y, least)
    return centred(a), centred(b)


def plain_pair(x: Activations, y: Activations, least: int = 3) -> tuple[Tensor, Tensor]:
    """Two matrices of the same stimuli, neither of which is constant, as they are, on the device of the first.

    Raises:
        UserError: as centred_pair.
    """
    same_index(x=x, y=y)
    a, b = matrix(x, least, name="first", key="x"), matrix(y, least, name="second", key="y")
    if len(a) != len(b):
        raise UserError(f"the same stimuli are needed: the first has {len(a)}, the second {len(b)}")
    for name, one in (("first", a), ("second", b)):
        _refuse_constant(one, name)
    return a, b.to(a.device)


def plain_one(x: Activations, least: int = 3) -> Tensor:
    """One matrix that is not constant, as it is.

    Raises:
        UserError: as plain_pair.
    """
    found = matrix(x, least, key="x")
    _refuse_constant(found, "")
    return found


def _refuse_constant(one: Tensor, name: str) -> None:
    spread, size = (one.amax(0).double() - one.amin(0)).amax(), largest(one).amax()
    if float(spread) <= 8 * torch.finfo(one.dtype).eps * float(size):
        which = f"the {name} representation" if name else "the representation"
        raise UserError(f"{which} is constant over the stimuli: it has no similarity to anything")


def centred(x: Tensor, kind: torch.dtype = torch.float64) -> Tensor:
    """One of the two, centred in float64, as the rounding of a mean would come to all stimuli alike; of some kind."""
    size = largest(x).amax().double()
    found = torch.empty_like(x, dtype=kind)
    for part, into in zip(x.split(BLOCK, dim=1), found.split(BLOCK, dim=1), strict=True):
        # In units of the largest entry: squares of 1e200 are no numbers.
        wide = part.double() / size
        into.copy_(wide.sub_(wide.mean(0)))
    return found


def gram_matrix(x: Tensor) -> Tensor:
    """K = H X X^T H, in float64: half of the products are enough."""
    return moments(x, BLOCK).products


def near_gram(x: Tensor) -> Tensor:
    """X X^T up to what double_centred takes off, in units of the largest entry where squares are no moderate numbers.

    Features lose their mean as far as their type has it: what is left comes to all stimuli alike.
    """
    size = float(largest(x).amax())
    size = 1.0 if 1e-8 < size < 1e8 else size

    def prepared(part: Tensor) -> Tensor:
        part = part if size == 1 else part / size
        return part - part.mean(0)

    return moments(x, BLOCK, prepared).products


def double_centred(k: Tensor) -> Tensor:
    """H K H, with H = I - 11^T/n."""
    return k - k.mean(0) - k.mean(1, keepdim=True) + k.mean()


def squared_distances(x: Tensor) -> Tensor:
    """|x_i - x_j|^2 of all stimuli, (n, n), in float64; of very large or small patterns in units of their largest."""
    return torch.from_numpy(square(rdm_distances(x, BLOCK)[0])).to(x.device)
