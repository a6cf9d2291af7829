"""Restricted Boltzmann machines against the enumeration of all their states."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import generator
from orthotrace.data.sources import digits
from orthotrace.layers.rbm import RBM

VISIBLE, HIDDEN = 4, 3


def states(units: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=units)), dtype=torch.float64)


def machine(units: str = "binary") -> RBM:
    made, draws = RBM(VISIBLE, HIDDEN, units).double(), generator(5)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draws, dtype=torch.float64))
    return made


def energy(made: RBM, v: Tensor, h: Tensor) -> float:
    """Term by term, as it is printed."""
    b, c, w = made.visible_bias.tolist(), made.hidden_bias.tolist(), made.weight.tolist()
    if made.units == "binary":
        total = -sum(v[i] * b[i] for i in range(VISIBLE))
    else:
        total = sum((v[i] - b[i]) ** 2 / 2 for i in range(VISIBLE))
    total -= sum(h[j] * c[j] for j in range(HIDDEN))
    return float(total - sum(h[j] * w[j][i] * v[i] for i in range(VISIBLE) for j in range(HIDDEN)))


def points(units: str) -> Tensor:
    return (
        states(VISIBLE) if units == "binary" else torch.randn(9, VISIBLE, generator=generator(1), dtype=torch.float64)
    )


@pytest.mark.parametrize("units", ["binary", "gaussian"])
def test_energy_free_energy_and_probabilities_are_those_of_all_states(units):
    made, every = machine(units).requires_grad_(False), states(HIDDEN)
    for v in points(units):
        energies = [energy(made, v, h) for h in every]
        pairs = made.energy(v.expand(len(every), -1), every)
        assert pairs.tolist() == pytest.approx(energies, rel=1e-12)
        weights = [math.exp(-one) for one in energies]
        assert float(made.free_energy(v[None])) == pytest.approx(-math.log(sum(weights)), rel=1e-12)
        on = [sum(w for w, h in zip(weights, every, strict=True) if h[j]) / sum(weights) for j in range(HIDDEN)]
        assert made(v[None])[0].tolist() == pytest.approx(on, rel=1e-12)


def test_binary_visible_units_are_on_as_often_as_in_all_states():
    made, every = machine().requires_grad_(False), states(VISIBLE)
    for h in states(HIDDEN):
        weights = [math.exp(-energy(made, v, h)) for v in every]
        on = [sum(w for w, v in zip(weights, every, strict=True) if v[i]) / sum(weights) for i in range(VISIBLE)]
        assert made.visible_mean(h[None])[0].tolist() == pytest.approx(on, rel=1e-12)


def test_gaussian_visible_units_have_the_mean_at_which_the_energy_is_lowest():
    made = machine("gaussian")
    for h in states(HIDDEN):
        mean = made.visible_mean(h[None]).detach().requires_grad_()
        (slope,) = torch.autograd.grad(made.energy(mean, h[None]).sum(), mean)
        assert float(slope.abs().max()) < 1e-12


@pytest.mark.parametrize("units", ["binary", "gaussian"])
def test_gradients_of_the_free_energy(units):
    made, v = machine(units), points(units)
    values = [value.detach().requires_grad_() for value in made.parameters()]
    names = [name for name, _ in made.named_parameters()]

    def free(*given: Tensor) -> Tensor:
        named = dict(zip(names, given[:-1], strict=True))
        return torch.func.functional_call(Free(made), {f"of.{name}": value for name, value in named.items()}, given[-1])

    assert torch.autograd.gradcheck(free, [*values, v.requires_grad_()])


class Free(torch.nn.Module):
    def __init__(self, of: RBM) -> None:
        super().__init__()
        self.of = of

    def forward(self, v: Tensor) -> Tensor:
        return self.of.free_energy(v)


def exact(made: RBM, images: Tensor) -> list[Tensor]:
    """The gradient of -mean log p(v), with Z by enumeration."""
    norm = (-made.free_energy(states(VISIBLE))).logsumexp(0)
    return list(torch.autograd.grad((made.free_energy(images) + norm).mean(), list(made.parameters())))


def test_the_positive_phase_is_that_of_the_likelihood():
    """The gradient of F(v) is minus what the data say: v p(h|v)^T, v and p(h|v)."""
    made, images = machine(), states(VISIBLE)[[1, 5, 5, 14]]
    found = torch.autograd.grad(made.free_energy(images).mean(), list(made.parameters()))
    hidden = made(images)
    expected = [-hidden.T @ images / 4, -images.mean(0), -hidden.mean(0)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_contrastive_divergence_comes_to_the_gradient_of_the_likelihood():
    made = machine()
    images = states(VISIBLE)[[1, 5, 5, 14]].repeat(20_000, 1)

    def off(steps: int) -> float:
        loss, _ = made.contrastive_divergence(images, steps, draws=generator(0))
        found = torch.autograd.grad(loss, list(made.parameters()))
        return max(float((a - b).abs().max()) for a, b in zip(found, exact(made, images[:4]), strict=True))

    # 80,000 draws: a mean is off by .002, the largest of 19 by some .005.
    assert off(30) < 0.008 < off(1)


def test_gibbs_sampling_has_the_probabilities_of_the_energy():
    made = machine()
    found = made.sample(torch.zeros(60_000, VISIBLE, dtype=torch.float64), 40, generator(3))
    share = torch.stack([(found == v).all(1).double().mean() for v in states(VISIBLE)])
    expected = (-made.free_energy(states(VISIBLE))).softmax(0)
    torch.testing.assert_close(share, expected.detach(), rtol=0, atol=0.008)


def test_gaussian_samples_are_normal_about_their_mean():
    made = RBM(2, 1, "gaussian").double()
    with torch.no_grad():
        made.weight.zero_()
        made.visible_bias.copy_(torch.tensor([3.0, -1.0]))
    found = made.sample(torch.zeros(40_000, 2, dtype=torch.float64), draws=generator(0))
    torch.testing.assert_close(found.mean(0), torch.tensor([3.0, -1.0], dtype=torch.float64), rtol=0, atol=0.03)
    torch.testing.assert_close(found.std(0), torch.ones(2, dtype=torch.float64), rtol=0, atol=0.03)


@pytest.mark.parametrize("persistent", [False, True])
def test_it_learns_a_distribution(persistent):
    """The exact likelihood of what it was shown rises towards that of a table of all states."""
    images = states(VISIBLE)[[0, 15, 15, 3]].repeat(50, 1)
    made = RBM(VISIBLE, 6).double()

    @torch.no_grad()
    def likelihood() -> float:
        norm = (-made.free_energy(states(VISIBLE))).logsumexp(0)
        return float(-(made.free_energy(images) + norm).mean())

    before = likelihood()
    made.fit(images, epochs=60, lr=0.2, batch_size=20, persistent=persistent, steps=2)
    best = 0.5 * math.log(0.25) + 0.5 * math.log(0.5)
    assert before < best - 1.2 and likelihood() > best - 0.4


@pytest.mark.parametrize("persistent", [False, True])
def test_persistent_chains_go_on_from_step_to_step(monkeypatch, persistent):
    made, begun, ended = RBM(VISIBLE, HIDDEN), [], []
    inner = made.sample

    def noting(visible, *given):
        begun.append(visible)
        ended.append(inner(visible, *given))
        return ended[-1]

    monkeypatch.setattr(made, "sample", noting)
    made.fit(states(VISIBLE).float(), epochs=2, batch_size=8, persistent=persistent)
    assert len(begun) == 4
    assert all((one is other) == persistent for one, other in zip(begun[1:], ended[:-1], strict=True))


def test_digits_are_learned():
    """Of digits that were held out: against their mean image, and against images of as many bright pixels in each place."""
    images = digits().train.inputs().flatten(1)
    shown, held_out = images[:1000], images[1000:]
    made = RBM(64, 32)
    made.fit(shown, epochs=20, lr=0.1, momentum=0.9)
    of_mean = float((held_out - shown.mean(0)).square().mean())
    assert float(made.reconstruction_error(held_out)) < of_mean / 2
    # Each pixel from another image: what each says by itself is the same.
    orders = torch.rand(held_out.shape, generator=generator(0)).argsort(0)
    mixed = held_out.gather(0, orders)
    with torch.no_grad():
        gap = float(made.free_energy(mixed).mean() - made.free_energy(held_out).mean())
    # To the machine they are some twenty times less likely, and more.
    assert gap > 3


def test_the_same_seed_gives_the_same_machine():
    found = []
    for seed in (0, 0, 1):
        made = RBM(4, 3, seed=seed)
        made.fit(states(4).float(), epochs=2, seed=seed)
        found.append(made.weight.detach())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: RBM(0, 3), "visible"),
        (lambda: RBM(3, 0), "hidden"),
        (lambda: RBM(3, 3, "ternary"), "units"),
        (lambda: RBM(4, 3).fit(states(4).float(), momentum=1.0), "momentum"),
        (
            lambda: RBM(4, 3, "gaussian").fit(states(4).float(), epochs=200, lr=5.0),
            "lr: the machine's weights are no longer",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, line):
    with pytest.raises(UserError) as raised:
        make()
    assert str(raised.value).startswith(line)
