"""Shape metrics: what is left after the best orthogonal map (Procrustes)."""

import torch
from torch import Tensor

from orthotrace.analysis.rdm.arrays import representable
from orthotrace.analysis.rdm.patterns import matrix
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.similarity.pairs import Activations, centred_pair


def _nuclear(x: Tensor, y: Tensor) -> Tensor:
    """|X^T Y|_*, by the smaller of the features and the stimuli."""
    if len(x) < min(x.shape[1], y.shape[1]):
        # X = A U^T with A (n, n): the singular values of U A^T B V^T are those of A^T B.
        x, y = (torch.linalg.qr(one.double().T, mode="r").R.T for one in (x, y))
    return torch.linalg.svdvals(x.T.double() @ y.double()).sum()


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
    squared = a.double().square().sum() + b.double().square().sum() - 2 * _nuclear(a, b)
    return float(representable(float(squared.clamp_min(0).sqrt()) * float(size), "x"))


@declare("orthogonal", "permutation", "scaling", "translation")
def procrustes_cosine(x: Activations, y: Activations) -> float:
    """Cosine of the angle between two representations after the best orthogonal map.

        |X^T Y|_* / (|X|_F |Y|_F)

    Args, Raises: as procrustes.

    Returns:
        In [0, 1].

    Source: Williams, Kunz, Kornblith & Linderman, NeurIPS 2021.
    """
    a, b = centred_pair(x, y)
    return float((_nuclear(a, b) / (a.double().norm() * b.double().norm())).clamp_max(1))


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
    apart = (2 - 2 * _nuclear(a, b)).clamp_min(0).sqrt()
    return float(2 * torch.asin((apart / 2).clamp_max(1)))
