"""Numbers of directions, and the optimal one against a search over all, for every subspace that counts."""

import pytest
import torch
from subspaces import KINDS, learned, randn

from orthotrace.core.errors import UserError
from orthotrace.methods.gpm import GPM
from orthotrace.subspace import HebbianSubspace, SvdSubspace
from orthotrace.subspace.counts import least_count, optimum_count


@pytest.mark.parametrize(
    ("energies", "total", "share", "expected"),
    [([6, 3, 1], 10, 0.9, 2), ([6, 3, 1], 10, 0.91, 3), ([6, 3, 1], 10, 1.0, 3), ([1], 100, 0.99, 0), ([], 5, 0.5, 0)],
)
def test_least_count(energies, total, share, expected):
    assert least_count(torch.tensor(energies, dtype=torch.float64), total, share) == expected


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("plasticity", [0.3, 2.0, 20.0])
def test_the_optimum_has_the_least_loss(tasks, plasticity):
    features, energies = 12, randn(9, seed=3).square().sort(descending=True).values
    total = 1.5 * float(energies.sum())
    left = [float(energies[k:].sum()) / total for k in range(10)]
    losses = [tasks * left[k] - plasticity * (features - k) / features for k in range(10)]
    assert optimum_count(energies, total, tasks, plasticity, features) == min(range(10), key=lambda k: losses[k])


@pytest.mark.parametrize("kind", KINDS)
def test_each_task_adds_the_directions_that_are_worth_it(kind):
    rows = randn(400, 8) * torch.logspace(0, -2, 8, dtype=torch.float64)
    values = torch.linalg.svdvals(rows).square()
    shares = values / values.sum()
    for plasticity in (0.1, 0.5, 3.0):
        space = learned(kind, rows.repeat(5, 1), rank="optimum", plasticity=plasticity)
        assert space.rank == int((8 * shares > plasticity).sum())
    # With more tasks more is at stake.
    again = learned(kind, *[rows.repeat(5, 1)] * 3, rank="optimum", plasticity=0.5)
    assert again.rank == int((3 * 8 * shares > 0.5).sum()) > int((8 * shares > 0.5).sum())


def test_rows_that_are_all_used_are_told():
    with pytest.warns(UserWarning, match="all 2 rows of max_rows are used: the optimum may be more"):
        learned("hebbian", randn(200, 8), rank="optimum", plasticity=0.1, max_rows=2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"rank": "optimum", "rows": 2}, "rank: give one of energy, rows and rank"),
        ({"rank": "best"}, "rank: input should be 'optimum'"),
        ({"rank": "optimum", "plasticity": 0}, "plasticity: input should be greater than 0"),
    ],
)
def test_options_that_cannot_be(options, line):
    with pytest.raises(UserError, match=f"^{line}"):
        HebbianSubspace(8, **options)


@pytest.mark.parametrize("kind", [SvdSubspace, HebbianSubspace])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"rows": 2, "growth": 0.1}, "growth: is added to the energy, and rows take its place: leave it at 0"),
        ({"rank": "optimum", "growth": 0.1}, "growth: is added to the energy, and rank takes its place: leave it at 0"),
        ({"energy": 0.9, "plasticity": 1.0}, "plasticity: is of the optimum: set rank to optimum, or leave it at 0.3"),
        ({"rows": 2, "plasticity": 1.0}, "plasticity: is of the optimum: set rank to optimum, or leave it at 0.3"),
    ],
)
def test_what_nothing_would_heed_is_refused(kind, options, line):
    with pytest.raises(UserError) as error:
        kind(8, **options)
    assert str(error.value) == line
    # A method refuses it before it meets a network.
    with pytest.raises(UserError) as error:
        GPM(**{"energy": None, **options})
    assert str(error.value) == line
