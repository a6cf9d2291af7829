"""Associative memories."""

import copy
import itertools

import pytest
import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.layers.hopfield import Hopfield, ModernHopfield
from orthotrace.subspace.recursive import RecursiveSubspace


def signs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double() * 2 - 1


def by_hand(rule: str, patterns: Tensor) -> Tensor:
    """W by the rules as they are printed, entry by entry."""
    units = patterns.shape[1]
    weight = torch.zeros(units, units, dtype=torch.float64)
    for x in patterns:
        before = weight.clone()
        if rule == "projection":
            rest = x - before @ x
            weight += torch.outer(rest, rest) / (rest @ rest)
            continue
        for i in range(units):
            for j in range(units):
                if rule == "hebbian":
                    weight[i, j] += x[i] * x[j] / units
                elif i != j:
                    h_ij = sum(before[i, k] * x[k] for k in range(units) if k not in (i, j))
                    h_ji = sum(before[j, k] * x[k] for k in range(units) if k not in (i, j))
                    weight[i, j] += (x[i] * x[j] - x[i] * h_ji - h_ij * x[j]) / units
    return weight


@pytest.mark.parametrize("rule", ["hebbian", "projection", "storkey"])
def test_the_weights_are_those_of_the_rule_in_one_go_and_one_after_another(rule):
    patterns = signs(5, 12)
    at_once, single = Hopfield(12, rule), Hopfield(12, rule)
    at_once.store(patterns)
    for pattern in patterns:
        single.store(pattern[None])
    expected = by_hand(rule, patterns)
    torch.testing.assert_close(at_once.weight, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(single.weight, expected, rtol=1e-10, atol=1e-12)


def test_the_projection_rule_is_what_owm_takes_away():
    """W = I - P as alpha tends to 0; OWM holds the mean of a batch, here of one pattern."""
    patterns, memory = signs(4, 10), Hopfield(10)
    memory.store(patterns)
    subspace = RecursiveSubspace(10, alpha=1e-9, dtype=torch.float64)
    for pattern in patterns:
        subspace.observe(pattern[None])
    subspace.consolidate()
    torch.testing.assert_close(memory.weight, subspace.taken_away, rtol=0, atol=1e-8)


def test_what_is_known_already_changes_nothing():
    patterns, memory = signs(4, 10), Hopfield(10)
    memory.store(patterns)
    before = memory.weight.clone()
    memory.store(torch.cat([patterns[:2], -patterns[2:]]))
    torch.testing.assert_close(memory.weight, before, rtol=0, atol=1e-12)
    memory.store(torch.cat([patterns[:1], signs(1, 10, seed=9)]))
    assert float(memory.weight.trace()) == pytest.approx(5)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("rule", "stored"), [("hebbian", 4), ("storkey", 10), ("projection", 30)])
def test_patterns_come_back_from_a_part_of_their_signs(rule, stored, together):
    patterns, memory = signs(stored, 120), Hopfield(120, rule)
    memory.store(patterns)
    damaged = patterns.clone()
    damaged[:, ::20] *= -1
    assert torch.equal(memory(damaged, together=together), patterns)


def test_the_projection_rule_keeps_all_but_one_of_as_many_as_there_are_units():
    patterns, memory = signs(59, 60, seed=3), Hopfield(60)
    memory.store(patterns)
    assert torch.equal(memory(patterns, sweeps=1), patterns)
    hebbian = Hopfield(60, "hebbian")
    hebbian.store(patterns)
    assert not torch.equal(hebbian(patterns, sweeps=1), patterns)


def test_one_after_another_no_step_raises_the_energy_and_the_last_state_is_fixed():
    patterns, memory = signs(20, 80), Hopfield(80, "hebbian")
    memory.store(patterns)
    couplings = memory.weight.clone().fill_diagonal_(0)
    states, energies = signs(15, 80, seed=1), []
    for sweep in range(12):
        energies.append(-((states @ couplings) * states).sum(1))
        states = memory(states, sweeps=1, seed=sweep)
    for before, after in itertools.pairwise(energies):
        assert bool((after <= before + 1e-12).all())
    assert torch.equal(memory(states, sweeps=1, seed=99), states)
    assert bool(((states @ couplings) * states >= 0).all())


def test_a_unit_without_input_stays():
    memory = Hopfield(3, "hebbian")
    assert memory(torch.tensor([[1.0, -1.0, 1.0]]), together=True).tolist() == [[1, -1, 1]]
    assert memory(torch.tensor([[1.0, -1.0, 1.0]])).tolist() == [[1, -1, 1]]


def test_the_order_is_that_of_the_seed():
    memory = Hopfield(60, "hebbian")
    memory.store(signs(30, 60))
    first, again, other = (memory(signs(10, 60, seed=2), sweeps=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("patterns", "line"),
    [(torch.ones(2, 4), r"patterns \(n, 3\) are needed \(got the shape \(2, 4\)\)"),
     (torch.ones(3), r"got the shape \(3,\)"), (torch.zeros(1, 3), "of -1 and 1"),
     (torch.full((1, 3), torch.nan), "of -1 and 1")],
)  # fmt: skip
def test_other_patterns_are_refused(patterns, line):
    memory = Hopfield(3)
    for call in (memory.store, memory):
        with pytest.raises(UserError, match=line):
            call(patterns)
    assert not memory.weight.any()


def test_the_continuous_form_is_attention_over_the_patterns():
    torch.manual_seed(0)
    patterns, states = torch.randn(7, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    memory = ModernHopfield(5)
    memory.store(patterns[:4])
    memory.store(patterns[4:])
    expected = torch.nn.functional.scaled_dot_product_attention(states, patterns, patterns)
    torch.testing.assert_close(memory(states), expected)
    torch.testing.assert_close(memory(states, steps=2), memory(memory(states)))
    assert torch.autograd.gradcheck(memory, states.requires_grad_())


def test_no_step_of_it_raises_the_energy_and_patterns_come_back():
    torch.manual_seed(0)
    patterns = torch.randn(200, 30, dtype=torch.float64)
    memory = ModernHopfield(30, beta=2.0)
    memory.store(patterns)
    states = patterns + 0.3 * torch.randn_like(patterns)
    energies = []
    for _ in range(5):
        energies.append(memory.energy(states))
        states = memory(states)
    for before, after in itertools.pairwise(energies):
        assert bool((after <= before + 1e-9).all())
    assert float((states - patterns).norm(dim=1).median()) < 1e-3
    slope = torch.func.grad(lambda one: memory.energy(one[None]).sum())(patterns[0])
    torch.testing.assert_close(patterns[0] - slope, memory(patterns[:1])[0])


def test_memories_are_saved_and_copied_with_what_they_hold():
    memory, other = ModernHopfield(4), ModernHopfield(4)
    memory.store(torch.randn(3, 4))
    other.load_state_dict(memory.state_dict())
    states = torch.randn(2, 4)
    assert torch.equal(other(states), memory(states))
    assert torch.equal(copy.deepcopy(memory)(states), memory(states))


def test_an_empty_continuous_memory_says_so():
    with pytest.raises(UserError, match="nothing was stored"):
        ModernHopfield(3)(torch.zeros(1, 3))
    with pytest.raises(UserError, match=r"patterns \(n, 3\)"):
        ModernHopfield(3).store(torch.zeros(1, 2))
