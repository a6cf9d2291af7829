from tasks import TRAIN, after_one_task

from orthotrace.methods.codecl import CodeCL


def test_conceptors_are_of_the_sample():
    method = CodeCL(samples=100, threshold=0.9, aperture=1.0, cut=0.1)
    _, outcome = after_one_task(method)
    space = method.guard.subspaces["fc1"]
    sample = TRAIN.inputs().flatten(1)
    # Nearly all of the inputs is kept, in fewer directions than there are.
    assert 0.8 < float(space.inside(sample).norm(dim=1).sum() / sample.norm(dim=1).sum()) < 1
    assert 0 < outcome.layers["fc1"].capacity.rank < 64 and outcome.layers["fc1"].captured > 0.9
    assert (space.aperture, space.threshold, space.cut) == (1.0, 0.9, 0.1)
