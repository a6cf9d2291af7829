"""Pure functions on matrices. Rows are vectors: a basis has shape (rank, width), a set of samples (n, width)."""

from __future__ import annotations

import torch
from torch import Tensor


def orthonormalise(rows: Tensor, against: Tensor | None = None) -> Tensor:
    """Orthonormal rows with the span of the given rows, outside the span of ``against``.

    QR of the transpose, twice: the second pass removes what rounding left of ``against`` when a row lay
    nearly inside it ("twice is enough", Kahan, in Parlett, The Symmetric Eigenvalue Problem, 1980, 6.9).

    Args:
        rows: (k, width), linearly independent, also modulo ``against``; k + len(against) <= width.
        against: orthonormal rows (rank, width), or None.

    Returns:
        (k, width).

    Example:
        >>> q = orthonormalise(torch.tensor([[3.0, 4.0, 0.0], [1.0, 0.0, 1.0]]))
        >>> is_orthonormal(q)
        True
    """
    for _ in range(1 if against is None else 2):
        if against is not None:
            rows = project_out(rows, against)
        rows = torch.linalg.qr(rows.T).Q.T
    return rows.contiguous()


def project_out(rows: Tensor, basis: Tensor) -> Tensor:
    """The rows without their components inside the basis: X - (X M^T) M.

    Args:
        rows: (n, width).
        basis: orthonormal rows M, (rank, width).

    Example:
        >>> project_out(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0]]))
        tensor([[1., 0.]])
    """
    if not len(basis):
        return rows
    return rows - (rows @ basis.T) @ basis


def is_orthonormal(rows: Tensor, tolerance: float | None = None) -> bool:
    """Whether M M^T = I within the tolerance, by default 100 times the precision of the type.

    Example:
        >>> is_orthonormal(torch.eye(2, 3)), is_orthonormal(2 * torch.eye(2, 3))
        (True, False)
    """
    if tolerance is None:
        tolerance = 100 * torch.finfo(rows.dtype).eps
    identity = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    return bool((rows @ rows.T - identity).abs().amax() <= tolerance) if len(rows) else True


def leak(update: Tensor, basis: Tensor, weight: Tensor) -> float:
    """How much of an update lies in the protected directions: |dW M^T| / max(|dW|, |W|), Frobenius norms.

    The weight is in the denominator because rounding W to its type alone moves it by eps |W|.

    Args:
        update: dW, (out, width), accumulated since the task's start.
        basis: M, (rank, width).
        weight: W, (out, width).

    Returns:
        At least 0; 0 where nothing is protected.

    Example:
        >>> leak(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2))
        0.8
    """
    size = max(float(update.double().norm()), float(weight.double().norm()))
    inside = float((update.double() @ basis.double().T).norm())
    return round(inside / size, 15) if size else 0.0


def residual_energy(moment: Tensor, basis: Tensor, data: int) -> float:
    """The energy that a basis leaves in the first ``data`` columns: tr of ((I - P) C (I - P)) there, P = M^T M.

    Args:
        moment: second moment C = X^T X of the rows, (width, width).
        basis: orthonormal rows M, (rank, width).
        data: how many leading columns count; the constant of a bias comes after them.

    Example:
        >>> residual_energy(torch.diag(torch.tensor([4.0, 1.0])), torch.tensor([[1.0, 0.0]]), 2)
        1.0
    """
    left = project_out(project_out(moment, basis).T, basis)
    return float(left.diagonal()[:data].sum().clamp_min(0))


def principal_rows(moment: Tensor, frozen: Tensor, count: int) -> Tensor:
    """The exact answer to what a subspace estimates: the principal directions outside the frozen rows.

    Eigenvectors of the ``count`` largest eigenvalues of (I - P) C (I - P), P = F^T F.

    Args:
        moment: second moment C = X^T X of the rows, (width, width).
        frozen: orthonormal rows F that are already held, (rank, width).
        count: how many rows to return; at most width - rank.

    Returns:
        (count, width), largest first.

    Example:
        >>> principal_rows(torch.diag(torch.tensor([4.0, 9.0])), torch.zeros(0, 2), 1).abs()
        tensor([[0., 1.]])
    """
    left = project_out(project_out(moment, frozen).T, frozen)
    vectors = torch.linalg.eigh((left + left.T) / 2).eigenvectors
    return vectors[:, vectors.shape[1] - count :].T.flip(0).contiguous()
