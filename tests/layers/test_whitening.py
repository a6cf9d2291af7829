from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers.whitening import Whitening


def maps(n: int, channels: int, values, side: int = 4, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    """Feature maps whose covariance has these eigenvalues, in one basis, of another mean in every channel."""
    fixed, draws = torch.Generator().manual_seed(99), torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(channels, channels, generator=fixed, dtype=torch.float64)).Q
    noise = torch.randn(n * side * side, channels, generator=draws, dtype=torch.float64)
    rows = noise * torch.as_tensor(values, dtype=torch.float64).sqrt() @ basis + torch.arange(channels) / channels
    return rows.view(n, side, side, channels).permute(0, 3, 1, 2).to(dtype).contiguous()


def whiteness(outputs: torch.Tensor) -> float:
    """|cov - I|_F / sqrt(d)."""
    rows = outputs.transpose(0, 1).flatten(1).double().numpy()
    return float(np.linalg.norm(np.cov(rows, bias=True) - np.eye(len(rows))) / len(rows) ** 0.5)


def spectra(width: int) -> dict[str, np.ndarray]:
    """Eigenvalues up to condition 1e3, and with one that holds a share of the trace."""
    found = {f"condition {c:g}": np.logspace(0, -np.log10(c), width) for c in (1, 100, 1000)}
    for share in (0.3, 0.6, 0.9):
        rest = np.ones(width)
        rest[0] = share / (1 - share) * (width - 1)
        found[f"top {share}"] = rest
    return found


@pytest.mark.parametrize("width", [64, 256, 512])
@pytest.mark.parametrize("spectrum", list(spectra(2)))
def test_channels_become_white(width, spectrum):
    inputs = maps(width // 2, width, spectra(width)[spectrum])
    assert whiteness(Whitening(width)(inputs)) <= 1e-3


@pytest.mark.parametrize("spectrum", list(spectra(2)))
def test_newton_schulz_reaches_the_same(spectrum):
    inputs = maps(64, 64, spectra(64)[spectrum])
    exact, steps = Whitening(64)(inputs), Whitening(64, solver="newton")(inputs)
    assert whiteness(steps) <= 1e-2
    assert torch.allclose(steps, exact, atol=0.1)


LAYOUTS = {
    "(n, d)": ((40, 6), 1),
    "(n, d, length)": ((10, 6, 5), 1),
    "(n, d, h, w)": ((10, 6, 3, 2), 1),
    "(n, d, t, h, w)": ((4, 6, 3, 2, 2), 1),
    "tokens (n, length, d)": ((10, 5, 6), -1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_whitening_of_its_columns(layout):
    shape, dim = LAYOUTS[layout]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    inputs = inputs + 0.5 * inputs.roll(1, dim)
    layer = Whitening(6, channel_dim=dim).double()
    found = layer(inputs)
    assert found.shape == inputs.shape and found.is_contiguous()
    columns = inputs.movedim(dim, 0).flatten(1).numpy()
    covariance = np.cov(columns, bias=True)
    covariance += 1e-5 * np.trace(covariance) / 6 * np.eye(6)
    values, vectors = np.linalg.eigh(covariance)
    expected = vectors / np.sqrt(values) @ vectors.T @ (columns - columns.mean(1, keepdims=True))
    assert np.allclose(found.movedim(dim, 0).flatten(1).numpy(), expected, atol=1e-10)


def test_groups_are_whitened_each_by_itself():
    inputs = maps(20, 6, np.arange(1, 7), dtype=torch.float64)
    layer = Whitening(6, groups=3).double()
    found = layer(inputs)
    for group in range(3):
        part = slice(2 * group, 2 * group + 2)
        assert torch.allclose(found[:, part], Whitening(2).double()(inputs[:, part]))
    layer.eval()
    assert torch.allclose(layer.inverse(layer(inputs)), inputs, atol=1e-9)


@pytest.mark.parametrize("spectrum", [[4.0, 2.0, 1.0], [1.0, 1.0, 1.0]], ids=str)
@pytest.mark.parametrize(("groups", "solver", "training"), [(1, "eigh", True), (3, "eigh", True), (1, "newton", True), (1, "eigh", False)])  # fmt: skip
def test_gradients_of_both_orders(spectrum, groups, solver, training):
    basis = torch.linalg.qr(torch.randn(12, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    inputs = (basis - basis.mean(0)) * torch.tensor(spectrum, dtype=torch.float64).sqrt()
    layer = Whitening(3, groups=groups, solver=solver).double()
    layer(inputs)
    layer.train(training).frozen = False
    inputs.requires_grad_()
    assert torch.autograd.gradcheck(layer, (inputs,))
    assert torch.autograd.gradgradcheck(layer, (inputs,))


def test_torch_func_gives_gradients_in_training():
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    layer = Whitening(4, groups=2).double()

    def loss(rows: torch.Tensor) -> torch.Tensor:
        # Statistics that a function changes must be its own.
        buffers = {name: value.clone() for name, value in layer.named_buffers()}
        return torch.func.functional_call(layer, buffers, (rows,)).pow(3).sum()

    leaf = inputs.clone().requires_grad_()
    layer(leaf).pow(3).sum().backward()
    assert torch.allclose(torch.func.grad(loss)(inputs), leaf.grad, atol=1e-12)
    assert torch.allclose(torch.func.jacrev(loss)(inputs), leaf.grad, atol=1e-12)


def test_equal_eigenvalues_leave_gradients_finite():
    # A Hadamard matrix: all variances are exactly one, and all covariances zero.
    one = torch.tensor([[1.0, 1], [1, -1]])
    rows = torch.kron(torch.kron(one, one), one)[:, 1:].requires_grad_()
    layer = Whitening(7, eps=1e-9)
    layer._warned = True
    layer(rows).square().mul(torch.arange(7.0)).sum().backward()
    assert rows.grad is not None and bool(rows.grad.isfinite().all())


def test_running_statistics_are_those_of_the_data():
    layer = Whitening(4, momentum=0.2)
    batches = [maps(16, 4, [4, 2, 1, 0.5], seed=seed) for seed in range(60)]
    for batch in batches:
        layer(batch)
    rows = torch.cat(batches).transpose(0, 1).flatten(1)
    assert torch.allclose(layer.mean, rows.mean(1), atol=0.1)
    assert torch.allclose(layer.covariance[0], rows.cov(), rtol=0.2, atol=0.1)
    # Of an exponential mean with weight a: n (2 - a) / a.
    assert float(layer.samples) == pytest.approx(16 * 16 * (2 - 0.2) / 0.2, rel=1e-3)


def test_the_first_batches_count_alike():
    layer = Whitening(4, momentum=0.01)
    batches = [maps(16, 4, [4, 2, 1, 0.5], seed=seed, dtype=torch.float64) for seed in range(5)]
    layer.double()
    for batch in batches:
        layer(batch)
    expected = torch.stack([batch.transpose(0, 1).flatten(1).cov() for batch in batches]).mean(0)
    assert torch.allclose(layer.covariance[0], expected)


def test_evaluation_is_one_affine_map_that_follows_the_statistics():
    layer = Whitening(4)
    inputs = maps(16, 4, [4, 2, 1, 0.5])
    layer(inputs)
    layer.eval()
    first = layer(inputs)
    matrix, offset = layer.affine()
    assert torch.allclose(torch.einsum("dc,nchw->ndhw", matrix, inputs) + offset[:, None, None], first, atol=1e-5)
    assert layer.affine()[0] is matrix
    layer.train()(2 * inputs)
    assert not torch.allclose(layer.eval()(inputs), first, atol=1e-2)
    other = copy.deepcopy(layer)
    other.load_state_dict(Whitening(4).state_dict())
    assert torch.allclose(other(inputs), inputs / (1 + 1e-5) ** 0.5)


def test_the_map_is_never_that_of_other_statistics():
    """Not by values written past torch's count, nor by those that lie where others lay before."""
    layer = Whitening(16).eval()
    inputs = torch.randn(4, 16)
    layer(inputs)
    layer.mean.data.fill_(5.0)
    assert torch.allclose(layer(inputs), (inputs - 5) / (1 + 1e-5) ** 0.5, atol=1e-5)
    for number in range(20):
        statistics = {"mean": torch.full((16,), float(number)), "covariance": (1.0 + number) * torch.eye(16)[None]}
        found = torch.func.functional_call(layer, statistics, (inputs,))
        assert torch.allclose(found, (inputs - number) / ((1 + number) * (1 + 1e-5)) ** 0.5, atol=1e-4)
        del statistics, found


def test_gradients_of_the_statistics_in_evaluation():
    """Asked for once and again, beside what is kept; against differences."""
    layer = Whitening(4).double()
    layer(torch.randn(60, 4).double() @ torch.randn(4, 4).double())
    layer.eval()
    inputs = torch.randn(5, 4).double()
    layer(inputs)

    def loss(mean, covariance):
        return torch.func.functional_call(layer, {"mean": mean, "covariance": covariance}, (inputs,)).square().sum()

    for shift in (0.0, 1.0, 1.0):
        mean, scale = layer.mean + shift, layer.covariance * (1 + shift)
        found = torch.func.grad(loss, argnums=(0, 1))(mean, scale)
        plain = [value.clone().requires_grad_() for value in (mean, scale)]
        again = torch.autograd.grad(loss(*plain), plain)
        step = 1e-6 * torch.randn(4).double()
        change = (loss(mean + step, scale) - loss(mean - step, scale)) / 2
        assert float((found[0] * step).sum()) == pytest.approx(float(change), rel=1e-5)
        grown = (loss(mean, scale * (1 + 1e-6)) - loss(mean, scale * (1 - 1e-6))) / 2e-6
        assert float((found[1] * scale).sum()) == pytest.approx(float(grown), rel=1e-4)
        assert all(torch.allclose(one, other) for one, other in zip(found, again, strict=True))


def test_frozen_statistics_serve_in_training():
    layer = Whitening(4)
    inputs = maps(16, 4, [4, 2, 1, 0.5])
    layer(inputs)
    before, expected = copy.deepcopy(layer.state_dict()), copy.deepcopy(layer).eval()(3 * inputs)
    layer.frozen = True
    assert torch.equal(layer.train()(3 * inputs), expected)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_saliency_after_evaluation_in_inference_mode():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Whitening(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    inputs = maps(16, 3, [1, 1, 1])
    net(inputs)
    net.eval()
    with torch.inference_mode():
        net(inputs)
    inputs.requires_grad_()
    net(inputs)[:, 0].sum().backward()
    assert inputs.grad is not None and float(inputs.grad.abs().sum()) > 0


def test_few_samples_are_shrunk_with_a_warning():
    layer = Whitening(32)
    layer.label = "layer 'bn1': "
    inputs = maps(2, 32, np.ones(32), side=3)
    with pytest.warns(UserWarning, match=r"layer 'bn1': 18 samples for 32 channels"):
        found = layer(inputs)
    # Without shrinkage the empty directions would be blown up by 1 / sqrt(eps) in evaluation.
    assert float(layer.eval()(maps(50, 32, np.ones(32), seed=5)).std()) < 5
    assert bool(found.isfinite().all())


def test_few_samples_are_shrunk_by_the_oracle_approximation():
    """As Chen et al., IEEE Trans. Signal Process. 58 (2010), eq. 23, have it, of each group."""
    rows = torch.randn(5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = rows * torch.logspace(0, -1, 12, dtype=torch.float64)
    with pytest.warns(UserWarning, match="5 samples for 6 channels"):
        found = Whitening(12, groups=2).double()(rows)
    centred, expected, n, d = (rows - rows.mean(0)).numpy(), [], 5, 6
    for x in (centred[:, :6], centred[:, 6:]):
        s = x.T @ x / n
        square, trace = np.trace(s @ s), np.trace(s)
        share = ((1 - 2 / d) * square + trace**2) / ((n + 1 - 2 / d) * (square - trace**2 / d))
        assert 0 < share < 1
        s = (1 - share) * s + (share + 1e-5) * trace / d * np.eye(d)
        values, vectors = np.linalg.eigh(s)
        expected.append(x @ (vectors / np.sqrt(values)) @ vectors.T)
    assert np.allclose(found.detach(), np.concatenate(expected, axis=1), atol=1e-8)


def test_autocast_leaves_the_arithmetic_alone():
    inputs = maps(32, 8, np.logspace(0, -3, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Whitening(8)(inputs)
        rounded = Whitening(8)(inputs.bfloat16())
    assert whiteness(found) <= 1e-3 and found.dtype == torch.float32
    assert rounded.dtype == torch.bfloat16


REFUSED = {
    "groups that do not divide": (lambda: Whitening(6, groups=4), "groups: 6 channels do not divide into 4"),
    "no channels": (lambda: Whitening(channels=0), "channels: input should be greater"),
    "another width": (lambda: Whitening(3)(torch.ones(4, 5, 2, 2)), r"inputs of 3 channels are needed in dimension 1 \(got the shape \(4, 5, 2, 2\)\)"),
    "a vector": (lambda: Whitening(3)(torch.ones(3)), "inputs of 3 channels"),
    "no samples in groups": (lambda: Whitening(4, groups=2)(torch.ones(0, 4)), r"two samples or more are needed to whiten \(got 0\)"),
    "one sample": (lambda: Whitening(3)(torch.ones(1, 3)), r"two samples or more are needed to whiten \(got 1\)"),
    "nan": (lambda: Whitening(3)(torch.full((4, 3), torch.nan)), "its inputs are not finite"),
    "bfloat16": (lambda: Whitening(3).bfloat16()(torch.ones(4, 3).bfloat16()), "too few digits to whiten"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        call()


def test_channels_without_variance_stay_zero():
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    inputs[:, 1] = 7.0
    found = Whitening(3)(inputs)
    assert bool(found.isfinite().all()) and float(found[:, 1].abs().max()) < 0.1
    assert not bool(Whitening(3)(torch.ones(8, 3)).any())
