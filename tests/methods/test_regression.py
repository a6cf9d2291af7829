"""Every method on a regression: it trains, scores by R^2, and what it adds to the loss is of numbers, not of classes."""

from __future__ import annotations

import copy

import pytest
import torch
from composed import ADAPTED, ADAPTERS, GROUPS, KEYS, MEMORY, built, check_scores
from regressions import TINY, content, written
from sklearn.metrics import r2_score
from tasks import context_of
from torch import nn
from torch.nn.functional import mse_loss

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch, Images
from orthotrace.data.sources import targets
from orthotrace.data.streams import Split
from orthotrace.methods.ewc import fisher_diagonal
from orthotrace.methods.lwf import LwF
from orthotrace.methods.memory import Memory, MemoryOptions
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("regression"))


def of_method(method: str) -> list[str]:
    memory = ["method.memory.size=20"] if method in MEMORY else []
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    alpha = ["method.alpha=.1"] if method == "owm" else []
    strength = ["method.strength=1"] if method in ("ewc", "ewc_online") else []
    # Six features are soon full.
    adapted = [*ADAPTED, *(["method.energy=.5"] if "energy" in KEYS[method] else [])] if method in ADAPTERS else []
    return [f"method={method}", *memory, *rows, *alpha, *strength, *adapted]


# What these do with labels is what their like do, which make test runs.
ALIKE = ("sgp", "owm", "duncker", "nscl", "ewc_online")


@pytest.mark.filterwarnings("ignore:layer .* all of its", "ignore:.* holds no direction")
@pytest.mark.parametrize(
    ("method", "scenario"),
    [
        pytest.param(one, ("task", "domain")[place % 2], marks=[pytest.mark.whole] if one in ALIKE else [])
        for place, one in enumerate(GROUPS["method"])
        # What they keep is of classes.
        if one not in ("icarl", "associative")
    ],
)
def test_every_method_on_a_regression(method, scenario, file, tmp_path):
    experiment = built(
        Run(tmp_path / "run"), *TINY, "stream=split", f"dataset.path={file}", f"stream.scenario={scenario}",
        *of_method(method),
    )  # fmt: skip
    found = experiment.run()
    told = experiment.report()
    check_scores(told)
    assert told["score"] == "r2" and found.finished
    stream, model = experiment.stream, experiment.learner.model.eval()
    part = stream.test(1)
    own = stream.active.for_evaluation(1, 2)
    network = experiment.learner.method.network(model, 1)
    values = network(part.inputs())[:, own.start : own.stop].detach()
    assert told["accuracy"][1][1] == pytest.approx(r2_score(part.labels.numpy(), values.numpy()), abs=1e-6)
    each = r2_score(part.labels.numpy(), values.numpy(), multioutput="raw_values").tolist()
    if scenario == "task":
        assert told["class_accuracy"][1][2:] == pytest.approx(each, abs=1e-6)
        assert told["class_accuracy"][0][2:] == [None, None]
    else:
        assert sum(told["class_accuracy"][1]) / 2 == pytest.approx(told["acc"], abs=1e-9)
    rows = found.epochs
    assert {"train_loss", "train_r2", "validation_loss", "validation_r2"} <= rows[0].keys()


def small_stream(scenario: str) -> Split:
    return Split(targets(**content()), tasks=2, class_order="natural", scenario=scenario)


def test_lwf_keeps_the_outputs_by_squared_error():
    torch.manual_seed(0)
    stream, model, method = small_stream("task"), MLP((1, 1, 6), 4, hidden=[5]), LwF(strength=3.0)
    method.setup(model, Seeds(), stream)
    context = context_of(stream, 1)
    method.begin_task(context)
    with torch.no_grad():
        model.head.bias.add_(0.5)
    batch = Batch(context.part.inputs(), context.part.labels, torch.arange(len(context.part)))
    loss, logits = method.loss(model, batch, context)
    # The outputs of the first task have moved by a half each.
    assert loss.item() == pytest.approx(mse_loss(logits[:, 2:], batch.labels).item() + 3 * 0.25, rel=1e-5)


def test_the_fisher_information_is_that_of_a_normal_distribution():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    part = Images(torch.randn(50, 3), torch.randn(50, 2))
    weight = fisher_diagonal(model, part, range(2))[0]
    # d log p / dW = (y - f(x)) x^T.
    residual = (part.labels - model(part.store)).detach()
    assert torch.allclose(weight, (residual[:, :, None] * part.store[:, None]).square().mean(0), atol=1e-5)
    # Drawn about the network's own answers, (y - f)^2 is 1 on average.
    many = Images(part.store.repeat(100, 1), part.labels.repeat(100, 1))
    drawn = fisher_diagonal(model, many, range(2), torch.Generator().manual_seed(0))[0]
    expected = part.store.square().mean(0).expand(2, 3)
    assert torch.allclose(drawn, expected, rtol=0.1)
    # Of one output alone the other has none.
    assert not fisher_diagonal(model, Images(part.store, part.labels[:, :1]), range(0, 1))[0][1].any()


@pytest.mark.parametrize(("method", "keeps"), [("icarl", "keeps exemplars of"), ("associative", "stores")])
def test_what_is_kept_of_classes_is_refused(file, tmp_path, method, keeps):
    with pytest.raises(UserError, match=f"method: {keeps} classes, and a regression has none"):
        built(Run(tmp_path / "run"), *TINY, "stream=split", f"dataset.path={file}", *of_method(method))


def test_a_memory_keeps_targets():
    stream, model = small_stream("domain"), MLP((1, 1, 6), 2, hidden=[5])
    memory = Memory.of(MemoryOptions(size=3), model, Seeds(), stream)
    assert memory is not None
    part = stream.task(0).train
    memory.offer(part, torch.arange(len(part)), 0)
    drawn = memory.draw(3)
    assert drawn is not None and drawn.labels.shape == (3, 2)
    for pixels, kept in zip(drawn.pixels, drawn.labels, strict=True):
        place = (part.images == pixels).flatten(1).all(1).nonzero().flatten()
        assert torch.equal(part.labels[place][0], kept)
    again = copy.deepcopy(memory)
    again.load_state_dict(memory.state_dict())
    with pytest.raises(UserError, match="memory.sampling: keeps as many of each class, and a regression has none"):
        Memory.of(MemoryOptions(size=3, sampling="balanced"), model, Seeds(), stream)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["trainer.loss=cross_entropy"], "trainer.loss: is for classes, and this data set has targets"),
        (["regularizer=label_smoothing"], "regularizer.label_smoothing: spreads labels over classes"),
        (["regularizer=bootstrap_soft"], "regularizer.bootstrap: is for labels of classes, and a regression has none"),
        (
            ["regularizer.early_stopping=1", "regularizer.monitor=accuracy"],
            "regularizer.monitor: a regression has no ac",
        ),
        (["regularizer.restore_best=true", "regularizer.monitor=accuracy"], "regularizer.monitor: a regression has no"),
        (["scheduler=plateau", "scheduler.monitor=accuracy"], "scheduler.monitor: a regression has no accuracy"),
        (["stream.scenario=class"], "stream.scenario: class-incremental tasks teach classes one after another"),
        (["stream.label_noise=.1"], "stream.label_noise: takes another class for the right one"),
        (["dataset=digits", "trainer.loss=mse"], "trainer.loss: mse is for the targets of a regression"),
        (["stream.tasks=3"], "stream.tasks: 4 tasks of the data set do not divide into 3 tasks"),
        (["stream.class_order=[0,9]"], "stream.class_order: there is no task '9'"),
        (["stream=superclasses"], "stream.source: regression has no superclasses"),
    ],
)
def test_what_only_classes_have_is_refused(given, line, file, tmp_path):
    path = [] if "dataset=digits" in given else [f"dataset.path={file}"]
    with pytest.raises(UserError) as raised:
        built(Run(tmp_path / "run"), *TINY, "stream=split", "method=finetune", *path, *given)
    assert str(raised.value).startswith(line) and not (tmp_path / "run").exists()


def test_targets_that_do_not_vary_in_a_test_part_are_refused(tmp_path):
    flat = content()["test_targets"].copy()
    flat[:, 1] = 2.0
    path = written(tmp_path, test_targets=flat)
    with pytest.raises(UserError, match="dataset: 'target 2' is the same for all test images of task 1, so that no R"):
        built(Run(tmp_path / "run"), *TINY, "stream=permuted", "method=finetune", f"dataset.path={path}")


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_the_loss_that_is_chosen_is_the_one_that_is_trained(loss, file, tmp_path):
    experiment = built(
        Run(tmp_path / "run"), *TINY, "stream=permuted", "stream.tasks=1", "method=finetune", f"dataset.path={file}",
        f"trainer.loss={loss}", "optimizer.lr=0", "trainer.max_epochs=1",
    )  # fmt: skip
    row = experiment.run().epochs[0]
    task = experiment.stream.task(0)
    for name, part in (("train", task.train), ("validation", task.validation)):
        values = experiment.learner.model(part.inputs()).detach()
        expected = {"mse": nn.MSELoss(), "l1": nn.L1Loss(), "huber": nn.HuberLoss()}[loss](values, part.labels)
        assert row[f"{name}_loss"] == pytest.approx(float(expected), rel=1e-5)
        assert row[f"{name}_r2"] == pytest.approx(r2_score(part.labels.numpy(), values.numpy()), abs=1e-5)
