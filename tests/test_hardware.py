"""Weights of hardware in tiny runs: under methods that project and under others, several seeds at once, other layouts."""

from __future__ import annotations

import pytest
import torch
from composed import built
from conftest import TINY

from orthotrace.layers.adders import adder
from orthotrace.layers.channels_last import take_channels_last
from orthotrace.layers.memristor import memristor
from orthotrace.layers.quantised import sawb
from orthotrace.models.convnet import ConvNet
from orthotrace.results.run_folder import Run

TASKS = (
    "stream.tasks=2",
    "stream=permuted",
    "trainer.max_epochs=1",
    "trainer.batch_size=64",
    "trainer.accelerator=cpu",
)
NETWORK = ("model=convnet", "model.channels=[3,4]", "dataset.limit=15")
PROJECTING = ("method=gpm", "method.rows=2", "method.patches=20")


@pytest.mark.parametrize("weights", ["adder", "sawb", "memristor"])
@pytest.mark.parametrize("method", ["ewc", "lwf"])
def test_methods_that_do_not_project_take_them(tmp_path, weights, method):
    run = Run(tmp_path)
    assert built(run, *TASKS, *NETWORK, f"method={method}", f"weights={weights}").run().finished
    assert 0 <= run.scores["acc"] <= 1


@pytest.mark.parametrize(
    "options",
    [
        (*PROJECTING, "model.weights.write_noise=.02", "model.weights.read_noise=.02"),
        ("method=hlop", "method.rows=2", "method.patches=20"),
        ("method=sgp", "method.energy=.9", "method.patches=20"),
    ],
)
def test_projections_hold_the_ideal_weights_of_a_crossbar(tmp_path, options):
    run = Run(tmp_path)
    experiment = built(run, *TASKS, *NETWORK, *options, "weights=memristor", "optimizer=adam")
    assert experiment.run().finished
    assert "method=sgp" in options or max(run.scores["leak"]) < 1e-4
    layer = experiment.learner.model.conv2
    assert not torch.equal(layer.weight, layer.parametrizations.weight.original)


REFUSED = {
    "weights=adder method=gpm": "method: layer 'fc1' (AdderLinear) answers with distances from its inputs",
    "weights=sawb method=gpm model.weights.layers=[fc1]": "method: the weight of layer 'fc1' (SAWB) is rounded to few levels, which undoes a projection",
    "weights=memristor method=trgp": "method: TRGP writes weights itself, and those of layer 'fc1' are computed",
    "weights=memristor method=hat": "method: a mask of units writes weights itself, and those of layer 'fc1' are computed",
    "weights=adder method=finetune": "model.weights: adder layers answer with nothing above 0",
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_what_they_do_not_admit_is_one_line(train, overrides):
    norm = ["model=vgg", "model.stages=[[2]]", "model.hidden=[4]"] if "adder method=gpm" in overrides else []
    tiny = [one for one in TINY if not (norm and "hidden" in one)]
    answer = train(*tiny, *norm, "model.weights.layers=[fc1]", *overrides.split())
    assert answer.code == 2 and answer.err.startswith(f"error: {REFUSED[overrides]}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1


@pytest.mark.parametrize("weights", ["sawb", "memristor"])
def test_several_seeds_at_once_are_refused(train, weights):
    answer = train(
        "--multirun", *TINY, "seed=0,1", "seeds_at_once=2", "method=finetune", f"weights={weights}",
        "model.weights.layers=[fc1]",
    )  # fmt: skip
    assert answer.code and "train such networks one by one, seeds_at_once=1" in answer.err + answer.out, answer


@pytest.mark.parametrize("give", [adder, sawb, memristor])
def test_another_layout_of_the_images_changes_values_by_rounding_alone(give):
    torch.manual_seed(0)
    model, images = ConvNet((3, 16, 16), 4, channels=[4, 6]).eval(), torch.rand(3, 3, 16, 16)
    give(model, layers=["conv2"])
    before = model(images)
    assert take_channels_last(model)
    torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)
