"""Networks whose layers learn from images, one after another."""

from __future__ import annotations

import pytest
import torch
from composed import built
from conftest import called
from torch import nn

import orthotrace
from orthotrace.analysis.cli import main as analyze
from orthotrace.cli.train import main as train
from orthotrace.core.errors import UserError
from orthotrace.core.seeds import derived
from orthotrace.data.sources import digits
from orthotrace.layers import dbn as module
from orthotrace.layers.dbn import dbn
from orthotrace.layers.rbm import RBM
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run

IMAGES = digits().train.inputs()[:200]
TINY = (
    "method=finetune", "weights=rbm_init", "model.weights.epochs=1", "model.hidden=[12,8]", "dataset.limit=300", "trainer.accelerator=cpu",
    "trainer.max_epochs=1", "stream=permuted", "stream.tasks=2",
)  # fmt: skip


def net(**options) -> MLP:
    torch.manual_seed(0)
    return MLP((1, 8, 8), 10, hidden=[12, 8], **options)


def test_each_layer_learns_from_the_hidden_probabilities_of_the_one_before():
    model, head = net(), net().head
    assert dbn(model, IMAGES, epochs=2, lr=0.1, momentum=0.3, batch_size=50, steps=2, seed=7) == ["fc1", "fc2"]
    values = IMAGES.flatten(1)
    for number, layer in enumerate((model.fc1, model.fc2)):
        machine = RBM(layer.in_features, layer.out_features, "binary", derived(7, number, 1))
        machine.fit(values, 2, 2, 0.1, 0.3, 50, False, derived(7, number, 2))
        assert torch.equal(layer.weight, machine.weight) and torch.equal(layer.bias, machine.hidden_bias)
        values = torch.sigmoid(values @ machine.weight.T + machine.hidden_bias).detach()
    # The readout is as it was drawn.
    assert torch.equal(model.head.weight, head.weight)


def test_layers_can_be_named():
    model, before = net(), net()
    assert dbn(model, IMAGES, layers=["fc1"], epochs=1) == ["fc1"]
    assert torch.equal(model.fc2.weight, before.fc2.weight) and not torch.equal(model.fc1.weight, before.fc1.weight)


@pytest.mark.parametrize(("low", "units", "rate"), [(0.0, "binary", 0.1), (-1.0, "gaussian", 0.01)])
def test_the_units_and_the_rate_are_those_of_the_images(monkeypatch, low, units, rate):
    made, rates = [], []
    fit = RBM.fit
    monkeypatch.setattr(module, "RBM", lambda *given: made.append(given[2]) or RBM(*given))
    monkeypatch.setattr(RBM, "fit", lambda self, *given: rates.append(given[3]) or fit(self, *given))
    dbn(net(), IMAGES + low, epochs=1, lr=0.1)
    assert made == [units, "binary"] and rates == pytest.approx([rate, 0.1])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: dbn(ConvNet((1, 8, 8), 10, channels=[4]), IMAGES), "trains Linear layers that follow each other"),
        (lambda: dbn(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), IMAGES),
         "trains Linear layers that follow each other, as those of model=mlp, and '2' is BatchNorm1d"),
        (lambda: dbn(net(bias=False), IMAGES), "layer 'fc1' has no bias"),
        (lambda: dbn(net(), IMAGES, layers=["fc2"]), "layers: each layer learns from the one before"),
        (lambda: dbn(net(), IMAGES, layers=["fc7"]), "layers: there is no Linear layer"),
        (lambda: dbn(net(), IMAGES, layers=[]), "layers: each layer learns"),
        (lambda: dbn(net(), IMAGES - 1, visible="binary"), "visible: the images have values outside of [0, 1]"),
        (lambda: dbn(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), IMAGES), "layers: the model has no Linear layer"),
        (lambda: dbn(net(), IMAGES, lr=0.0), "lr"),
    ],
)  # fmt: skip
def test_what_does_not_learn_so_is_refused(make, line):
    with pytest.raises(UserError) as raised:
        make()
    assert str(raised.value).startswith(line)


def test_a_run_begins_with_what_its_images_gave(tmp_path):
    made = built(Run(tmp_path / "run"), *TINY)
    stream = made.stream
    torch.manual_seed(derived(0))
    expected = MLP(stream.shape, 10, hidden=[12, 8])
    dbn(expected, stream.task(0).train.inputs(), epochs=1, seed=derived(0, 1))
    for ours, theirs in zip(made.learner.model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_learns_once(tmp_path, monkeypatch):
    """Neither a run that goes on, nor who reads it, trains the machines again."""
    run = Run(tmp_path / "run")
    built(run, *TINY).run()

    def never(*given, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "RBM", never)
    assert built(run, *TINY).run().finished
    with pytest.raises(AssertionError, match="trained again"):
        built(run, *TINY, "overwrite=true")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["model.weights.momentum=1"], "model.weights.momentum: input should be less than 1"),
        (["model.weights.layers=[fc2]"], "model.weights.layers: each layer learns from the one before"),
        (["model=convnet", "model.channels=[4]"], "model.weights: trains Linear layers that follow each other"),
        (["stream.online=true"], "weights: an online stream is seen once"),
    ],
)
def test_runs_that_cannot_begin_so_are_refused(tmp_path, given, line):
    hidden = [one for one in TINY if not (given[0].startswith("model=") and one.startswith("model.hidden"))]
    with pytest.raises(UserError) as raised:
        built(Run(tmp_path / "run"), *hidden, *given)
    assert str(raised.value).startswith(line) and not (tmp_path / "run").exists()


def test_pretrained_networks_that_were_not_trained_are_compared(tmp_path, monkeypatch):
    """Two seeds, and epoch 0 analysed, by the commands; weights of another network are refused."""
    monkeypatch.chdir(tmp_path)
    words = [*TINY[:-2], "stream=single", "trainer.checkpoints=[0]"]
    runs = [Run(tmp_path / "runs" / str(seed)) for seed in (0, 1)]
    for seed, run in enumerate(runs):
        called(train, *words, f"seed={seed}", f"hydra.run.dir={run.folder}")
        made = built(Run(tmp_path / "none"), *words, f"seed={seed}")
        assert torch.equal(orthotrace.load(run.folder, epoch=0).fc1.weight, made.learner.model.fc1.weight)
        assert run.scores["untrained"] == made.evaluator.untrained()
    called(analyze, f"runs={tmp_path / 'runs'}", "epochs=[0]", "formats=[png]", "figures=[consistency]")
    assert (tmp_path / "runs" / "analysis" / "figures" / "consistency.png").is_file()
    with pytest.raises(UserError, match="init_from: the network would start from other weights"):
        built(Run(tmp_path / "none"), *words, f"init_from='{runs[0].folder}'")
