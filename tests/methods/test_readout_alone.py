"""Every method on networks of which the readout alone is trained: without hidden layers, or with frozen ones."""

from __future__ import annotations

import functools

import pytest
import torch
from composed import ADAPTERS, GROUPS, KEYS, MEMORY, built
from torch import nn

from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.protection import Guard
from orthotrace.results.run_folder import Run
from orthotrace.subspace import SvdSubspace

TINY = ("stream=split", "stream.tasks=2", "trainer.max_epochs=1", "trainer.batch_size=256", "trainer.accelerator=cpu")
NETWORKS = {
    "without hidden layers": (MLP, ("model.hidden=[]",)),
    "frozen": (MLP, ("model.hidden=[8]",)),
    "frozen convolutions": (ConvNet, ("model=convnet", "model.channels=[2,3]")),
}
# What a method does beside training, where each task has a readout of its own.
OWN = {*MEMORY, "joint", "hat", "associative"}


def ran(folder, monkeypatch, method: str, network: str, scenario: str):
    kind, options = NETWORKS[network]
    if network != "without hidden layers":
        begin = kind.__init__

        @functools.wraps(begin)
        def frozen(self, *args, **options):
            begin(self, *args, **options)
            for name, value in self.named_parameters():
                value.requires_grad_(name.startswith("head"))

        monkeypatch.setattr(kind, "__init__", frozen)
    memory = ["method.memory.size=60"] if method in MEMORY else []
    rows = ["method.rows=1"] if "rows" in KEYS[method] else []
    # The paper's alpha is for more and larger batches: here it would hold nothing.
    alpha = ["method.alpha=.1"] if method == "owm" else []
    experiment = built(
        Run(folder / f"{method} {scenario}"), f"method={method}", f"stream.scenario={scenario}", *memory, *rows, *alpha,
        *TINY, *options,
    )  # fmt: skip
    assert {name for name, value in experiment.learner.model.named_parameters() if value.requires_grad} == {
        f"head.{name}" for name, _ in experiment.learner.model.head.named_parameters()
    }
    return experiment.run()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What plain training gives, by network: where each task has a readout of its own nothing is forgotten."""

    @functools.cache
    def accuracy(network: str):
        with pytest.MonkeyPatch.context() as patch:
            return ran(tmp_path_factory.mktemp("plain"), patch, "finetune", network, "task").accuracy

    return accuracy


def pairs():
    """Every method but those that need adapters on both networks; in make test on one of both, in turn."""
    for number, method in enumerate(one for one in GROUPS["method"] if one not in ADAPTERS):
        for place, network in enumerate(("without hidden layers", "frozen")):
            chosen = number % 2 == place
            yield pytest.param(method, network, marks=[] if chosen else pytest.mark.whole)


@pytest.mark.parametrize(("method", "network"), [*pairs()])
def test_a_method_where_every_task_has_its_readout(tmp_path, monkeypatch, plain, method, network):
    found = ran(tmp_path, monkeypatch, method, network, "task")
    assert found.finished
    if method not in OWN:
        assert found.accuracy == plain(network)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["trgp", "gpm"])
def test_a_method_with_one_readout_for_all(tmp_path, monkeypatch, method, network):
    found = ran(tmp_path, monkeypatch, method, network, "domain")
    assert found.finished and len(found.accuracy) == 2


def test_a_guard_of_a_readout_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6))
    guard = Guard(model, SvdSubspace, head="0", rows=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for outputs in (range(3), range(3, 6)):
        guard.outputs = outputs
        before = model[0].weight.detach().clone()
        with guard.protecting(optimizer):
            model(torch.rand(5, 4)).square().sum().backward()
            optimizer.step()
        guard.remember(model, torch.rand(5, 4))
        moved = (model[0].weight != before).any(1)
        assert moved.tolist() == [number in outputs for number in range(6)]
