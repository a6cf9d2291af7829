"""Methods on trials of cognitive tasks: they train, are scored by performance, and EWC's Fisher is that of trials."""

from __future__ import annotations

import pytest
import torch
from composed import ADAPTERS, GROUPS, KEYS, MEMORY, built, check_scores
from part import part

from orthotrace.core.errors import UserError
from orthotrace.data.active_trials import performed
from orthotrace.data.sources import cognitive
from orthotrace.methods.ewc import fisher_diagonal
from orthotrace.models.leaky_rnn import LeakyRNN
from orthotrace.results.run_folder import Run

TINY = (
    "dataset=cognitive", "dataset.trials=24", "dataset.test_trials=10", "dataset.dt=100", "stream=split",
    "stream.tasks=2", "stream.scenario=domain", "model=leaky_rnn", "model.units=8", "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
)  # fmt: skip
# One keeps one answer of each image, one needs classes, and the network has no adapters.
REFUSED = {
    **dict.fromkeys(ADAPTERS, "the network has none: choose weights=lora"),
    "icarl": "exemplars of classes, and a regression has none",
    "associative": "stores classes, and a regression has none",
    "derpp": "there is one at each step: take er",
    "hat": "units are mixed, as by .* steps of time",
}


def of_method(method: str) -> list[str]:
    memory = ["method.memory.size=10"] if method in MEMORY else []
    rows = ["method.rows=2"] if "rows" in KEYS[method] else []
    return [f"method={method}", *memory, *rows, *(["method.alpha=.1"] if method == "owm" else [])]


@pytest.mark.parametrize("method", part(GROUPS["method"], ["ewc", "er", "gpm", "derpp"]))
def test_every_method_on_trials(method, tmp_path):
    overrides = (*TINY, *of_method(method))
    if method in REFUSED:
        with pytest.raises(UserError, match=REFUSED[method]):
            built(Run(tmp_path / "run"), *overrides)
        return
    experiment = built(Run(tmp_path / "run"), *overrides)
    found = experiment.run()
    told = experiment.report()
    check_scores(told)
    assert told["score"] == "performance" and found.finished and told["chance"] == [0.2, 0.2]
    test = experiment.stream.test(1)
    network = experiment.learner.method.network(experiment.learner.model.eval(), 1)
    right = performed(network(test.inputs()).detach(), test.labels)
    assert told["accuracy"][1][1] == pytest.approx(float(right.double().mean()))
    assert {"train_loss", "train_performance", "validation_loss", "validation_performance"} <= found.epochs[0].keys()


def test_the_fisher_of_trials():
    """Against the outputs' Jacobian in float64: sum over outputs and steps of weight times squared gradient."""
    torch.manual_seed(0)
    model = LeakyRNN((20, 6), 3, units=4).double().eval()
    trial = cognitive(["go"], trials=1, test_trials=1, dt=150 / 1.5).train
    x, y = trial.inputs().double()[:, :20], trial.labels.double()[:, :, :20]
    some = type(trial)(x.expand(3000, -1, -1), y.expand(3000, -1, -1))
    found = fisher_diagonal(model, some, range(3), torch.Generator().manual_seed(0), chunk=1000)
    expected = [torch.zeros_like(value) for value in model.parameters()]
    outputs = model(x)[0]
    for k in range(3):
        for t in range(20):
            each = torch.autograd.grad(outputs[k, t], list(model.parameters()), retain_graph=True, allow_unused=True)
            for total, one in zip(expected, each, strict=True):
                total += 0 if one is None else float(y[0, 3, t]) * one.square()
    for ours, theirs in zip(found, expected, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["stream=permuted"], "has trials, whose order in time is no image: take stream=split"),
        (["stream.scenario=class"], "stream.scenario: class-incremental"),
        (["model=mlp"], "an output for each target, at each step: take model=leaky_rnn"),
    ],
)
def test_what_does_not_go_together(change, message, tmp_path):
    kept = [one for one in TINY if one != "model.units=8"]
    with pytest.raises(UserError, match=message):
        built(Run(tmp_path / "run"), *kept, "method=finetune", *change)
