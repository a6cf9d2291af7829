"""InfLoRA, SplitLoRA and EBLoRA: what a task trains stays outside what earlier tasks use, under any optimizer."""

import pytest
import torch
from tasks import context_of
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.layers import adapters, lora
from orthotrace.methods.eblora import EBLoRA, tangent
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.inflora import InfLoRA
from orthotrace.methods.splitlora import SplitLoRA
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.models.vit import ViT

STREAM = Split(digits(), tasks=2)
SHAPE = (1, 8, 8)
# At energy 1 all inputs of the few samples are held.
METHODS = {
    "inflora": lambda: InfLoRA(energy=1.0, growth=0.0, samples=8),
    "splitlora": lambda: SplitLoRA(plasticity=1e-9, samples=8),
    "eblora": lambda: EBLoRA(energy=1.0, growth=0.0, samples=8, start=0.1),
}
NETWORKS = {
    "mlp": lambda: MLP(SHAPE, 10, hidden=[40, 40]),
    "vit": lambda: ViT(SHAPE, 10, patch=4, features=64, depth=1),
}
OPTIMIZERS = {
    "sgd": lambda values: torch.optim.SGD(values, 0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda values: torch.optim.Adam(values, 0.01),
    "adamw": lambda values: torch.optim.AdamW(values, 0.01, weight_decay=0.1),
}


def begun(make, network: str = "mlp", stream=STREAM, rank: int = 3):
    torch.manual_seed(0)
    model = NETWORKS[network]().double()
    lora(model, rank)
    method = make()
    method.setup(model, Seeds(), stream)
    return method, model


def train(method, model, number: int, optimizer="adam", stream=STREAM, steps: int = 8, look=lambda: None):
    """A task; returns its outcome, and of each weight what it was and became."""
    context = context_of(stream, number)
    method.enter(context)
    method.begin_task(context)
    starts = {one.label: one.base.detach().clone() for one in method.adapters}
    values = [value for value in model.parameters() if value.requires_grad]
    optimizer = OPTIMIZERS[optimizer](values)
    detach = method.attach([optimizer])
    model.train()
    losses = []
    for inputs, labels in list(context.part.split(32, next(model.parameters())))[:steps]:
        optimizer.zero_grad()
        loss = stream.active.loss(method.training_forward(model, inputs, context), labels, number)
        loss.backward()
        method.on_step(context)
        optimizer.step()
        losses.append(loss.item())
        look()
    detach()
    model.eval()
    outcome = method.end_task(context)
    return outcome, {one.label: one.base.detach() - starts[one.label] for one in method.adapters}, losses


@pytest.mark.parametrize(("network", "optimizer"), [("vit", "adamw"), *(("mlp", one) for one in OPTIMIZERS)])
@pytest.mark.parametrize("name", METHODS)
def test_nothing_of_the_first_task_moves(name, network, optimizer):
    method, model = begun(METHODS[name], network)
    train(method, model, 0, optimizer)
    held = {one.label: space.held().clone() for one, space in method.pairs}
    # What was shown to the subspaces.
    seen = _sample(method, model, context_of(STREAM, 0))
    before = model(seen)[:, :5]
    outcome, moved, losses = train(method, model, 1, optimizer)
    assert losses[-1] < losses[0]
    # (Of a patch's few pixels the first block may have no direction left.)
    assert sum(float(update.norm()) > 1e-2 for update in moved.values()) >= len(moved) - 1
    for one in method.adapters:
        size, rows = float(moved[one.label].norm()), held[one.label].double()
        assert 0 < len(rows) < rows.shape[1] * 2 // 3
        assert float((moved[one.label] @ rows.T).norm()) <= 1e-12 * max(size, 1e-3)
        assert outcome.layers[one.label].leak <= 1e-12
    assert (model(seen)[:, :5] - before).abs().max() <= 1e-5 * before.abs().max()


def _sample(method, model, context):
    """The images that were shown at the end of a task."""
    found = []
    handle = model.register_forward_pre_hook(lambda module, args: found.append(args[0].clone()))
    for _ in method._rows(context, draw=1):
        pass
    handle.remove()
    return torch.cat(found)


def test_plain_adapters_forget():
    torch.manual_seed(0)
    model = NETWORKS["mlp"]().double()
    lora(model, 3)
    method = Finetune()
    method.setup(model, Seeds(), STREAM)
    method.adapters = adapters(model)
    method.end_task = lambda context: None
    train(method, model, 0)
    x = STREAM.test(0).inputs(torch.arange(20), next(model.parameters()))
    before = model(x)[:, :5]
    train(method, model, 1)
    assert (model(x)[:, :5] - before).abs().max() > 0.01 * before.abs().max()


def test_inflora_takes_the_principal_directions_outside_what_is_held():
    method, model = begun(METHODS["inflora"], rank=4)
    train(method, model, 0)
    context = context_of(STREAM, 1)
    rows = next(method._rows(context, draw=2))
    method.enter(context)
    method.begin_task(context)
    for (one, space), of in zip(method.pairs, rows, strict=True):
        held = space.held().double()
        residual = of - of @ held.T @ held
        found = torch.linalg.svd(residual).Vh[:4]
        down = one.low_rank.down.detach() * 3**0.5
        torch.testing.assert_close(down @ down.T, torch.eye(4).double(), rtol=0, atol=1e-9)
        # Up to the sign of each.
        torch.testing.assert_close((down * found).sum(1).abs(), torch.ones(4).double(), rtol=0, atol=1e-6)
        assert not one.low_rank.down.requires_grad and one.low_rank.up.requires_grad


def test_where_a_task_has_too_few_directions_free_ones_are_taken():
    method, model = begun(lambda: InfLoRA(energy=1.0, samples=2), rank=5)
    train(method, model, 0)
    context = context_of(STREAM, 1)
    method.begin_task(context)
    one, space = method.pairs[0]
    down = one.low_rank.down.detach() * 3**0.5
    torch.testing.assert_close(down @ down.T, torch.eye(5).double(), rtol=0, atol=1e-6)
    assert (down @ space.held().double().T).abs().max() <= 1e-6


def test_splitlora_mixes_all_free_directions():
    method, model = begun(lambda: SplitLoRA(plasticity=20.0), rank=3)
    train(method, model, 0)
    context = context_of(STREAM, 1)
    method.begin_task(context)
    for one, space in method.pairs:
        down, free = one.low_rank.down.detach(), space.features - space.rank
        assert space.rank > 0 and (down @ space.held().double().T).abs().max() <= 1e-6
        # Rows of length 1 / sqrt(3) on average, as those of plain adapters.
        assert 0.3 < float(down.norm(dim=1).mean()) * 3**0.5 < 1.7 and free > 3
    # The optimum grows with the tasks: a larger plasticity holds less.
    other, model = begun(lambda: SplitLoRA(plasticity=60.0), rank=3)
    train(other, model, 0)
    assert sum(space.rank for _, space in other.pairs) < sum(space.rank for _, space in method.pairs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_eblora_stays_on_the_manifold_at_every_step(optimizer):
    method, model = begun(METHODS["eblora"])
    steps = []

    def look() -> None:
        for one, space in method.pairs:
            up, down = one.low_rank.up.detach(), one.low_rank.down.detach()
            eye = torch.eye(3).double()
            assert (up.T @ up - eye).abs().max() <= 1e-5 and (down @ down.T - eye).abs().max() <= 1e-5
            assert not space.rank or (down @ space.held().double().T).abs().max() <= 1e-5
            values = torch.linalg.svdvals(one.low_rank.update().detach())[:3]
            torch.testing.assert_close(values, one.low_rank.size.detach().abs().expand(3), rtol=1e-5, atol=1e-9)
            steps.append(down.clone())

    for number in range(2):
        train(method, model, number, optimizer, look=look)
    assert not torch.allclose(steps[0], steps[-len(method.pairs)])


def test_a_step_of_eblora_is_that_of_the_rule():
    """Tangent gradient, step, tangent step, polar factor, in dense algebra."""
    method, model = begun(METHODS["eblora"])
    train(method, model, 0)
    context = context_of(STREAM, 1)
    method.begin_task(context)
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], 0.5)
    detach = method.attach([optimizer])
    x = torch.randn(20, *SHAPE, dtype=torch.float64)
    model(x).square().sum().backward()
    expected = []
    for one, space in method.pairs:
        up, down = one.low_rank.up, one.low_rank.down
        held = space.held().double()
        free = torch.eye(space.features).double() - held.T @ held
        for point, gradient, allowed in (
            (up, up.grad, torch.eye(len(up)).double()),
            (down.T, down.grad.T, free),
        ):
            now, gradient = point.detach(), allowed @ gradient
            gradient = gradient - now @ gradient.T @ now
            step = -0.5 * gradient
            moved = now + allowed @ (step - now @ step.T @ now)
            u, _, v = torch.linalg.svd(moved, full_matrices=False)
            expected.append(u @ v)
    method.on_step(context)
    for one, space in method.pairs:
        # What an adaptive optimizer takes for the size of a gradient has nothing of what is held.
        inside = one.low_rank.down.grad @ space.held().double().T
        assert inside.norm() <= 1e-6 * one.low_rank.down.grad.norm()
    optimizer.step()
    detach()
    for number, one in enumerate(method.adapters):
        torch.testing.assert_close(one.low_rank.up.detach(), expected[2 * number], rtol=0, atol=1e-5)
        torch.testing.assert_close(one.low_rank.down.detach().T, expected[2 * number + 1], rtol=0, atol=1e-5)


def test_eblora_takes_the_factors_nearest_to_an_average():
    method, model = begun(METHODS["eblora"])
    train(method, model, 0)
    method.begin_task(context_of(STREAM, 1))
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], 0.0)
    detach = method.attach([optimizer])
    expected = []
    for one, space in method.pairs:
        up, down, held = one.low_rank.up, one.low_rank.down, space.held().double()
        with torch.no_grad():
            for factor in (up, down):
                factor.add_(0.3 * torch.randn(factor.shape, dtype=torch.float64))
        # The polar factor X (X^T X)^(-1/2), by eigenvalues.
        for columns in (up.detach(), (down.detach() - down.detach() @ held.T @ held).T):
            values, vectors = torch.linalg.eigh(columns.T @ columns)
            expected.append(columns @ vectors @ torch.diag(values**-0.5) @ vectors.T)
    method.weights_written()
    for number, one in enumerate(method.adapters):
        torch.testing.assert_close(one.low_rank.up.detach(), expected[2 * number], rtol=0, atol=1e-6)
        torch.testing.assert_close(one.low_rank.down.detach().T, expected[2 * number + 1], rtol=0, atol=1e-6)
    # The next step begins there.
    optimizer.step()
    detach()
    for number, one in enumerate(method.adapters):
        torch.testing.assert_close(one.low_rank.up.detach(), expected[2 * number], rtol=0, atol=1e-6)


def test_the_tangent_is_that_of_the_canonical_metric():
    x = torch.linalg.qr(torch.randn(7, 3, dtype=torch.float64)).Q
    g = torch.randn(7, 3, dtype=torch.float64)
    step = tangent(x, g)
    # X^T step is skew: the columns stay orthonormal in first order.
    torch.testing.assert_close(x.T @ step, -(x.T @ step).T, rtol=0, atol=1e-12)
    # G X^T - X G^T acting on X.
    torch.testing.assert_close(step, (g @ x.T - x @ g.T) @ x, rtol=0, atol=1e-12)


def test_a_shared_readout_is_protected_too():
    stream = Split(digits(), tasks=2, scenario="domain", class_order="natural")
    torch.manual_seed(0)
    model = MLP(SHAPE, 5, hidden=[40, 40]).double()
    lora(model, 3)
    method = METHODS["inflora"]()
    method.setup(model, Seeds(), stream)
    outcome, _, _ = train(method, model, 0, stream=stream)
    assert "head" in outcome.layers and outcome.layers["head"].capacity.rank > 0
    seen = _sample(method, model, context_of(stream, 0))
    before, weight = model(seen), model.head.weight.detach().clone()
    train(method, model, 1, stream=stream)
    assert not torch.equal(model.head.weight, weight)
    assert (model(seen) - before).abs().max() <= 1e-4 * before.abs().max()


def test_what_is_missing_is_one_line():
    model = MLP(SHAPE, 10, hidden=[40])
    with pytest.raises(UserError, match="InfLoRA trains adapters, and the network has none: choose weights=lora"):
        InfLoRA().setup(model, Seeds(), STREAM)
    model = MLP(SHAPE, 10, hidden=[40, 40])
    lora(model, 3)
    model.fc2.bias.requires_grad_(True)
    with pytest.raises(UserError, match=r"the parameter fc2.bias is trained beside the adapters, and nothing protects"):
        InfLoRA().setup(model, Seeds(), STREAM)
    model = ConvNet((3, 16, 16), 10, channels=[4, 6])
    model.more = nn.Linear(10, 10)
    lora(model, 2, layers=["more"])
    with pytest.raises(UserError, match="keeps running statistics, which move beside the adapters"):
        InfLoRA().setup(model, Seeds(), STREAM)


def test_adapters_without_room_are_refused_with_what_is_left():
    method, model = begun(lambda: InfLoRA(energy=1.0, samples=300))
    with pytest.raises(UserError, match=r"adapter of 'fc2.weight' needs 3 free directions, and \d of 40 are left"):
        for number in range(2):
            train(method, model, number)


def test_an_update_begins_at_its_size():
    method, _ = begun(lambda: EBLoRA(energy=1.0, samples=8, start=-0.3))
    for adapter, space in method.pairs:
        method.design(adapter, space, torch.zeros(0, space.features), torch.Generator())
        assert adapter.low_rank.size.item() == pytest.approx(-0.3)


def test_an_update_that_begins_at_size_zero_is_learned():
    method, model = begun(lambda: EBLoRA(energy=1.0, growth=0.0, samples=8, start=0.0))
    _, moved, losses = train(method, model, 0)
    assert losses[-1] < losses[0] and all(float(update.norm()) > 1e-3 for update in moved.values())


@pytest.mark.parametrize("name", METHODS)
def test_a_readout_that_is_not_trained_needs_no_protection(name):
    torch.manual_seed(0)
    model = MLP(SHAPE, 10, hidden=[40, 40]).double()
    lora(model, 3)
    model.head.requires_grad_(False)
    method = METHODS[name]()
    method.setup(model, Seeds(), STREAM)
    for number in range(2):
        outcome, _, _ = train(method, model, number)
    assert outcome.layers and "head" not in outcome.layers


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seeds_draw_the_same_adapters(name):
    found = []
    for _ in range(2):
        method, _model = begun(METHODS[name])
        # Of the program's own random numbers a method draws none.
        torch.rand(1 + len(found))
        method.begin_task(context_of(STREAM, 0))
        factors = [factor for one in method.adapters for factor in (one.low_rank.down, one.low_rank.up)]
        found.append(torch.cat([factor.detach().flatten() for factor in factors]))
    assert torch.equal(*found)


@pytest.mark.parametrize("scenario", ["task", "domain"])
def test_what_an_average_leaves_in_the_readout_is_taken_back(scenario):
    stream = Split(digits(), tasks=2, scenario=scenario)
    method, model = begun(METHODS["inflora"], stream=stream)
    train(method, model, 0, stream=stream)
    context = context_of(stream, 1)
    method.enter(context)
    method.begin_task(context)
    readout = method.readout.head.layer if scenario == "task" else method.readout.layers[""]
    with torch.no_grad():
        readout.weight.add_(0.1)
    method.weights_written()
    if scenario == "task":
        assert not method.readout.head.moved(stream.active.for_training(1))
    else:
        assert max(method.readout.leaks().values()) <= 1e-12
