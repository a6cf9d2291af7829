"""The parametrizations against their formulas, in float64 and without their tricks; what they promise of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.layers import ONI, OWN, Stiefel, deviations, fold, orthogonalise
from orthotrace.layers.orthogonal import nearest_orthogonal

# Wide, tall and square matrices, groups of a convolution, one to three dimensions of places.
MAKE = {
    "linear": lambda: nn.Linear(40, 24),
    "tall": lambda: nn.Linear(12, 30),
    "square": lambda: nn.Linear(16, 16),
    "conv1d": lambda: nn.Conv1d(4, 10, 5),
    "conv2d": lambda: nn.Conv2d(5, 12, 3, bias=False),
    "conv3d": lambda: nn.Conv3d(2, 6, 2),
    "groups": lambda: nn.Conv2d(6, 8, 3, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 8, 3, groups=4),
}
# What each kind brings to 1e-4 of orthogonal, also where the matrix is square.
EXACT = {
    "own": {"group": 10},
    "oni": {"iterations": 50, "centre": False},
    "stiefel": {},
    "expm": {"map": "expm"},
}


def kind_of(case: str) -> str:
    return "stiefel" if case == "expm" else case


def layer_of(make: str, seed: int = 0):
    torch.manual_seed(seed)
    layer = MAKE[make]()
    # Well apart from singular: how near a random square matrix is to it is chance.
    start = nearest_orthogonal(layer.weight, getattr(layer, "groups", 1)).reshape_as(layer.weight)
    with torch.no_grad():
        layer.weight.copy_(start + 0.3 * layer.weight)
    return layer


def made_of(make: str, case: str, seed: int = 0):
    layer = layer_of(make, seed)
    orthogonalise(layer, kind_of(case), layers=[""], **EXACT[case])
    return layer


def inputs_of(layer, count: int = 6) -> torch.Tensor:
    if isinstance(layer, nn.Linear):
        return torch.randn(count, layer.in_features)
    return torch.randn(count, layer.in_channels, *[7] * len(layer.kernel_size))


def trained(layer, steps: int = 5, decay: float = 0.0):
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.02, weight_decay=decay)
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(inputs_of(layer)) - 1).square().mean().backward()
        optimizer.step()
    return layer


def rows_of(layer) -> list[torch.Tensor]:
    """The filter matrices of a layer, in float64, the scale taken out."""
    weight = layer.weight.detach().double() / 2**0.5
    return [part.flatten(1) for part in weight.chunk(getattr(layer, "groups", 1))]


@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("make", MAKE)
def test_weights_are_orthogonal_after_training(make, case):
    layer = made_of(make, case)
    before = layer.weight.detach().clone()
    trained(layer)
    assert (layer.weight - before).abs().max() > 0.01
    for matrix in rows_of(layer):
        rows, width = matrix.shape
        if case == "own":
            count = -(-rows // min(10, width - 1))
            sizes = [len(part) for part in torch.arange(rows).tensor_split(count)]
            assert torch.allclose(matrix.sum(dim=1), torch.zeros(rows, dtype=torch.float64), atol=1e-5)
        else:
            matrix, sizes = (matrix, [rows]) if rows <= width else (matrix.T, [width])
        for group in matrix.split(sizes):
            assert (group @ group.T - torch.eye(len(group))).abs().max() <= 1e-4
    assert deviations(layer)[""] <= 1e-4


@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("make", ["linear", "tall"])
def test_weight_decay_takes_nothing_from_them(make, case):
    # Torch's own parametrization keeps signs in the tensor that decays: a weight that is not square is 0 after a step.
    layer = trained(made_of(make, case), steps=30, decay=1.0)
    assert deviations(layer)[""] <= 1e-4
    [matrix] = rows_of(layer)
    # OWN's filters have mean 0: of 12 inputs 11 directions are left to a group.
    directions = min(matrix.shape) - (case == "own" and make == "tall")
    assert torch.linalg.matrix_rank(matrix) >= directions


def test_groups_of_own_are_as_few_and_as_equal_as_can_be():
    cases = {(100, 64): [50, 50], (10, 5): [4, 3, 3], (7, 100): [7], (130, 200): [44, 43, 43], (3, 2): [1, 1, 1]}
    for (rows, width), sizes in cases.items():
        matrices = torch.arange(rows)[None, :, None].expand(2, rows, width)
        blocks = OWN((2 * rows, width), groups=2).blocks(matrices)
        assert [part.shape[2] for part in blocks for _ in range(part.shape[1])] == sizes
        assert torch.cat([part.flatten(1, 2) for part in blocks], dim=1).equal(matrices)


def oracle_own(weight: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """U V^T of the centred groups, by the SVD."""
    found = []
    for group in weight.flatten(1).split(sizes):
        u, _, v = torch.linalg.svd(group - group.mean(dim=1, keepdim=True), full_matrices=False)
        found.append(u @ v)
    return 2**0.5 * torch.cat(found).reshape(weight.shape)


@pytest.mark.parametrize(("shape", "sizes"), [((5, 8), [3, 2]), ((4, 2, 3), [2, 2]), ((3, 3), [2, 1])], ids=str)
def test_own_and_its_gradient_against_the_singular_value_decomposition(shape, sizes):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    own, along = OWN(shape, group=3 if sizes[0] == 3 else 2), torch.randn(shape, dtype=torch.float64)
    assert torch.allclose(own(weight), oracle_own(weight, sizes), atol=1e-12)
    (got,) = torch.autograd.grad((own(weight) * along).sum(), weight)
    (expected,) = torch.autograd.grad((oracle_own(weight, sizes) * along).sum(), weight)
    assert torch.allclose(got, expected, atol=1e-10)


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (OWN((5, 7), group=3), (5, 7)),
        (OWN((4, 2, 2), groups=2, centre=False, learn_scale=True), (4, 2, 2)),
        (ONI((3, 6), iterations=3), (3, 6)),
        (ONI((6, 3), iterations=4), (6, 3)),
    ],
    ids=str,
)
def test_first_and_second_derivatives(made, shape):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    made.double()
    assert torch.autograd.gradcheck(made, (weight,))
    assert torch.autograd.gradgradcheck(made, (weight,))


def test_own_has_a_gradient_where_eigenvalues_are_equal():
    # Rows that are orthonormal and of mean 0 already: one eigenvalue, four times.
    weight = OWN((4, 9), scale=1.0)(torch.randn(4, 9, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(OWN((4, 9)), (weight,))


def oracle_oni(weight: torch.Tensor, iterations: int, centre: bool) -> torch.Tensor:
    """The formula as it is printed."""
    matrix = weight if weight.shape[0] <= weight.shape[1] else weight.T
    if centre:
        matrix = matrix - matrix.mean(dim=1, keepdim=True)
    moment = matrix @ matrix.T
    size = moment.square().sum().sqrt()
    found = torch.eye(len(moment), dtype=moment.dtype)
    for _ in range(iterations):
        found = 1.5 * found - 0.5 * torch.linalg.matrix_power(found, 3) @ moment / size
    found = found @ matrix / size.sqrt()
    return found if weight.shape[0] <= weight.shape[1] else found.T


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 6)], ids=str)
def test_oni_is_its_formula(shape, centre, iterations):
    torch.manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64)
    found = ONI(shape, iterations=iterations, centre=centre, scale=1.0)(weight)
    assert torch.allclose(found, oracle_oni(weight, iterations, centre), atol=1e-12)


@pytest.mark.parametrize(("iterations", "low", "high"), [(2, 0.49, 0.82), (3, 0.69, 0.955), (5, 0.97, 1.0)])
def test_singular_values_of_oni_are_those_of_the_paper(iterations, low, high):
    torch.manual_seed(0)
    weights = (2 / 576) ** 0.5 * torch.randn(5, 64, 64, 3, 3)
    made = ONI((64, 64, 3, 3), iterations=iterations, scale=1.0)
    values = torch.stack([torch.linalg.svdvals(made(weight).flatten(1)) for weight in weights])
    assert float(values.amin(dim=1).mean()) == pytest.approx(low, abs=0.03)
    assert float(values.amax(dim=1).mean()) == pytest.approx(high, abs=0.03)


@pytest.mark.parametrize("iterations", [10, 15, 20])
@pytest.mark.parametrize("condition", [10.0, 1e3, 1e6])
def test_oni_is_stable_on_square_matrices(iterations, condition):
    """No singular value above 1, all where the scalar iteration brings them: however badly conditioned."""
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(64, 64, dtype=torch.float64)).Q for _ in range(2))
    values = torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), 64, dtype=torch.float64)
    weight = (u * values) @ v.T
    expected = values / values.pow(4).sum().pow(0.25)
    for _ in range(iterations):
        expected = 1.5 * expected - 0.5 * expected**3
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        found = ONI((64, 64), iterations=iterations, centre=False, scale=1.0)(weight.to(dtype)).double()
        assert found.isfinite().all() and torch.linalg.svdvals(found).max() < 1 + 1e-5
        assert (torch.linalg.svdvals(found) - expected.sort(descending=True).values).abs().max() < tolerance


@pytest.mark.parametrize("shape", [(12, 5), (4, 2, 3, 3), (3, 2, 2)], ids=str)
def test_the_columns_of_tall_matrices_become_orthonormal(shape):
    torch.manual_seed(0)
    for made in (ONI(shape, iterations=30, scale=1.0), Stiefel(shape, scale=1.0)):
        layer = nn.Module()
        layer.weight = nn.Parameter(torch.randn(shape))
        parametrize.register_parametrization(layer, "weight", made)
        matrix = layer.weight.detach().flatten(1)
        product = matrix.T @ matrix if shape[0] > matrix.shape[1] else matrix @ matrix.T
        assert torch.allclose(product, torch.eye(len(product)), atol=1e-5)


@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("make", ["linear", "groups"])
def test_an_orthogonal_matrix_that_is_assigned_is_the_weight(make, case):
    layer, other = made_of(make, case), made_of(make, case, seed=1)
    wanted = other.weight.detach().clone()
    assert not torch.allclose(layer.weight, wanted, atol=0.1)
    layer.weight = wanted
    assert torch.allclose(layer.weight, wanted, atol=1e-5)
    layer.weight = wanted + 0.01 * torch.randn_like(wanted)
    assert deviations(layer)[""] <= 1e-4 and torch.allclose(layer.weight, wanted, atol=0.1)


@pytest.mark.parametrize("case", EXACT)
def test_under_autocast_the_weight_stays_orthogonal(case):
    layer = made_of("conv2d", case)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(inputs_of(layer)).dtype == torch.bfloat16
        weight = layer.weight
        layer(inputs_of(layer)).square().mean().backward()
    assert weight.dtype == torch.float32 and weight.equal(layer.weight) and deviations(layer)[""] <= 1e-4
    assert layer.parametrizations.weight.original.grad.isfinite().all()


@pytest.mark.parametrize("options", [{}, {"learn_scale": True}], ids=["fixed", "learned"])
@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize("make", ["conv2d", "tall"])
def test_copies_saved_states_and_folded_layers_give_the_same(make, case, options):
    layer = layer_of(make)
    orthogonalise(layer, kind_of(case), layers=[""], **EXACT[case], **options)
    trained(layer)
    inputs = inputs_of(layer)
    expected = layer(inputs)
    fresh = layer_of(make, seed=1)
    orthogonalise(fresh, kind_of(case), layers=[""], **EXACT[case], **options)
    assert not torch.allclose(fresh(inputs), expected, atol=0.1)
    fresh.load_state_dict(layer.state_dict())
    copied = copy.deepcopy(layer)
    assert fresh(inputs).equal(expected) and copied(inputs).equal(expected)
    # A copy trains on its own.
    trained(copied)
    assert layer(inputs).equal(expected) and deviations(copied)[""] <= 1e-4
    fold(fresh)
    assert type(fresh) in (nn.Linear, nn.Conv2d) and isinstance(fresh.weight, nn.Parameter)
    assert torch.allclose(fresh(inputs), expected, atol=1e-6)
    assert set(fresh.state_dict()) == {name for name, _ in MAKE[make]().named_parameters()}


def test_a_learned_scale_is_trained_for_each_output():
    layer = layer_of("conv2d")
    orthogonalise(layer, "own", layers=[""], learn_scale=True)
    assert torch.allclose(layer.weight.flatten(1).norm(dim=1), torch.full((12,), 2**0.5))
    trained(layer, 40)
    norms = layer.weight.flatten(1).norm(dim=1)
    assert norms.max() - norms.min() > 0.01 and deviations(layer)[""] <= 1e-4
    assert torch.allclose(norms, layer.parametrizations.weight[0].scale.flatten().abs(), atol=1e-5)


def test_weights_that_are_not_finite_are_an_error():
    weight = torch.randn(4, 9)
    weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite: lower the learning rate"):
        OWN((4, 9))(weight)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: OWN((4, 9), group=0), "group"),
        (lambda: OWN((4, 9), scale=0.0), "scale"),
        (lambda: OWN((4, 1)), None),
        (lambda: ONI((4, 9), iterations=0), "iterations"),
        (lambda: Stiefel((4, 9), map="exp"), "map"),
    ],
)
def test_options_out_of_range(make, key):
    with pytest.raises(UserError) as refused:
        make()
    assert refused.value.key == key
