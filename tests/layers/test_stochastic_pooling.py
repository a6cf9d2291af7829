"""Stochastic pooling draws by the activations, and tests by their weighted mean."""

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.layers.stochastic_pooling import StochasticPool2d


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def windows(x: torch.Tensor, size: int) -> list[tuple[tuple[int, ...], torch.Tensor]]:
    n, channels, height, width = x.shape
    return [
        ((i, c, a, b), x[i, c, a * size : (a + 1) * size, b * size : (b + 1) * size].flatten())
        for i in range(n) for c in range(channels) for a in range(height // size) for b in range(width // size)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3])
def test_in_evaluation_it_is_the_weighted_mean(size):
    x = drawn(2, 3, 7, 6)
    x[x < 0.2] = 0
    found = StochasticPool2d(size).eval()(x)
    assert found.shape == (2, 3, 7 // size, 6 // size)
    for place, values in windows(x, size):
        p = values / values.sum() if values.sum() else values
        assert float(found[place]) == pytest.approx(float((p * values).sum()), abs=1e-14)


def test_gradients_of_both_modes():
    x = (drawn(1, 2, 4, 4) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(StochasticPool2d().eval(), (x,))
    pool, weights = StochasticPool2d().train(), drawn(1, 2, 2, 2)
    found = pool(x)
    (found * weights).sum().backward()
    assert x.grad is not None
    # What was drawn of a window has all of its gradient.
    for (place, values), (_, gradients) in zip(windows(x.detach(), 2), windows(x.grad, 2), strict=True):
        assert torch.equal(gradients, torch.where(values == found[place].detach(), weights[place], 0.0))


def test_in_training_values_are_drawn_in_proportion():
    torch.manual_seed(0)
    values = torch.tensor([1.0, 0.0, 3.0, 4.0])
    found = StochasticPool2d().train()(values.view(1, 1, 2, 2).expand(40000, 1, 2, 2)).flatten()
    shares = [float((found == value).double().mean()) for value in values]
    # Three standard deviations and more of a share of 40,000 draws.
    assert shares == pytest.approx([1 / 8, 0, 3 / 8, 4 / 8], abs=0.01)
    assert shares[1] == 0


def test_zeros_give_zero_and_negative_values_count_as_zero():
    zeros = torch.zeros(2, 1, 2, 2, requires_grad=True)
    for mode in (True, False):
        pool = StochasticPool2d().train(mode)
        assert torch.equal(pool(zeros), torch.zeros(2, 1, 1, 1))
        pool(zeros).sum().backward()
        assert zeros.grad is not None and zeros.grad.isfinite().all()
        mixed = torch.tensor([[-5.0, 2.0], [-1.0, -3.0]]).view(1, 1, 2, 2)
        assert pool(mixed).item() == 2


def test_its_draws_are_those_of_the_seed():
    x = drawn(2, 3, 8, 8)
    pool = StochasticPool2d().train()
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append(pool(x))
    assert torch.equal(*found) and not torch.equal(pool(x), found[0])


def test_sizes_that_cannot_be():
    with pytest.raises(UserError, match="size"):
        StochasticPool2d(0)


def test_the_sums_of_a_draw_are_those_of_torch_and_made_without_what_no_gpu_does_twice_alike(monkeypatch):
    x = torch.rand(3, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    cells = x.unfold(2, 3, 3).unfold(3, 3, 3).flatten(4)
    torch.manual_seed(0)
    sums = cells.cumsum(-1)
    level = torch.rand(sums.shape[:-1]) * sums[..., -1]
    expected = cells.gather(-1, (sums <= level[..., None]).sum(-1, keepdim=True)).squeeze(-1)
    monkeypatch.setattr(torch.Tensor, "cumsum", None)
    torch.manual_seed(0)
    assert torch.equal(StochasticPool2d(3).train()(x), expected)
