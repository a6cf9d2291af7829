import numpy as np
import pytest
import torch

from orthotrace.linalg import is_orthonormal
from orthotrace.subspace import RegionSubspace, SvdSubspace


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("options", [{"energy": 0.9}, {"energy": 0.9, "growth": 0.02}, {"rows": 3}])
def test_a_region_is_the_least_number_of_rows_that_reaches_the_energy(options):
    space = RegionSubspace(12, dtype=torch.float64, **options)
    plain = SvdSubspace(12, dtype=torch.float64, **options)
    scales = torch.logspace(0, -1.5, 12, dtype=torch.float64)
    regions = []
    for task in range(3):
        rows = randn(40, 12, seed=task) * scales.roll(2 * task)
        for one in (space, plain):
            one.observe(rows)
            one.consolidate()
        # Held is what GPM holds.
        assert torch.equal(space.basis, plain.basis)
        region = space.region(task)
        assert is_orthonormal(region, 1e-10)
        along = np.sort(((rows @ space.basis.T) ** 2).sum(0).numpy())[::-1]
        total = float(rows.square().sum())
        held = float((rows @ region.T).square().sum())
        if "energy" in options:
            share = min(1.0, 0.9 + options.get("growth", 0.0) * task)
            least = next(k for k in range(len(along) + 1) if along[:k].sum() >= share * total * (1 - 1e-12))
            assert len(region) == least
        else:
            assert len(region) == 3
        assert held == pytest.approx(along[: len(region)].sum())
        regions.append(region.clone())
    for task, region in enumerate(regions):
        # Regions of earlier tasks stay as they were.
        assert torch.equal(space.region(task), region)


def test_state_loads():
    space = RegionSubspace(4, rows=2)
    for task in range(2):
        space.observe(torch.eye(4)[2 * task : 2 * task + 2])
        space.consolidate()
    fresh = RegionSubspace(4, rows=2)
    fresh.load_state_dict(space.state_dict())
    assert torch.equal(fresh.region(0), space.region(0)) and torch.equal(fresh.region(1), space.region(1))


def test_inputs_without_energy_have_an_empty_region():
    space = RegionSubspace(4, rows=2)
    space.observe(torch.zeros(3, 4))
    space.consolidate()
    assert space.region(0).shape == (0, 4)


def test_a_region_has_as_many_rows_as_were_asked_for_in_a_full_layer_too():
    space = RegionSubspace(4, rows=2)
    for task in range(2):
        space.observe(torch.eye(4)[2 * task : 2 * task + 2])
        space.consolidate()
    space.observe(randn(30, 4).float())
    with pytest.warns(UserWarning, match="2 rows asked for task 3, 0 of 4 directions are free"):
        space.consolidate()
    assert space.rank == 4 and len(space.region(2)) == 2
