"""The energy of inputs by whichever is smaller: their number or their width."""

import pytest
import torch

from orthotrace.linalg import energy_shares, orthonormalise
from orthotrace.methods import audit
from orthotrace.methods.audit import InputEnergy

G = torch.Generator().manual_seed(0)
WIDTH = 30
BASIS = orthonormalise(torch.randn(9, WIDTH, generator=G))


@pytest.mark.parametrize("sizes", [[5], [10, 10, 9], [10, 10, 10], [40], [10, 50, 7], [29, 1, 1]])
@pytest.mark.parametrize("frozen", [0, 4])
def test_batches_of_any_number_have_the_shares_of_their_moment(sizes, frozen):
    rows = torch.randn(sum(sizes), WIDTH, generator=G) @ torch.randn(WIDTH, WIDTH, generator=G)
    energy = InputEnergy()
    for batch in rows.split(sizes):
        energy.add(batch)
    moment = rows.double().T @ rows.double()
    expected = energy_shares(moment, BASIS[:frozen].double(), BASIS.double())
    assert energy.shares(BASIS[:frozen], BASIS) == pytest.approx(expected, abs=1e-6)
    # Never more than the smaller of the two is kept.
    kept = sum(one.numel() for one in energy._rows)
    assert (
        kept < WIDTH**2
        and (energy._moment is None) == (sum(sizes) < WIDTH)
        and not (kept and energy._moment is not None)
    )


@pytest.mark.parametrize("count", [3, 50])
def test_inputs_that_are_all_zero_have_none(count):
    energy = InputEnergy()
    energy.add(torch.zeros(count, WIDTH))
    assert energy.shares(BASIS[:0], BASIS) is None
    assert InputEnergy().shares(BASIS[:0], BASIS) is None


def test_several_processes_add_up_moments(monkeypatch):
    monkeypatch.setattr(audit, "rank_and_world_size", lambda: (0, 2))
    summed = []
    monkeypatch.setattr(audit, "all_reduce_sum", summed.append)
    energy = InputEnergy()
    energy.add(rows := torch.randn(3, WIDTH, generator=G))
    assert energy.shares(BASIS[:0], BASIS) is not None
    assert torch.allclose(summed[0], (rows.T @ rows).double())


def test_a_process_that_saw_nothing_takes_part_in_the_sum(monkeypatch):
    monkeypatch.setattr(audit, "rank_and_world_size", lambda: (1, 2))
    rows = torch.randn(3, WIDTH, generator=G)
    monkeypatch.setattr(audit, "all_reduce_sum", lambda moment: moment.add_((rows.T @ rows).double()))
    expected = energy_shares((rows.T @ rows).double(), BASIS[:0].double(), BASIS.double())
    assert InputEnergy().shares(BASIS[:0], BASIS) == pytest.approx(expected, abs=1e-6)
