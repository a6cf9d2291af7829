"""Which layers can be protected, and the rows that their matrices are multiplied with."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import pad, unfold

from orthotrace.core.errors import UserError
from orthotrace.layers.lora import lora
from orthotrace.protection import Guard, protectable
from orthotrace.protection.layers import weight_matrices
from orthotrace.protection.products import rows
from orthotrace.subspace import SvdSubspace


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    return model


def adapted() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    lora(model, rank=1, layers=["0"])
    return model


UNPROTECTED = [
    (tied(), "layers '0' and '2' share a parameter"),
    (nn.Sequential(nn.Linear(2, 2)).bfloat16(), "layer '0' is torch.bfloat16"),
    (nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)), "layer '0' is torch.complex64"),
    (adapted(), "layer '0' is parametrised (LowRank)"),
    (nn.Sequential(nn.Bilinear(1, 2, 3), nn.Linear(2, 2)), "layer '0' (Bilinear)"),
    (nn.Sequential(nn.Linear(2, 2), nn.PReLU()), "parameter weight of layer '1' (PReLU)"),
    (nn.Sequential(nn.Linear(2, 2), Odd()), "parameter scale of layer '1' (Odd)"),
    (nn.Sequential(nn.EmbeddingBag(3, 2), nn.Linear(2, 2)), "layer '0' (EmbeddingBag)"),
    (nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(2, 2))), "the weight of layer '0' is parametrised"),
    (
        nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(2, 2, bias=False))),
        "the weight of layer '0' is parametrised",
    ),
    (nn.Sequential(nn.ReLU()), "no Linear layer and no convolution"),
]


@pytest.mark.parametrize(("model", "line"), UNPROTECTED, ids=[line for _, line in UNPROTECTED])
def test_what_would_change_unprotected_is_refused_by_name(model, line):
    with pytest.raises(UserError) as error:
        protectable(model)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_layers_may_share_a_weight_that_is_frozen():
    model = tied()
    model[0].weight.requires_grad_(False)
    assert list(protectable(model)) == ["0", "2"]
    model[0].weight.requires_grad_(True)
    with pytest.raises(UserError, match="share a parameter"):
        protectable(model)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_a_weight_that_is_computed_before_each_call_is_refused():
    with pytest.raises(UserError, match="layer '0' is parametrised"):
        protectable(nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 2))))


def test_normalisation_and_frozen_parameters_need_no_protection():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2), nn.LayerNorm(2))
    model.add_module("odd", Odd().requires_grad_(False))
    assert list(protectable(model)) == ["0", "3"]


# kernel, stride, padding, dilation, groups, mode of the padding
CONVOLUTIONS = [
    (3, 1, 1, 1, 1, "zeros"),
    (3, 2, 1, 1, 1, "zeros"),
    (3, 1, 0, 2, 1, "zeros"),
    (3, 2, 2, 2, 1, "zeros"),
    (3, 1, 1, 1, 2, "zeros"),
    (3, 2, 1, 2, 4, "zeros"),
    (1, 1, 0, 1, 1, "zeros"),
    (1, 2, 0, 1, 2, "zeros"),
    (5, 3, 2, 1, 1, "zeros"),
    ((3, 5), (2, 1), (0, 2), (1, 2), 2, "zeros"),
    ((1, 4), 1, (0, 1), 1, 4, "zeros"),
    (4, 2, 1, 1, 1, "reflect"),
    (3, 1, "same", 2, 2, "zeros"),
    (3, 1, 2, 1, 1, "circular"),
]


def convolution(kernel, stride, padding, dilation, groups, mode):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, padding_mode=mode).double()
    return layer, torch.randn(3, 4, 12, 11, dtype=torch.float64)


def unfolded(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """The oracle: torch's own unfold of the padded input, (groups, n, features), images before places."""
    border = layer._reversed_padding_repeated_twice
    x = pad(x, border, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)
    columns = unfold(x, layer.kernel_size, layer.dilation, 0, layer.stride)
    n, _, places = columns.shape
    return columns.view(n, layer.groups, -1, places).permute(1, 0, 3, 2).reshape(layer.groups, n * places, -1)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_patches_are_as_the_layer_sees_them(case):
    layer, x = convolution(*case)
    found = rows(layer, x)
    assert torch.equal(found, unfolded(layer, x))
    outputs = torch.cat(
        [found[part.group] @ part.weight.T + part.bias for part in weight_matrices("conv", layer)], dim=1
    )
    expected = layer(x).permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.allclose(outputs, expected, atol=1e-12)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_projecting_the_weight_is_projecting_unfolded_inputs(case):
    """dL/dW of projected patches, as the papers compute it, is the projected gradient."""
    layer, x = convolution(*case)
    patches = unfolded(layer, x)
    delta = torch.randn_like(layer(x))
    layer(x).backward(delta)
    for part in weight_matrices("conv", layer):
        basis = torch.linalg.qr(torch.randn(part.features, 1 + part.features // 2, dtype=torch.float64)).Q.T
        errors = delta[:, part.outputs].permute(1, 0, 2, 3).flatten(1)
        projected = patches[part.group] - patches[part.group] @ basis.T @ basis
        expected = errors @ projected
        gradient = layer.weight.grad[part.outputs].flatten(1)
        assert torch.allclose(gradient - gradient @ basis.T @ basis, expected, rtol=0, atol=1e-10)


def test_channels_last_single_images_and_other_dimensions():
    layer, x = convolution(3, 2, 1, 1, 2, "zeros")
    last = x.to(memory_format=torch.channels_last)
    assert torch.equal(rows(layer, last), rows(layer, x))
    assert torch.equal(rows(layer, x[0]), rows(layer, x[:1]))
    for kind, shape in ((nn.Conv1d, (2, 4, 9)), (nn.Conv3d, (2, 4, 5, 6, 7))):
        torch.manual_seed(0)
        one = kind(4, 6, 3, stride=2, padding=1, groups=2).double()
        x = torch.randn(shape, dtype=torch.float64)
        found = torch.cat([rows(one, x)[p.group] @ p.weight.T + p.bias for p in weight_matrices("c", one)], dim=1)
        assert torch.allclose(found, one(x).movedim(1, -1).flatten(0, -2), atol=1e-12)


@pytest.mark.parametrize("budget", [1, 7, 120, 10**6])
def test_a_budget_draws_places_that_are_there_none_twice(budget):
    layer, x = convolution(3, 2, 1, 1, 2, "zeros")
    whole = rows(layer, x)
    drawn = rows(layer, x, budget, torch.Generator().manual_seed(0))
    assert drawn.shape[1] == min(budget, whole.shape[1])
    same = (drawn[0][:, None] == whole[0][None]).all(-1)
    assert same.any(1).all() and int(same.any(0).sum()) == drawn.shape[1]
    # The same places for all groups.
    assert torch.equal((drawn[1][:, None] == whole[1][None]).all(-1), same)


def test_a_budget_is_fair():
    layer, x = convolution(3, 1, 1, 1, 1, "zeros")
    whole = rows(layer, x)[0]
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(len(whole))
    for _ in range(400):
        drawn = rows(layer, x, 50, generator)[0]
        counts += (drawn[:, None] == whole[None]).all(-1).any(0)
    # Each place is drawn with probability 50 / n.
    expected = 400 * 50 / len(whole)
    assert float((counts - expected).abs().max()) < 5 * expected**0.5


def test_an_empty_batch_has_no_patches():
    for kind, shape in ((nn.Conv2d(4, 6, 3, groups=2), (0, 4, 8, 8)), (nn.Linear(4, 2), (0, 4))):
        assert rows(kind, torch.zeros(shape)).shape[1] == 0


def test_linear_layers_of_transformers_have_their_weight_turned():
    layer = pytest.importorskip("transformers.pytorch_utils").Conv1D(6, 4).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (part,) = weight_matrices("c_attn", layer)
    assert list(protectable(nn.Sequential(layer))) == ["0"] and part.features == 4
    outputs = rows(layer, x)[0] @ part.weight.T + part.bias
    assert torch.allclose(outputs, layer(x).reshape(15, 6), atol=1e-12)
    guard = Guard(nn.Sequential(layer), SvdSubspace, rows=2)
    guard.remember(nn.Sequential(layer), x)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    with guard.protecting(optimizer):
        layer(x).square().sum().backward()
        optimizer.step()
    assert guard.leaks()["0"] <= 1e-12 and float(guard.update("0")[:, :4].norm()) > 0.1


class Named(nn.Linear):
    """As its base, with an attribute of its own."""

    title = "readout"


def test_a_class_that_computes_as_its_base_is_taken_for_it():
    model = nn.Sequential(Named(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert list(protectable(model)) == ["0", "2"]
    guard = Guard(model, SvdSubspace, energy=1.0)
    guard.remember(model, torch.rand(2, 3))
    assert guard.subspaces["0"].rank == 2


def test_layers_of_spikingjelly_are_taken_with_time_before_the_batch():
    jelly = pytest.importorskip("spikingjelly.activation_based.layer")
    model = nn.Sequential(jelly.Conv2d(1, 4, 3, step_mode="m"), jelly.Flatten(step_mode="m"), jelly.Linear(64, 5))
    guard = Guard(model, SvdSubspace, rows=3)
    with guard.watching() as seen:
        model(torch.rand(7, 2, 1, 6, 6))
    assert [tuple(part.rows(seen).shape) for part in guard.parts] == [(7 * 2 * 16, 9), (14, 64)]


def test_of_a_parametrised_weight_both_ways_out_are_named():
    with pytest.raises(UserError, match="on the command line weights=free or .* in Python torch.nn.utils.parametrize"):
        protectable(nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(2, 2))))
