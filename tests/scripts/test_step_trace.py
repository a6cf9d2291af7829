import statistics
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "step_trace.py"
# Files between the network and the subspaces.
GUARD = ("protection/", "subspace/", "linalg.py")


@pytest.fixture
def step_trace(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    monkeypatch.chdir(tmp_path)
    import step_trace

    return step_trace


def test_calls_are_counted_in_order_without_comprehensions_and_other_packages(step_trace):
    import torch

    from orthotrace.linalg import is_orthonormal, orthonormalise
    from orthotrace.protection import protectable

    calls = step_trace.calls_of(lambda: is_orthonormal(orthonormalise(torch.eye(2), torch.eye(2)[:0])))
    names = ["orthonormalise", "project_out", "project_out", "is_orthonormal"]
    assert calls == [("linalg.py", name) for name in names]
    # Comprehensions and generator expressions over the modules are none of them.
    calls = step_trace.calls_of(lambda: protectable(torch.nn.Linear(2, 2)))
    assert calls[0] == ("protection/layers.py", "protectable") and not any("<" in name for _, name in calls)
    assert step_trace.changes_of_file([("a", "f"), ("b", "f"), ("b", "g"), ("a", "f")]) == 2


def test_a_step_of_hlop_calls_little(step_trace):
    steps = step_trace.steps_of()
    assert len(steps) == step_trace.STEPS
    assert statistics.fmean(map(len, steps)) <= 60
    assert statistics.fmean(map(step_trace.changes_of_file, steps)) <= 20
    guard = [[call for call in step if call[0].startswith(GUARD)] for step in steps]
    # Three layers: what they see, what the subspaces learn of it, and what is taken back of the step.
    assert statistics.fmean(map(len, guard)) <= 25
    assert all("Projector._project" in {name for _, name in step} for step in guard)
