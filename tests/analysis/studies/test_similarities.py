from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from orthotrace.analysis.networks.windows import TimeReading
from orthotrace.analysis.similarity.invariances import declare
from orthotrace.analysis.studies.similarities import similarities


def first_over_second(x, y):
    return float(x.norm() / y.norm())


@declare(symmetric=True)
def declared_symmetric(x, y):
    return first_over_second(x, y)


def test_a_measure_that_is_not_declared_symmetric_is_the_mean_of_both_directions():
    """The second network's activations are twice those of the first: ratios 1/2 and 2, mean 5/4."""
    networks = []
    for scale in (1.0, 2.0):
        model = nn.Sequential(nn.Identity(), nn.Linear(3, 3, bias=False))
        nn.init.eye_(model[1].weight).data.mul_(scale)
        model.eval()
        run = SimpleNamespace(network=lambda task, model=model: model)
        networks.append(SimpleNamespace(run=run, task=1, rdms={"1": np.ones(10)}))
    stimuli = SimpleNamespace(images=torch.rand(5, 3))
    measures = {"plain": first_over_second, "symmetric": declared_symmetric}
    places, left_out = {"1": SimpleNamespace(read="post")}, []
    readings = SimpleNamespace(layers=["1"], places=places, time=TimeReading())
    found = similarities({("a", 1): networks}, readings, stimuli, measures, left_out)
    assert not left_out
    assert found["plain"]["a", 1]["1"].mean == pytest.approx(1.25)
    assert found["symmetric"]["a", 1]["1"].mean == pytest.approx(0.5)
