import numpy as np
from tasks import TRAIN, after_one_task

from orthotrace.methods.nscl import NSCL


def test_the_covariance_is_over_all_images():
    method = NSCL(factor=10.0)
    model, outcome = after_one_task(method)
    space = method.guard.subspaces["head"]
    rows = model.relu1(model.fc1(TRAIN.inputs().flatten(1))).detach().double().numpy()
    assert np.allclose(space.covariance, rows.T @ rows / len(rows), rtol=1e-5, atol=1e-7)
    assert outcome.layers["head"].captured > 0.5 and outcome.layers["head"].exact is None


def test_it_learns_while_it_trains_where_a_stream_is_seen_once():
    method = NSCL()
    after_one_task(method, online=True)
    assert method.watches and method.guard.subspaces["fc1"].active
