"""The associative readout: least squares over all images so far, on features that stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from composed import built
from tasks import context_of
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Split
from orthotrace.methods.associative import Associative
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run

TINY = ("trainer.max_epochs=2", "trainer.batch_size=64", "trainer.accelerator=cpu", "model.hidden=[16]")


def least_squares(rows: np.ndarray, labels: np.ndarray, outputs: int, alpha: float) -> np.ndarray:
    """Of ridge regression on one-hot labels, (outputs, features)."""
    wanted = np.eye(outputs)[labels]
    return np.linalg.solve(alpha * np.eye(rows.shape[1]) + rows.T @ rows, rows.T @ wanted).T


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_it_is_the_least_squares_readout_of_all_images_so_far(scenario, bias, alpha):
    stream = Split(digits(), tasks=5, scenario=scenario, class_order="natural")
    torch.manual_seed(0)
    model, method = MLP(stream.shape, 10, hidden=[12], bias=bias).double(), Associative(alpha)
    method.setup(model, Seeds(), stream)
    rows, labels = [], []
    for number in range(3):
        context = context_of(stream, number)
        method.end_task(context)
        hidden = model.relu1(model.fc1(context.part.inputs().double().flatten(1))).detach().numpy()
        rows.append(np.c_[hidden, np.ones(len(hidden))] if bias else hidden)
        labels.append(context.part.labels.numpy())
        expected = least_squares(np.concatenate(rows), np.concatenate(labels), 10, alpha)
        found = model.head.weight.detach().numpy()
        assert np.allclose(found, expected[:, :12], rtol=0, atol=1e-9)
        assert not bias or np.allclose(model.head.bias.detach(), expected[:, 12], rtol=0, atol=1e-9)
    assert method.extra_memory_bytes == 8 * ((12 + bias) ** 2 + 10 * (12 + bias))


def test_a_readout_of_maps_is_that_of_their_means():
    stream = Split(digits(), tasks=5, scenario="class", class_order="natural")
    torch.manual_seed(0)
    model, method = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double(), Associative(1.0)  # fmt: skip
    method.setup(model, Seeds(), stream)
    context, kept = context_of(stream, 0), []
    handle = model.get_submodule(method.features.name).register_forward_pre_hook(
        lambda layer, args: kept.append(args[0])
    )
    with torch.no_grad():
        model(context.part.inputs().double())
    handle.remove()
    method.end_task(context)
    rows = kept[0].mean((2, 3)).numpy()
    readout = model.get_submodule(method.features.name)
    rows = np.c_[rows, np.ones(len(rows))] if readout.bias is not None else rows
    expected = least_squares(rows, context.part.labels.numpy(), 10, 1.0)
    assert np.allclose(readout.weight.detach().flatten(1), expected[:, : readout.weight.shape[1]], atol=1e-9)


@pytest.mark.parametrize(("trained", "moves"), [("first", True), ("never", False)])
def test_features_are_trained_on_the_first_task_alone_and_statistics_stay(tmp_path, trained, moves):
    experiment = built(
        Run(tmp_path), "method=associative", f"method.trained={trained}", "stream=split", "stream.tasks=5",
        "model=convnet", "model.channels=[4,6]", "trainer.max_epochs=1", "trainer.batch_size=64",
        "trainer.accelerator=cpu", "optimizer.weight_decay=.1", "regularizer.l2=.1",
    )  # fmt: skip
    states = [{name: value.clone() for name, value in experiment.learner.model.state_dict().items()}]
    experiment.task_ended = lambda one: states.append(
        {name: value.clone() for name, value in one.learner.model.state_dict().items()}
    )
    experiment.run()
    states.append(experiment.learner.model.state_dict())

    def moved(before: int, after: int) -> set[str]:
        return {name for name, value in states[after].items() if not value.equal(states[before][name])}

    assert (moved(0, 1) - {"head.weight", "head.bias"} != set()) == moves
    assert "bn1.running_mean" in moved(0, 1) or not moves
    for before in (1, 2, 3, 4):
        assert moved(before, before + 1) == {"head.weight", "head.bias"}


def test_it_remembers_what_plain_training_forgets(tmp_path):
    scores = {}
    for method in ("associative", "finetune"):
        run = Run(tmp_path / method)
        built(
            run,
            f"method={method}",
            "stream=split",
            "stream.tasks=5",
            "stream.scenario=class",
            *TINY,
            "model.hidden=[200]",
        ).run()
        scores[method] = run.scores
    assert scores["associative"]["acc"] > 0.7 > 0.3 > scores["finetune"]["acc"]
    # Later classes take what was never theirs alone; nothing else is lost.
    assert scores["associative"]["forgetting"] < 0.5 * scores["finetune"]["forgetting"]


def test_what_is_refused(tmp_path):
    with pytest.raises(UserError, match="method: stores classes in the readout 'head', whose weight is parametrised"):
        built(Run(tmp_path), "method=associative", "stream=split", "weights=own", "model.weights.layers=[head]", *TINY)
    with pytest.raises(UserError, match="alpha: input should be greater than 0"):
        Associative(alpha=0)


def test_a_stream_that_is_seen_once_is_stored_as_it_comes(tmp_path):
    stored = {}
    for online in (True, False):
        experiment = built(
            Run(tmp_path / str(online)), "method=associative", "method.trained=never", "stream=split",
            "stream.tasks=5", "stream.scenario=class", f"stream.online={str(online).lower()}", "trainer.max_epochs=1",
            "trainer.batch_size=64", "trainer.accelerator=cpu", "trainer.precision=64-true", "model.hidden=[16]",
        )  # fmt: skip
        experiment.run()
        stored[online] = experiment.learner.method.stored
    # In another order the same images come to the same.
    assert stored[True].abs().max() > 0.1 and torch.allclose(stored[True], stored[False], rtol=0, atol=1e-8)


def test_an_alpha_that_rounding_would_decide_is_refused():
    stream = Split(digits(), tasks=5, scenario="class")
    torch.manual_seed(0)
    model = MLP(stream.shape, 10, hidden=[12]).double()
    with pytest.raises(UserError, match="alpha: 1e-300 is too small for features of a mean square length of .*; take"):
        Associative(1e-300).setup(model, Seeds(), stream)
    # Features that have grown since, and such as are not finite.
    for factor, line in ((1e6, "method.alpha: 1 is too small"), (float("nan"), "the features .* are not finite")):
        model, method = MLP(stream.shape, 10, hidden=[12]).double(), Associative(1.0)
        method.setup(model, Seeds(), stream)
        with torch.no_grad():
            model.fc1.weight.mul_(factor)
        with pytest.raises(UserError, match=line):
            method.end_task(context_of(stream, 0))
