"""What neurons do, counted by hand; and silence, which is told."""

from __future__ import annotations

import warnings

import pytest
import torch
from composed import built
from torch import nn

from orthotrace.data.images import Images
from orthotrace.layers import LIF, spiking
from orthotrace.layers.encoding import encoded
from orthotrace.results.run_folder import Run
from orthotrace.training.activity import activity

SPIKING = ("stream=permuted", "model=spiking_mlp", "model.hidden=[8]", "model.steps=3", "stream.tasks=2", "trainer.max_epochs=1",
           "trainer.batch_size=512", "trainer.accelerator=cpu", "method=finetune")  # fmt: skip


@pytest.mark.parametrize("learning", ["dsr", "bptt", "ottt"])
@pytest.mark.parametrize("encoding", ["constant", "latency"])
def test_rates_and_operations_are_those_counted_step_by_step(learning, encoding):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2)]
    model = spiking(nn.Sequential(*layers), 4, learning, encoding=encoding)
    images = torch.randn(7, 1, 5, 5).relu()
    part = Images(images, torch.zeros(7, dtype=torch.int64))
    found = activity(model, part, batch_size=3)
    neurons, weights = {"1": 0.0, "4": 0.0}, {"0": 0.0, "3": 0.0, "5": 0.0}
    state: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for values in encoded(images, 4, encoding):
            for name, module in model.named_children():
                if name in weights:
                    weights[name] += float((values != 0).float().mean())
                if isinstance(module, LIF):
                    (values,), state[name] = module.over(values[None], state.get(name))
                    neurons[name] += float((values != 0).float().mean()) / 4
                else:
                    values = module.forward(values)
    for name, rate in neurons.items():
        assert found[name] == {"firing_rate": pytest.approx(rate)}
    adds = {"0": 3 * 9 * 4, "3": 60, "5": 10}
    for name, share in weights.items():
        assert found[name]["multiply_adds"] == adds[name]
        assert found[name]["synaptic_operations"] == pytest.approx(share * adds[name])


class Shared(nn.Module):
    """Neurons and a layer that are called twice, over two tokens, and one that never is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.relu, self.unused = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)

    def forward(self, values):
        for _ in range(2):
            values = self.relu(self.layer(values))
        return values.mean(1)


def test_what_is_called_several_times_or_never():
    torch.manual_seed(0)
    model = spiking(Shared(), 4, threshold=0.01)
    nn.init.ones_(model.layer.weight)
    found = activity(model, Images(torch.ones(5, 2, 3), torch.zeros(5, dtype=torch.int64)))
    assert found == {
        "layer": {"synaptic_operations": 2 * 4 * 18, "multiply_adds": 18}, "relu": {"firing_rate": 1.0},
    }  # fmt: skip


def test_scores_have_what_neurons_did_after_each_task(tmp_path):
    run = Run(tmp_path / "spiking")
    built(run, *SPIKING).run()
    did = run.scores["activity"]
    assert list(did) == ["fc1", "relu1", "head"] and all(
        len(rates) == 2 for of in did.values() for rates in of.values()
    )
    assert min(did["relu1"]["firing_rate"]) > 0 and max(did["relu1"]["firing_rate"]) < 1
    assert did["head"]["synaptic_operations"][0] == pytest.approx(did["relu1"]["firing_rate"][0] * 3 * 80)


def test_a_silent_layer_is_named(tmp_path):
    with pytest.warns(UserWarning, match="layer 'relu1': no neuron fired in this epoch") as told:
        built(Run(tmp_path), *SPIKING, "model.threshold=1e6").run()
    assert sum("no neuron fired" in str(one.message) for one in told) == 2


def test_one_that_fires_is_not(tmp_path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        built(Run(tmp_path), *SPIKING).run()
    assert not any("no neuron fired" in str(one.message) for one in told)
