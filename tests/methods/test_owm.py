import torch
from tasks import TRAIN, after_one_task

from orthotrace.methods.owm import OWM


def test_the_recursion_sees_each_batch_once():
    method = OWM(alpha=0.5)
    _, outcome = after_one_task(method)
    space = method.guard.subspaces["fc1"]
    # Whatever the order of the batches: together they are the training images.
    values = torch.linalg.eigvalsh(space.inverse)
    means = TRAIN.inputs().flatten(1).double().mean(0)
    expected = 1 / (1 + 10 * float(means @ means) / 0.5)
    assert 0.5 * expected < float(values[0]) < 1.5 * expected
    assert outcome.layers["fc1"].capacity.rank == int((values < 0.5).sum()) >= 1


def test_it_learns_while_it_trains_where_a_stream_is_seen_once():
    method = OWM(alpha=1.0)
    after_one_task(method, online=True)
    assert method.watches and method.guard.subspaces["fc1"].active
