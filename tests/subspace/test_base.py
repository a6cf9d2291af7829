import numpy as np
import pytest
import torch
from subspaces import KINDS, learned, randn

from orthotrace import linalg
from orthotrace.core.errors import UserError
from orthotrace.linalg import in_blocks as pieces
from orthotrace.linalg import is_orthonormal
from orthotrace.subspace import SvdSubspace, base


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [2, 7])
def test_project_is_the_dense_projection(kind, rank):
    space = learned(kind, 3 * randn(100, 8), rows=rank)
    update = randn(5, 8, seed=4)
    complement = np.linalg.svd(space.held().numpy())[2][rank:]
    assert np.allclose(space.project(update), update.numpy() @ complement.T @ complement, atol=1e-12)
    assert np.allclose(space.project(space.project(update)), space.project(update), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", range(1, 9))
def test_what_is_taken_from_a_weight_is_the_component_of_its_update(kind, rank):
    """By thin products, by the projector, and by the directions that are free."""
    space = learned(kind, 3 * randn(100, 8), rows=rank)
    before, weight = randn(5, 8, seed=5), randn(5, 8, seed=6)
    held = space.held().numpy()
    update = weight.numpy() - before.numpy()
    expected = weight.numpy() - update @ held.T @ held
    space.take_from(weight, before)
    assert np.allclose(weight, expected, atol=1e-12)
    # What is not finite stays so: a network that has diverged must not look well.
    weight[2, 3] = torch.nan
    space.take_from(weight, before)
    assert weight[2].isnan().any() and weight[[0, 1, 3, 4]].isfinite().all()


@pytest.mark.parametrize("rank", [2, 5, 7])
@pytest.mark.parametrize("entries", [1, 13, 16])
def test_from_a_large_weight_it_is_taken_some_rows_at_a_time(monkeypatch, rank, entries):
    space = learned("svd", 3 * randn(100, 8), rows=rank)
    before, weight = randn(5, 8, seed=5), randn(5, 8, seed=6)
    expected = weight.clone()
    space.take_from(expected, before)
    taken = []
    monkeypatch.setattr(base, "AT_ONCE", entries)
    monkeypatch.setattr(base, "in_blocks", lambda *shape: taken.append(blocks := pieces(*shape)) or blocks)
    monkeypatch.setattr(linalg, "AT_ONCE", entries)
    space.take_from(weight, before)
    assert torch.allclose(weight, expected, atol=1e-12)
    assert [len(blocks) for blocks in taken] == [{1: 5, 13: 5, 16: 3}[entries]]


class Twice(SvdSubspace):
    """A kind with an inside of its own."""

    def inside(self, update):
        return 2 * super().inside(update)


class Half(SvdSubspace):
    """A kind with a component of its own."""

    def component(self, update):
        return super().component(update) / 2


@pytest.mark.parametrize(
    "space",
    [kind(8, rows=3, dtype=torch.float64) for kind in (Twice, Half)]
    + [SvdSubspace(8, rows=3, hold=0.3, dtype=torch.float64)],
)
def test_kinds_that_take_something_else_are_asked_what(space):
    space.observe(randn(100, 8))
    space.consolidate()
    before, weight = randn(5, 8, seed=5), randn(5, 8, seed=6)
    expected = weight - space.inside(weight - before)
    space.take_from(weight, before)
    assert torch.allclose(weight, expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [{"energy": 1.0}, {"rows": 4}])
def test_protected_inputs_get_the_same_answer(kind, size):
    old = randn(40, 4) @ randn(4, 6, seed=1)
    space = learned(kind, old.repeat(20, 1), **size)
    update = space.project(randn(5, 6, seed=2))
    assert space.rank == 4
    assert float((old @ update.T).abs().max()) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_rank_never_passes_the_dimensions(kind):
    with pytest.warns(UserWarning, match="directions are free") as found:
        space = learned(kind, *[randn(60, 8, seed=seed) for seed in range(3)], rows=5)
    assert str(found[0].message) == "5 rows asked for task 2, 3 of 8 directions are free: 3 are taken"
    assert space.rank == 8
    assert is_orthonormal(space.held(), 1e-10)
    assert float(space.project(randn(4, 8)).abs().max()) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_orthonormal_after_every_task(kind, dtype):
    space = KINDS[kind](12, rows=3, dtype=dtype)
    for seed in range(4):
        space.begin()
        for batch in randn(80, 12, seed=seed).split(16):
            space.observe(batch.to(dtype))
        space.consolidate()
        assert is_orthonormal(space.held())
    assert space.capacity.rank == 12 and space.capacity.features == 12


@pytest.mark.parametrize("kind", KINDS)
def test_state_loads_into_a_fresh_subspace_and_continues(kind):
    def fresh():
        return KINDS[kind](8, rows=[2, 3], dtype=torch.float64)

    one = fresh()
    one.begin()
    for batch in randn(60, 8).split(20):
        one.observe(batch)
    one.consolidate()
    one.begin()
    one.observe(randn(20, 8, seed=3))
    two = fresh()
    two.load_state_dict(one.state_dict())
    for space in (one, two):
        space.observe(randn(20, 8, seed=4))
        space.consolidate()
    assert one.rank == 5
    assert torch.equal(one.held(), two.held())


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_another_width_is_refused(kind):
    space = KINDS[kind](5, rows=2, dtype=torch.float64)
    with pytest.raises(UserError, match="this state is of 8 features, and the subspace has 5"):
        space.load_state_dict(learned(kind, randn(30, 8), rows=2).state_dict())
    assert space.rank == 0


@pytest.mark.parametrize("kind", KINDS)
def test_zero_inputs_hold_nothing(kind):
    assert learned(kind, torch.zeros(30, 3).double(), energy=0.9).rank == 0


BAD = [
    ({"energy": 1.5}, "energy: input should be less than or equal to 1 (got 1.5)"),
    ({"energy": 0.0}, "energy: input should be greater than 0 (got 0.0)"),
    ({"rows": -1}, "rows: input should be greater than or equal to 0 (got -1)"),
    ({"rows": 9}, "rows: 9 rows, but the layer has 8 features"),
    ({"rows": []}, "rows: an empty list"),
    ({"rows": 2, "energy": 0.9}, "rows: give one of energy, rows and rank"),
    ({}, "energy: give one of energy, rows and rank"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("options", "line"), BAD)
def test_sizes_that_cannot_be(kind, options, line):
    with pytest.raises(UserError) as error:
        KINDS[kind](8, **options)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_observed_and_wrong_shapes_are_errors(kind):
    space = KINDS[kind](8, rows=2)
    space.begin()
    with pytest.raises(ValueError, match="no rows"):
        space.consolidate()
    for wrong in (torch.zeros(3, 7), torch.zeros(2, 3, 8), torch.zeros(8)):
        with pytest.raises(ValueError, match="rows of shape .n, 8. expected"):
            space.observe(wrong)


@pytest.mark.parametrize(
    "new", [torch.eye(4)[:1], torch.eye(4)[[2, 2]], torch.eye(4)], ids=["held", "twice", "too many"]
)
def test_rows_that_are_held_already_cannot_be_held_again(new):
    space = SvdSubspace(4, rows=1, dtype=torch.float64)
    space.hold(torch.eye(4)[:2].double())
    with pytest.raises(ValueError, match="do not lie outside the 2 held, of 4 directions"):
        space.hold(new.double())
    assert space.rank == 2
