import copy
import itertools

import pytest
import torch
from composed import built, composed
from tasks import context_of, to_nearest_input
from torch import nn

from orthotrace.config.folder_names import run_name
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.methods.task_weights import task_weight
from orthotrace.methods.trgp import TRGP, Region
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.protection.layers import weight_matrices
from orthotrace.results.run_folder import Run

STREAM = Permuted(digits(), tasks=3)


def begun(task: int, steps: int = 20, model: nn.Module | None = None, stream=STREAM, **options):
    """A method in the middle of a task, all earlier ones trained a little; its network, and the context."""
    torch.manual_seed(0)
    model = model or MLP((1, 8, 8), 10, hidden=[20])
    method = TRGP(**{"energy": 0.9, "samples": 100, **options})
    method.setup(model, Seeds(), stream)
    context = context_of(stream)
    for number in range(task + 1):
        context = context_of(stream, number)
        method.enter(context)
        method.begin_task(context)
        optimizer = torch.optim.SGD([*model.parameters(), *method.task_parameters(context)], 0.1)
        detach = method.attach([optimizer])
        model.train()
        for inputs, labels in list(context.part.split(32, next(model.parameters())))[:steps]:
            optimizer.zero_grad()
            loss = stream.active.loss(method.training_forward(model, inputs, context), labels, number)
            loss.backward()
            optimizer.step()
        detach()
        model.eval()
        if number < task:
            method.end_task(context)
    return method, model, context


def test_regions_are_those_of_the_largest_gradients():
    method, model, context = begun(2, steps=0, threshold=0.0)
    gradients = method.gradients(context, method.sample(context))
    for number, (label, space) in enumerate(method.guard.subspaces.items()):
        shares = [float((gradients[number] @ space.region(task).T).norm()) for task in range(2)]
        chosen = [key[2] for key, _ in method.scales.items() if key[:2] == (2, number)]
        assert chosen == sorted(range(2), key=lambda task: -shares[task]), label
    # A share, of whatever size the gradient is.
    for number, threshold in itertools.product(range(len(gradients)), (0.1, 0.5, 0.9)):
        space = method.guard.subspaces[method.guard.labels[number]]
        gradient = gradients[number] / gradients[number].norm()
        shares = [float((gradient @ space.region(task).T).norm()) for task in range(2)]
        chooser = TRGP(threshold=threshold)
        chooser.guard = method.guard
        for size in (1e-3, 1e3):
            assert set(chooser.trusted(number, size * gradient)) == {t for t in range(2) if shares[t] > threshold}
    strict, _, _ = begun(2, steps=0, threshold=1.0)
    assert strict.task_parameters(context) == []
    one, _, _ = begun(2, steps=0, threshold=0.0, regions=1)
    assert len(one.task_parameters(context)) == len(one.guard.parts)
    # The gradient is that of the loss on the new task.
    inputs, labels = next(context.part.split(len(context.part), next(model.parameters())))
    loss = STREAM.active.loss(model(inputs), labels, 2)
    whole = torch.autograd.grad(loss, model.fc1.weight)[0]
    assert torch.cosine_similarity(whole.flatten(), gradients[0].flatten(), dim=0) > 0.9


def test_a_task_begins_as_the_network_is_and_scales_what_it_trusts():
    method, model, context = begun(1, steps=0, threshold=0.0)
    inputs = STREAM.test(1).inputs()
    plain = copy.deepcopy(model)
    for layer in (plain.fc1, plain.head):
        del layer.forward
    assert torch.allclose(model(inputs), plain(inputs), atol=1e-5)
    assert len(method.task_parameters(context)) >= 1
    with torch.no_grad():
        for scale in method.task_parameters(context):
            scale.mul_(2)
    expected = copy.deepcopy(plain)
    for number, layer in enumerate((expected.fc1, expected.head)):
        w = layer.weight.detach().double()
        for (_, of, region), scale in method.scales.items():
            if of == number:
                b = method.guard.subspaces[method.guard.labels[number]].region(region).double()
                w = (
                    w
                    + plain.get_submodule(method.guard.labels[number]).weight.double()
                    @ b.T
                    @ (scale.double() - torch.eye(len(b)))
                    @ b
                )
        layer.weight.data.copy_(w)
    assert torch.allclose(model(inputs), expected(inputs), atol=1e-4)
    assert torch.allclose(method.network(model, 1)(inputs), expected(inputs), atol=1e-4)


def test_earlier_tasks_are_answered_as_they_were():
    method, model, context = begun(1, threshold=0.0)
    method.end_task(context)
    context = context_of(STREAM, 2)
    before = [method.network(model, task) for task in range(2)]
    method.enter(context)
    method.begin_task(context)
    optimizer = torch.optim.SGD([*model.parameters(), *method.task_parameters(context)], 0.1)
    detach = method.attach([optimizer])
    for images, labels in list(context.part.split(32, next(model.parameters())))[:20]:
        optimizer.zero_grad()
        STREAM.active.loss(model(images), labels, 2).backward()
        optimizer.step()
    detach()
    for task in range(2):
        old, new = before[task].fc1, method.network(model, task).fc1
        rows = method.guard.subspaces["fc1"].region(task)
        assert torch.allclose(rows @ new.weight.T, rows @ old.weight.T, atol=1e-5)
        assert not torch.allclose(new.weight, old.weight, atol=1e-3)
    assert max(method.guard.leaks().values()) <= 1e-6


def test_remembered_are_the_inputs_that_the_network_of_the_task_sees():
    # The published code collects them without the scales of the task.
    method, model, context = begun(1, threshold=0.0)
    with torch.no_grad():
        for scale in method.task_parameters(context):
            scale.mul_(2)
    method.learn(context)
    rows = method.guard.subspaces["head"].seen()
    own, plain = (to_nearest_input(rows, method.network(model, task), "head", context.part) for task in (1, 0))
    assert len(rows) == 100 and own.max() <= 1e-4 and plain.median() > 0.1


def test_only_the_scales_of_the_running_task_are_trained():
    method, _, context = begun(2, threshold=0.0)
    for (task, _, _), scale in method.scales.items():
        assert scale.requires_grad == (task == 2)
        moved = float((scale - torch.eye(len(scale))).detach().norm())
        assert moved > 1e-3
    assert {id(one) for one in method.task_parameters(context)} == {
        id(scale) for (task, _, _), scale in method.scales.items() if task == 2
    }


def test_state_loads_into_a_fresh_method_and_answers_alike():
    method, model, context = begun(2, threshold=0.0)
    fresh_model = MLP((1, 8, 8), 10, hidden=[20])
    fresh = TRGP(energy=0.9, samples=100, threshold=0.0)
    fresh.setup(fresh_model, Seeds(), STREAM)
    fresh_model.load_state_dict(model.state_dict())
    fresh.load_state_dict(method.state_dict())
    fresh.enter(context)
    inputs = STREAM.test(0).inputs()
    assert torch.equal(fresh_model.eval()(inputs), model.eval()(inputs))
    for task in range(2):
        assert torch.equal(fresh.network(fresh_model, task)(inputs), method.network(model, task)(inputs))
    assert len(fresh.task_parameters(context)) == len(method.task_parameters(context))


def test_convolutions_and_groups():
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, bias=False).double()
    chosen = []
    for part in weight_matrices("conv", layer):
        span = torch.linalg.qr(torch.randn(18, 5, dtype=torch.float64)).Q.T
        scale = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))
        chosen.append((part, [Region(part.weight @ span.T, span, scale)] if part.group else []))
    weight = task_weight(layer.weight, chosen)
    _, span, scale = chosen[1][1][0]
    w = layer.weight[3:].detach().flatten(1)
    assert torch.equal(weight[:3], layer.weight[:3])
    expected = w - w @ span.T @ span + w @ span.T @ scale @ span
    assert torch.allclose(weight[3:].flatten(1), expected, atol=1e-12)

    stream = Split(digits(), tasks=2, scenario="task")
    model = ConvNet(stream.shape, 10, channels=[4, 4])
    method, _, _ = begun(1, steps=3, model=model, stream=stream, threshold=0.0)
    assert {key[1] for key, _ in method.scales.items()} == {0, 1}
    assert method.network(model, 0)(stream.test(0).inputs()).shape[1] == 10


@pytest.mark.parametrize("task", [0, 1])
def test_the_network_of_a_task_is_a_plain_network(task):
    method, model, _ = begun(1)
    network = method.network(model, task)
    assert "forward" not in network.fc1.__dict__ and "forward" in model.fc1.__dict__
    assert network.state_dict().keys() == model.state_dict().keys()


def test_a_layer_that_is_not_trained_trusts_nobody():
    model = MLP((1, 8, 8), 10, hidden=[20])
    model.fc1.requires_grad_(False)
    method, _, _ = begun(1, model=model, threshold=0.0)
    assert {key[1] for key, _ in method.scales.items()} == {1}


def test_where_the_projection_is_soft_training_and_test_have_one_network():
    method, model, context = begun(1, threshold=0.0, hold=0.5)
    inputs = STREAM.test(1).inputs()
    assert method.task_parameters(context) and max(method.guard.leaks().values()) > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(
            method.training_forward(model, inputs, context), method.network(model, 1)(inputs), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(
    ("optimizer", "rate", "share"),
    [
        ("momentum", "null", 0.1),
        ("sgd", "null", 1.0),
        ("adam", "null", 1.0),
        ("momentum", "1.0", 1.0),
        ("sgd", "0.3", 0.3),
    ],
)
def test_scales_move_as_far_as_by_plain_descent(tmp_path, optimizer, rate, share):
    tiny = ("stream=permuted", "stream.tasks=2", "dataset.limit=10", "model.hidden=[8]", "trainer.max_epochs=1")
    chosen = ("method=trgp", "method.threshold=0", f"method.rate={rate}", f"optimizer={optimizer}")
    experiment = built(Run(tmp_path / "run"), *tiny, *chosen, "optimizer.lr=.01", "trainer.accelerator=cpu")
    experiment.run()
    optimizer = experiment.learner.configure_optimizers()
    weights, scales = (group["lr"] for group in optimizer.param_groups)
    assert scales == pytest.approx(share * weights)
    assert len(optimizer.param_groups[1]["params"]) == len(experiment.learner.method.scales.state_dict())


@pytest.mark.parametrize(("optimizer", "same"), [("sgd", True), ("adam", True), ("momentum", False)])
@pytest.mark.parametrize("method", ["trgp", "cuber"])
def test_a_run_of_the_rate_that_was_the_default_is_found_where_it_is_the_same(method, optimizer, same):
    names = [
        run_name([], composed(f"method={method}", f"optimizer={optimizer}", *more))
        for more in ((), ("method.rate=1.0",))
    ]
    assert (names[0] == names[1]) is same
