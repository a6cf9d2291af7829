"""Shape metrics: what is left after the best orthogonal map (Procrustes)."""

import torch
from torch import Tensor

from orthotrace.analysis.rdm.arrays import representable
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import Activations, centred_pair

# Share of |X|^2 + |Y|^2 below which d^2 is not taken from them: 1e-10 of it would be rounding.
CLOSE = 1e-6


def _smaller(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The same up to orthogonal maps in float64, by the smaller of the features and the stimuli."""
    x, y = x.double(), y.double()
    if len(x) < min(x.shape[1], y.shape[1]):
        # X = A U^T with A (n, n): the singular values of U A^T B V^T are those of A^T B.
        x, y = (torch.linalg.qr(one.T, mode="r").R.T for one in (x, y))
    return x, y


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """The Procrustes distance d, also of representations that are nearly the same."""
    x, y = _smaller(x, y)
    size, cross = x.square().sum() + y.square().sum(), x.T @ y
    squared = size - 2 * torch.linalg.svdvals(cross).sum()
    if squared > CLOSE * size:
        return squared.sqrt()
    # What is left, itself: X^T Y = U S V^T, and d^2 = |X U - Y V|^2 + |X - X U U^T|^2 + |Y - Y V V^T|^2.
    u, _, v = torch.linalg.svd(cross, full_matrices=False)
    parts = (x @ u - y @ v.T, x - x @ u @ u.T, y - y @ v.T @ v)
    return torch.stack([part.norm() for part in parts]).norm()


@declare("orthogonal", "permutation", "translation", metric=True)
def procrustes(x: Activations, y: Activations) -> float:
    """Procrustes distance: what is left of the difference after the best orthogonal map.

        d^2 = |X|_F^2 + |Y|_F^2 - 2 |X^T Y|_*

    A metric, of centred representations in their own units.

    Args, Raises: as cka.linear_cka; representations of different widths are compared as if padded by zeros.

    Returns:
        At least 0.

    Source: Williams, Kunz, Kornblith & Linderman, Generalized Shape Metrics, NeurIPS 2021.

    Example:
        >>> round(procrustes(torch.eye(3), 2 * torch.eye(3)[:, [1, 2, 0]]), 4)
        1.4142
    """
    a, b = centred_pair(x, y)
    sizes = [matrix(one, key=name).abs().amax().to(a.device).double() for name, one in (("x", x), ("y", y))]
    # In units of the larger of both: squares overflow.
    size = torch.maximum(*sizes)
    a, b = a * (sizes[0] / size).to(a.dtype), b * (sizes[1] / size).to(b.dtype)
    return float(representable(float(_apart(a, b)) * float(size), "x"))


@declare("orthogonal", "permutation", "scaling", "translation")
def procrustes_cosine(x: Activations, y: Activations) -> float:
    """Cosine of the angle between two representations after the best orthogonal map.

        |X^T Y|_* / (|X|_F |Y|_F)

    Args, Raises: as procrustes.

    Returns:
        In [0, 1].

    Source: Williams, Kunz, Kornblith & Linderman, NeurIPS 2021.
    """
    a, b = _smaller(*centred_pair(x, y))
    return float((torch.linalg.svdvals(a.T @ b).sum() / (a.norm() * b.norm())).clamp_max(1))


@declare("orthogonal", "permutation", "scaling", "translation", metric=True)
def procrustes_angle(x: Activations, y: Activations) -> float:
    """Angle between two representations after the best orthogonal map, arccos of procrustes_cosine; a metric.

    Args, Raises: as procrustes.

    Returns:
        In [0, pi / 2].

    Source: Williams, Kunz, Kornblith & Linderman, NeurIPS 2021.
    """
    # By the half angle: the arc cosine alone loses half of the digits near 1.
    a, b = centred_pair(x, y)
    a, b = (one.double() / one.double().norm() for one in (a, b))
    return float(2 * torch.asin((_apart(a, b) / 2).clamp_max(1)))
