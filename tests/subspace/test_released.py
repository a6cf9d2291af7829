import torch

from orthotrace.subspace import RegionSubspace, ReleasedSubspace


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learned(kind=ReleasedSubspace, **options):
    space = kind(12, rows=[4, 3, 2], dtype=torch.float64, **options)
    for task in range(3):
        # The tasks share some of their inputs.
        space.observe(randn(40, 12, seed=task) * torch.logspace(0, -1.5, 12, dtype=torch.float64).roll(2 * task))
        space.consolidate()
    return space


def test_what_a_task_alone_needs_is_let_go():
    space, update = learned(), randn(3, 12, seed=9)
    rows = space.basis.clone()
    for tasks in ([1], [0, 2], [], [0, 1, 2]):
        space.release(tasks)
        let_go = [
            row
            for row in range(space.rank)
            if any(space.members[task, row] for task in tasks)
            and not any(space.members[task, row] for task in range(3) if task not in tasks)
        ]
        kept = rows[[row for row in range(space.rank) if row not in let_go]]
        torch.testing.assert_close(space.project(update), update - update @ kept.T @ kept, rtol=0, atol=1e-12)
        assert torch.equal(space.held(), kept) and torch.equal(space.let_go(), rows[let_go])
        assert space.rank == len(rows) and space.exact


def test_once_the_task_ends_all_is_held_again():
    space, plain = learned(), learned(RegionSubspace)
    space.release([0, 1])
    assert len(space.let_go())
    for one in (space, plain):
        one.observe(randn(40, 12, seed=5))
        one.consolidate()
    assert torch.equal(space.held(), plain.held()) and torch.equal(space.members, plain.members)


def test_a_state_loads_with_what_is_let_go():
    space = learned()
    space.release([1])
    fresh = learned()
    fresh.release([0])
    fresh.held()
    fresh.load_state_dict(space.state_dict())
    assert torch.equal(fresh.held(), space.held()) and torch.equal(fresh.let_go(), space.let_go())
