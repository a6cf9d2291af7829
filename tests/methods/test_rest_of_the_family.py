"""SGP, OWM and Adam-NSCL: what they hand to their subspaces."""

import numpy as np
import torch

from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.nscl import NSCL
from orthotrace.methods.owm import OWM
from orthotrace.methods.sgp import SGP
from orthotrace.models.mlp import MLP

TRAIN = digits().train.take(torch.arange(300))
INPUTS = TRAIN.inputs().flatten(1)


def ended(method, **stream):
    torch.manual_seed(0)
    model = MLP((1, 8, 8), 10, hidden=[12])
    method.setup(model, Seeds(), Permuted(digits(), **stream))
    method.enter(0, TRAIN)
    method.begin_task()
    for images in INPUTS.split(32):
        method.training_forward(model, images)
    return method.end_task(model.eval(), TRAIN, 32), model


def test_the_covariance_is_over_all_images():
    method = NSCL(factor=10.0)
    outcome, model = ended(method)
    space = method.guard.subspaces["head"]
    rows = model.relu1(model.fc1(INPUTS)).detach().double().numpy()
    assert np.allclose(space.covariance, rows.T @ rows / len(rows), rtol=1e-5, atol=1e-7)
    assert outcome.layers["head"].captured > 0.5 and outcome.layers["head"].exact is None


def test_the_recursion_sees_each_batch_once():
    method = OWM(alpha=0.5)
    outcome, _ = ended(method)
    space = method.guard.subspaces["fc1"]
    # Whatever the order of the batches: together they are the training images.
    values = torch.linalg.eigvalsh(space.inverse)
    means = INPUTS.double().mean(0)
    expected = 1 / (1 + 10 * float(means @ means) / 0.5)
    assert 0.5 * expected < float(values[0]) < 1.5 * expected
    assert outcome.layers["fc1"].capacity.rank == int((values < 0.5).sum()) >= 1


def test_both_learn_while_they_train_where_a_stream_is_seen_once():
    for method in (NSCL(), OWM(alpha=1.0)):
        ended(method, online=True)
        assert method.watches and method.guard.subspaces["fc1"].active


def test_importances_are_of_the_sample():
    method = SGP(rows=5, samples=100, alpha=3.0)
    outcome, _ = ended(method)
    importance = method.guard.subspaces["fc1"].importance
    assert len(importance) == 5 and float(importance[0]) == 1 and bool((importance.diff() <= 0).all())
    assert outcome.layers["fc1"].exact >= outcome.layers["fc1"].captured > 0.5
