"""Pure functions on matrices. Rows are vectors: a basis has shape (rank, width), a set of samples (n, width)."""

from collections.abc import Iterable
from math import hypot
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

# Entries of a large matrix that are copied, or taken to float64, at once.
AT_ONCE = 2**21


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
    # Features that are always zero leave entries of 1e-30 and less, and denormal numbers halve the speed of whatever
    # multiplies by them.
    return torch.where(rows.abs() < 1e-20, 0, rows).contiguous()


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


def is_finite(values: Tensor) -> bool:
    """Whether no entry is NaN or infinite.

    A sum is finite only where all its parts are: no copy is made, as isfinite makes of the absolute values, unless
    the sum is too large itself.

    Example:
        >>> is_finite(torch.tensor([1e38, 3e38])), is_finite(torch.tensor([1.0, float("nan")]))
        (True, False)
    """
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


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


def in_blocks(rows: int, width: int) -> list[slice]:
    """Some rows of a matrix at a time: as a whole in float64 a large one would take more than all that is kept of it.

    Example:
        >>> len(in_blocks(4096, 4096)), in_blocks(3, 2)
        (8, [slice(0, 3, None)])
    """
    size = max(1, AT_ONCE // max(1, width))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


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
    return leak_by_rows(((update[rows], weight[rows]) for rows in in_blocks(*update.shape)), basis)


def leak_by_rows(blocks: Iterable[tuple[Tensor, Tensor]], basis: Tensor) -> float:
    """As leak, of a matrix that is never there as a whole.

    Args:
        blocks: some rows of dW and of W at a time.
        basis: M, (rank, width).

    Example:
        >>> blocks = [(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)), (torch.zeros(1, 2), torch.zeros(1, 2))]
        >>> leak_by_rows(blocks, torch.tensor([[0.0, 1.0]]))
        0.8
    """
    directions = basis.double().T
    moved, sizes, inside = [], [], []
    for some, of in blocks:
        exact = some.double()
        moved.append(float(exact.norm()))
        inside.append(float((exact @ directions).norm()))
        sizes.append(float(of.double().norm()))
    size = max(hypot(*moved), hypot(*sizes))
    return round(hypot(*inside) / size, 15) if size else 0.0


def principal(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Principal directions of rows about the origin, by the eigenvectors of the smaller Gram matrix.

    With X = U S V^T: S^2 and V^T. Squaring halves the digits, so give float64; then directions whose singular value
    is below 1e-7 of the largest are noise, and left out.

    Args:
        rows: X, (n, width), finite.

    Returns:
        Energies (r,), largest first, and directions (r, width), r <= min(n, width).

    Example:
        >>> principal(torch.tensor([[0.0, 3.0], [1.0, 0.0], [0.0, 0.0]]).double())[0].round(decimals=9)
        tensor([9., 1.], dtype=torch.float64)
    """
    if not rows.any():
        return rows.new_zeros(0), rows[:0]
    wide = rows.shape[0] < rows.shape[1]
    values, vectors = torch.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    values, vectors = values.flip(0), vectors.flip(1)
    kept = int((values > values[:1] * max(rows.shape) * torch.finfo(rows.dtype).eps).sum())
    values, vectors = values[:kept], vectors[:, :kept]
    if not wide:
        return values, vectors.T.contiguous()
    # Normalised directions of small energies have lost their orthogonality to the large ones.
    return values, orthonormalise((vectors.T @ rows) / values.sqrt()[:, None])


def energy_shares(moment: Tensor, frozen: Tensor, held: Tensor) -> tuple[float, float]:
    """Share of the energy of inputs that rows hold, and the share that the best rows would hold at the same rank.

    With C the second moment of the inputs and P the projection onto the rows that were held before, L = (I - P) C
    (I - P). The rows M held now keep tr(M C M^T) of it; no rows of the same number that include the earlier ones keep
    more than tr(P C P) and the sum of the largest eigenvalues of L.

    Args:
        moment: C = X^T X, (width, width), not zero.
        frozen: rows held before, orthonormal, (rank, width).
        held: rows held now, orthonormal, (rank + k, width), whose span includes that of frozen.

    Returns:
        Two shares of tr(C), at most 1.

    Example:
        >>> moment = torch.diag(torch.tensor([3.0, 1.0]))
        >>> energy_shares(moment, moment[:0], torch.tensor([[0.0, 1.0]]))
        (0.25, 0.75)
    """
    total = float(moment.trace())
    now = float(((held @ moment) * held).sum())
    left = project_out(project_out(moment, frozen).T, frozen)
    best = float(torch.linalg.eigvalsh((left + left.T) / 2).flip(0)[: len(held) - len(frozen)].sum())
    before = total - float(left.trace())
    # Rounding may find more than there is.
    return min(1.0, now / total), min(1.0, (before + best) / total)


def row_energy_shares(rows: Tensor, frozen: Tensor, held: Tensor) -> tuple[float, float]:
    """As energy_shares, of inputs that are fewer than their width: by the eigenvalues of their Gram matrix.

    With P = X M^T for the rows M held before, what these leave over has the Gram matrix X X^T - P P^T.

    Args:
        rows: X, (n, width), of any floating type, not zero.
        frozen: as for energy_shares.
        held: likewise.

    Example:
        >>> rows = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> row_energy_shares(rows, rows[:0], torch.tensor([[0.0, 1.0, 0.0]]))
        (0.1, 0.9)
    """
    gram = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    within, before = (rows.new_zeros(len(rows), len(basis), dtype=torch.float64) for basis in (held, frozen))
    for columns in in_blocks(rows.shape[1], max(len(rows), len(held))):
        some = rows[:, columns].double()
        gram.addmm_(some, some.T)
        within.addmm_(some, held[:, columns].double().T)
        before.addmm_(some, frozen[:, columns].double().T)
    total = float(gram.trace())
    now = float(within.square().sum())
    gram.addmm_(before, before.T, alpha=-1)
    best = float(torch.linalg.eigvalsh(gram).flip(0)[: len(held) - len(frozen)].sum())
    before = total - float(gram.trace())
    # Rounding may find more than there is.
    return min(1.0, now / total), min(1.0, (before + best) / total)


def polar(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows: U V^T of M = U S V^T, which maximises <R, M> over R R^T = I.

    Args:
        matrix: M, (..., k, width), k <= width. Where its rank is below k, one of several nearest.

    Example:
        >>> polar(torch.tensor([[3.0, 4.0, 0.0]])).round(decimals=4)
        tensor([[0.6000, 0.8000, 0.0000]])
    """
    # The singular values of a thin matrix may span many orders, and float32 would mix up the small ones.
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return (u @ v).to(matrix.dtype)


def inverse_sqrt(moment: Tensor) -> Tensor:
    """Inverse square root of symmetric positive definite matrices, with a backward that equal eigenvalues do not break.

    With S = U diag(l) U^T: W = U diag(l^-1/2) U^T. Of a gradient G of W, that of S is U (K * (U^T G U)) U^T with
    K_ij = -1 / (sqrt(l_i l_j) (sqrt(l_i) + sqrt(l_j))): no difference of eigenvalues in a denominator. Differentiable
    as often as wanted. Eigenvalues are found in float64, since with 90 % of the trace in one of them float32 leaves
    errors of 1e-3 in the others.

    Args:
        moment: S, (..., width, width); its symmetric part counts.

    Returns:
        W, of the type of the moment.

    Source: Golub & Van Loan, Matrix Computations, 4th ed., section 9.4, for the Sylvester equation of the derivative.

    Example:
        >>> inverse_sqrt(torch.diag(torch.tensor([4.0, 1.0]))).round(decimals=4)
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    return _InverseSqrt.apply((moment + moment.mT) / 2)[0]


class _InverseSqrt(Function):
    """W = S^-1/2 of a symmetric S; dW = -X with W^-1 X + X W^-1 = W dS W. Also its eigenvectors and eigenvalues."""

    generate_vmap_rule = True

    @staticmethod
    def forward(moment: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(moment.double())
        roots = values.rsqrt()
        found = ((vectors * roots[..., None, :]) @ vectors.mT).to(moment.dtype)
        return found, vectors.to(moment.dtype), roots.to(moment.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        gradient = grad_outputs[0]
        found, vectors, roots = ctx.saved_tensors
        if not torch.is_grad_enabled():
            rows, columns = roots[..., :, None], roots[..., None, :]
            inside = vectors.mT @ gradient @ vectors
            # W^-1 X + X W^-1 = W G W, entry by entry in the eigenvectors.
            return -vectors @ (inside * (rows * columns).square() / (rows + columns)) @ vectors.mT
        square = found @ found
        return -_Lyapunov.apply(found, square @ gradient @ square, vectors, roots)


class _Lyapunov(Function):
    """X with W X + X W = Q, for a symmetric positive definite W of known eigenvectors and eigenvalues."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor, right: Tensor, vectors: Tensor, values: Tensor) -> Tensor:
        inside = (vectors.mT @ right @ vectors) / (values[..., :, None] + values[..., None, :])
        return vectors @ inside @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        matrix, _, vectors, values = inputs
        ctx.save_for_backward(matrix, vectors, values, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = grad_outputs
        matrix, vectors, values, found = ctx.saved_tensors
        adjoint = _Lyapunov.apply(matrix, gradient, vectors, values)
        return -(adjoint @ found.mT + found.mT @ adjoint), adjoint, None, None


def newton_schulz(moment: Tensor, iterations: int = 30, tolerance: float = 1e-5) -> Tensor:
    """Inverse square root of symmetric positive definite matrices by products of matrices alone.

    Coupled steps from Y = S / |S|, Z = I: T = (3 I - Z Y) / 2, Y <- Y T, Z <- T Z, until |I - Z Y| is below the
    tolerance times sqrt(width); then W = Z / sqrt(|S|). Eigenvalues below 1.5^(-2 iterations) of the norm are not
    reached. Differentiated through its steps.

    Args:
        moment: S, (..., width, width), symmetric.
        iterations: at most.
        tolerance: of the residual.

    Source: Higham, Functions of Matrices, 2008, eq. 6.35; stable where the uncoupled steps diverge.

    Example:
        >>> newton_schulz(torch.diag(torch.tensor([4.0, 1.0]))).round(decimals=4)
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
    norm = torch.linalg.matrix_norm(moment, keepdim=True)
    y, z = moment / norm, identity.expand_as(moment)
    for _ in range(iterations):
        product = z @ y
        if float((identity - product.detach()).square().sum((-2, -1)).amax().sqrt()) < tolerance * len(identity) ** 0.5:
            break
        step = (3 * identity - product) / 2
        y, z = y @ step, step @ z
    return z / norm.sqrt()


def polished(rotation: Tensor) -> Tensor:
    """A nearly orthogonal matrix made orthogonal: R <- R + (I - R R^T) R / 2, which squares its error.

    Args:
        rotation: R, (d, d), with |I - R R^T| far below 1.

    Source: Higham, Functions of Matrices, 2008, section 8.3: a Newton-Schulz step.

    Example:
        >>> polished(1.001 * torch.eye(2)).round(decimals=5)
        tensor([[1., 0.],
                [0., 1.]])
    """
    identity = torch.eye(len(rotation), dtype=rotation.dtype, device=rotation.device)
    return torch.addmm(rotation, identity - rotation @ rotation.T, rotation, alpha=0.5)


def rotated(rotation: Tensor, places: Tensor, rows: Tensor) -> Tensor:
    """A rotation turned so that some of its rows become others, by the smallest turn, at low cost.

    R <- R + R B (T - I) B^T, with B an orthonormal basis of the span of the old and the new rows (2k columns) and T the
    orthogonal matrix that takes the one to the other. Rows orthogonal to both stay as they are.

    Args:
        rotation: R, (d, d), orthogonal.
        places: (k,), of the rows to be changed.
        rows: (k, d), orthonormal.

    Example:
        >>> found = rotated(torch.eye(3), torch.tensor([0]), torch.tensor([[0.0, 1.0, 0.0]]))
        >>> found.round(decimals=5)[0], is_orthonormal(found, 1e-5), found[2]
        (tensor([0., 1., 0.]), True, tensor([0., 0., 1.]))
    """
    old = rotation[places].double()
    basis = torch.linalg.qr(torch.cat([old, rows.double()]).T).Q
    # The orthonormal factor of the old rows: errors would double with every call.
    before, after = polar(old @ basis), polar(rows.double() @ basis)
    rest_before, rest_after = _complement(before), _complement(after)
    turn = before.T @ after + rest_before.T @ polar(rest_before @ rest_after.T) @ rest_after
    change = (basis @ (turn - torch.eye(len(turn)).to(turn))).to(rotation.dtype)
    # Of its change a float32 rotation needs no more than its own digits.
    basis = basis.to(rotation.dtype)
    return torch.addmm(rotation, rotation @ change, basis.T)


def _complement(rows: Tensor) -> Tensor:
    """Orthonormal rows outside the span of orthonormal rows, (width - k, width)."""
    return torch.linalg.qr(rows.T, mode="complete").Q.T[len(rows) :]
