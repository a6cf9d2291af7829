import numpy as np
import pytest
import torch

from orthotrace import linalg
from orthotrace.linalg import (
    energy_shares,
    inverse_sqrt,
    is_finite,
    is_orthonormal,
    leak,
    orthonormalise,
    polar,
    polished,
    principal,
    project_out,
    rotated,
    row_energy_shares,
)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spectrum(n: int, width: int, condition: float) -> torch.Tensor:
    scale = torch.logspace(0, -np.log10(condition), width, dtype=torch.float64)
    return randn(n, width) * scale @ torch.linalg.qr(randn(width, width, seed=9)).Q


@pytest.mark.parametrize("condition", [1, 1e3, 1e6])
def test_orthonormalise_keeps_the_span(condition):
    rows = spectrum(5, 12, condition)
    q = orthonormalise(rows)
    assert is_orthonormal(q, 1e-12)
    assert torch.allclose(project_out(rows, q), torch.zeros_like(rows), atol=1e-12)


@pytest.mark.parametrize("closeness", [1.0, 1e-3, 1e-7])
def test_orthonormalise_stays_outside_even_of_rows_nearly_inside(closeness):
    frozen = orthonormalise(randn(4, 10))
    rows = randn(3, 4, seed=1) @ frozen + closeness * randn(3, 10, seed=2)
    q = orthonormalise(rows, frozen)
    assert is_orthonormal(torch.cat([frozen, q]), 1e-10)


def test_orthonormalise_leaves_no_denormal_numbers():
    rows = torch.eye(3, 6, dtype=torch.float64)
    rows[0, 5] = 1e-35
    q = orthonormalise(rows).float()
    assert not ((q != 0) & (q.abs() < torch.finfo(torch.float32).tiny)).any()


@pytest.mark.parametrize("shape", [(40, 12), (7, 12), (12, 12)])
def test_principal_is_the_singular_value_decomposition(shape):
    rows = spectrum(*shape, 1e4)
    energies, directions = principal(rows)
    _, values, v = np.linalg.svd(rows.numpy(), full_matrices=False)
    assert np.allclose(energies, values**2, rtol=1e-6)
    assert is_orthonormal(directions, 1e-9)
    # Directions agree but for their sign.
    assert np.allclose(np.abs((directions.numpy() * v).sum(axis=1)), 1, atol=1e-6)


def test_principal_leaves_out_what_the_rows_do_not_span():
    rows = randn(20, 3) @ randn(3, 9, seed=1)
    energies, directions = principal(rows)
    assert len(energies) == len(directions) == 3
    assert len(principal(torch.zeros(4, 3, dtype=torch.float64))[0]) == 0


@pytest.mark.parametrize("frozen_rank", [0, 3])
def test_energy_shares_against_explicit_projections(frozen_rank):
    rows = spectrum(60, 9, 30)
    basis = orthonormalise(randn(frozen_rank + 4, 9, seed=3))
    frozen = basis[:frozen_rank]
    captured, exact = energy_shares(rows.T @ rows, frozen, basis)
    total = np.linalg.norm(rows) ** 2
    left = rows.numpy() - rows.numpy() @ basis.numpy().T @ basis.numpy()
    assert captured == pytest.approx(1 - np.linalg.norm(left) ** 2 / total, abs=1e-12)
    residual = rows.numpy() - rows.numpy() @ frozen.numpy().T @ frozen.numpy()
    values = np.linalg.svd(residual, compute_uv=False)
    assert exact == pytest.approx(1 - np.sum(values[4:] ** 2) / total, abs=1e-12)
    assert captured <= exact
    by_rows = row_energy_shares(rows, frozen, basis)
    assert by_rows == pytest.approx((captured, exact), abs=1e-12)
    few = row_energy_shares(rows[:6], frozen, basis)
    assert few == pytest.approx(energy_shares(rows[:6].T @ rows[:6], frozen, basis), abs=1e-12)


@pytest.mark.parametrize("entries", [1, 13, 600])
def test_energy_shares_of_many_inputs_are_found_some_columns_at_a_time(monkeypatch, entries):
    rows, basis = randn(6, 9), orthonormalise(randn(5, 9, seed=3))
    expected = energy_shares(rows.T @ rows, basis[:2], basis)
    monkeypatch.setattr(linalg, "AT_ONCE", entries)
    assert row_energy_shares(rows, basis[:2], basis) == pytest.approx(expected, abs=1e-12)
    found = row_energy_shares(rows.float(), basis[:2].float(), basis.float())
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_finite(dtype, bad):
    largest = torch.finfo(dtype).max
    # The sum overflows, and may come to nothing.
    for values in ([], [0.0], [largest, largest, 1.0], [-largest, largest, largest, -largest]):
        assert is_finite(torch.tensor(values, dtype=dtype))
        assert not is_finite(torch.tensor([*values, bad], dtype=dtype))
    assert not is_finite(torch.tensor([torch.inf, -torch.inf], dtype=dtype))


def test_leak_is_the_share_inside_of_the_larger_norm():
    basis = orthonormalise(randn(2, 6))
    update, weight = randn(3, 6, seed=1), 10 * randn(3, 6, seed=2)
    expected = np.linalg.norm(update.numpy() @ basis.numpy().T) / np.linalg.norm(weight.numpy())
    assert leak(update, basis, weight) == pytest.approx(expected)
    assert leak(project_out(update, basis), basis, weight) < 1e-15
    assert leak(update, basis[:0], weight) == 0
    assert leak(0 * update, basis, 0 * weight) == 0


@pytest.mark.parametrize("entries", [1, 13, 600])
def test_the_leak_of_a_large_matrix_is_found_piece_by_piece(monkeypatch, entries):
    basis, update, weight = orthonormalise(randn(2, 6)), randn(9, 6, seed=1), 10 * randn(9, 6, seed=2)
    expected = leak(update, basis, weight)
    monkeypatch.setattr(linalg, "AT_ONCE", entries)
    assert leak(update, basis, weight) == pytest.approx(expected, rel=1e-14)
    # Where the update is the larger one.
    assert leak(update, basis, 1e-3 * weight) == pytest.approx(
        float((update @ basis.T).norm() / update.norm()), rel=1e-14
    )


def spread(values, seed=0):
    """A symmetric matrix of these eigenvalues."""
    basis = orthonormalise(randn(len(values), len(values), seed=seed))
    return basis.T @ (torch.tensor(values, dtype=torch.float64)[:, None] * basis)


@pytest.mark.parametrize("values", [[1.0] * 4, [3.0, 3.0, 1.0, 1.0], [4.0, 2.0, 1.0, 0.5]], ids=str)
def test_inverse_sqrt_and_its_derivatives(values):
    moment = spread(values).requires_grad_()
    found = inverse_sqrt(moment)
    assert torch.allclose(found @ moment @ found, torch.eye(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found, found.T, atol=1e-14)
    assert torch.autograd.gradcheck(inverse_sqrt, (moment,))
    assert torch.autograd.gradgradcheck(inverse_sqrt, (moment,))


def test_inverse_sqrt_of_many_at_once():
    moments = torch.stack([spread([1.0, 2.0, 3.0]), spread([2.0, 2.0, 2.0], 1)]).requires_grad_()
    assert torch.allclose(inverse_sqrt(moments)[0], inverse_sqrt(moments[0]))
    assert torch.autograd.gradcheck(inverse_sqrt, (moments,)) and torch.autograd.gradgradcheck(inverse_sqrt, (moments,))


def test_inverse_sqrt_within_gradients_of_single_samples():
    """torch.func gives for each sample what a backward of its own gives."""
    moment, samples = spread([1.0, 1.0, 3.0]), randn(4, 3, seed=2)

    def loss(moment, sample):
        return (inverse_sqrt(moment) @ sample).pow(3).sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(moment, samples)
    again = torch.func.vmap(torch.func.grad(loss))(moment.expand(4, 3, 3), samples)
    for got, other, sample in zip(each, again, samples, strict=True):
        leaf = moment.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(leaf, sample), leaf)
        assert torch.allclose(got, expected, atol=1e-12) and torch.allclose(other, expected, atol=1e-12)


def test_polar_is_the_best_of_all_orthonormal_rows():
    matrix = randn(3, 8)
    best = polar(matrix)
    assert is_orthonormal(best, 1e-12)
    # The nuclear norm bounds <R, M> over all R with orthonormal rows.
    assert float((best * matrix).sum()) == pytest.approx(float(np.linalg.svd(matrix.numpy(), compute_uv=False).sum()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotated_takes_rows_to_rows_by_the_smallest_turn(dtype):
    rotation = orthonormalise(randn(9, 9)).to(dtype)
    places, rows = torch.tensor([1, 4]), orthonormalise(randn(2, 9, seed=1)).to(dtype)
    found = rotated(rotation, places, rows)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    assert torch.allclose(found[places], rows, atol=tolerance) and is_orthonormal(found, 10 * tolerance)
    # What both leave alone stays, and no other turn with these rows is nearer to none.
    turn = (rotation.T @ found).double()
    outside = orthonormalise(randn(9, 9, seed=2), orthonormalise(torch.cat([rotation[places], rows]).double())[:4])[:5]
    assert torch.allclose(outside @ turn, outside, atol=10 * tolerance)
    other = found.clone()
    free = [0, 2, 3, 5, 6, 7, 8]
    other[free] = orthonormalise(randn(7, 7, seed=3)).to(dtype) @ found[free]
    assert float((found - rotation).norm()) < float((other - rotation).norm())


def test_polished_squares_the_error():
    rotation = orthonormalise(randn(8, 8)) + 1e-4 * randn(8, 8, seed=1)
    before, after = ((one @ one.T - torch.eye(8)).norm() for one in (rotation, polished(rotation)))
    assert 1e-4 < float(before) < 1e-2 and float(after) < float(before) ** 2


def test_rows_take_their_places_by_the_smallest_turn():
    """The orthogonal map nearest to the identity among those that take the old rows to the new, by Procrustes."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(7, 7, generator=generator).double()).Q
    rows = torch.linalg.qr(torch.randn(7, 2, generator=generator).double()).Q.T
    places = torch.tensor([1, 4])
    old = rotation[places]
    rest_old, rest_new = (torch.linalg.svd(one).Vh[2:] for one in (old, rows))
    u, _, v = torch.linalg.svd(rest_old @ rest_new.T)
    turn = old.T @ rows + rest_old.T @ u @ v @ rest_new
    assert torch.allclose(rotated(rotation, places, rows), rotation @ turn, atol=1e-10)
