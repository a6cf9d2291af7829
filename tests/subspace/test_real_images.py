"""The Hebbian rule against the exact directions, on real images and their patches."""

from __future__ import annotations

import pytest
import torch
from images import REAL, real
from torch import nn

from orthotrace.data.sources import digits
from orthotrace.linalg import energy_shares
from orthotrace.protection.products import rows
from orthotrace.subspace import HebbianSubspace, SvdSubspace

present = pytest.mark.skipif(not REAL.is_dir(), reason="no real images beside the checkout")


def patches(name: str, column: str, kernel: int) -> torch.Tensor:
    """All patches of 100 images, as a convolution sees them, (n, features)."""
    images = torch.from_numpy(real(name, column, 100)).float() / 255
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    images = (images - images.mean()) / images.std()
    return rows(nn.Conv2d(images.shape[1], 1, kernel, padding=kernel // 2), images)[0]


CASES = {
    "digits": lambda: digits().train.images.flatten(1).float() / 16,
    "mnist 3 x 3": lambda: patches("mnist", "image", 3),
    "mnist 5 x 5": lambda: patches("mnist", "image", 5),
    "cifar10 3 x 3": lambda: patches("cifar10", "img", 3),
    "cifar10 5 x 5": lambda: patches("cifar10", "img", 5),
}


@pytest.mark.parametrize("case", ["digits", *(pytest.param(one, marks=present) for one in list(CASES)[1:])])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_captures_at_least_98_hundredths_of_what_the_exact_directions_do(case, share):
    found = CASES[case]()
    features = found.shape[1]
    rank = max(1, round(share * features))
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
    space = HebbianSubspace(features, rows=rank)
    for batch in found[order][:60_000].split(64 if len(found) < 10_000 else 1024):
        space.observe(batch)
    space.consolidate()
    x = found.double()
    captured, exact = energy_shares(x.T @ x, space.basis[:0].double(), space.basis.double())
    assert space.rank == rank and captured >= 0.98 * exact
    # The exact directions, by the other subspace.
    svd = SvdSubspace(features, rows=rank)
    svd.observe(found)
    svd.consolidate()
    assert energy_shares(x.T @ x, svd.basis[:0].double(), svd.basis.double())[0] == pytest.approx(exact, abs=1e-6)


@present
@pytest.mark.parametrize(("name", "column", "rank"), [("mnist", "image", 400), ("cifar10", "img", 200)])
def test_as_many_rows_are_held_as_were_asked_for(name, column, rank):
    """Their variances span six orders of magnitude."""
    images = torch.from_numpy(real(name, column, 1000)).float().flatten(1) / 255
    space, svd = HebbianSubspace(images.shape[1], rows=rank), SvdSubspace(images.shape[1], rows=rank)
    for batch in images.split(64):
        space.observe(batch)
    svd.observe(images)
    for one in (space, svd):
        one.consolidate()
        assert one.rank == rank
    x = images.double()
    # Of the images' products: those of all pixels have the same eigenvalues, and take ten times as long.
    energies = torch.linalg.eigvalsh(x @ x.T).flip(0)
    captured = (x @ space.basis.double().T).square().sum()
    assert captured >= 0.99 * energies[:rank].sum()
