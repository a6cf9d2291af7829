from tasks import after_one_task

from orthotrace.methods.sgp import SGP


def test_importances_are_of_the_sample():
    method = SGP(rows=5, samples=100, alpha=3.0)
    _, outcome = after_one_task(method)
    importance = method.guard.subspaces["fc1"].importance
    assert len(importance) == 5 and float(importance[0]) == 1 and bool((importance.diff() <= 0).all())
    assert outcome.layers["fc1"].exact >= outcome.layers["fc1"].captured > 0.5
