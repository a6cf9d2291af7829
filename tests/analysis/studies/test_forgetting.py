"""What became of the tasks of a real run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from orthotrace.analysis.networks.runs import stream_of
from orthotrace.analysis.studies.forgetting import forgetting
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import find


@pytest.fixture(scope="module")
def run(study):
    (found,) = (one for one in find(study) if "method=finetune" in one.folder.name and "seed=0" in one.folder.name)
    return found


def test_each_task_after_itself_and_after_every_later_one(run):
    found = forgetting(run, per_class=40)
    assert [(one.task, one.after, one.layer) for one in found] == [
        (1, 1, "relu1"), (1, 1, "head"), (1, 2, "relu1"), (1, 2, "head"), (2, 2, "relu1"), (2, 2, "head"),
    ]  # fmt: skip
    for one in found:
        assert one.trained == run.scores["accuracy"][one.after - 1][one.task - 1]
        if one.task == one.after:
            # Nothing has moved: all but a new readout are the old one.
            assert one.diagnosis.before == one.diagnosis.kept == one.diagnosis.aligned
            assert one.drift is None or one.drift.size == 0
        assert (one.drift is not None) == (one.layer == "head")


def test_the_readout_is_the_networks_own_and_its_inputs_are_what_it_is_given(run):
    (moved,) = (
        one
        for one in forgetting(run, ["relu1"], per_class=1000)
        if (one.task, one.layer) == (1, "head") and one.after == 2
    )
    test = stream_of(run).test(0)
    first, second = run.network(1), run.network(2)
    with torch.no_grad():
        inputs = [model.relu1(model.fc1(test.inputs().flatten(1))) for model in (first, second)]
        kept = (first.head(inputs[1]).argmax(1) == test.labels).double().mean()
    assert moved.diagnosis.before == pytest.approx(run.scores["accuracy"][0][0])
    assert moved.diagnosis.kept == pytest.approx(float(kept))
    a, b = (one.double().numpy() for one in inputs)
    weight = first.head.weight.detach().double().numpy()
    onto = np.linalg.pinv(weight - weight.mean(0)) @ (weight - weight.mean(0))
    assert moved.drift.seen == pytest.approx(np.sum(((b - a) @ onto) ** 2) / np.sum((b - a) ** 2), rel=1e-4)


def test_a_new_readout_finds_what_fine_tuning_has_hidden(run):
    (moved,) = (one for one in forgetting(run) if (one.task, one.after, one.layer) == (1, 2, "relu1"))
    assert moved.diagnosis.refitted > moved.trained


def test_mistakes_are_one_line(run):
    with pytest.raises(UserError, match="per_class: a whole number of at least 2"):
        forgetting(run, per_class=1)
    with pytest.raises(UserError, match="fc9"):
        forgetting(run, ["fc9"])


def test_a_network_that_ends_in_no_linear_layer_has_readouts_of_its_layers_alone(run, monkeypatch):
    """Also one whose last linear layer gives something else than the answers."""
    from orthotrace.results.run_folder import Run

    made = Run.network

    def ended(self, task=-1):
        return torch.nn.Sequential(made(self, task), torch.nn.Softmax(1), torch.nn.Unflatten(1, (5, 2))).eval()

    monkeypatch.setattr(Run, "network", ended)
    found = forgetting(run, ["0.relu1"], per_class=5)
    assert [(one.layer, one.drift) for one in found] == [("0.relu1", None)] * 3


def test_a_regression_has_no_readouts_of_classes(run):
    from types import SimpleNamespace

    from orthotrace.analysis.studies.readouts import check_readouts
    from orthotrace.results.groups import Group

    scores = {"score": "r2", "accuracy": [[0.5, 0.1], [0.4, 0.6]]}
    regression = Group("finetune", (SimpleNamespace(folder=run.folder, scores=scores),))
    with pytest.raises(UserError, match="readout: .* is of a regression: readouts are of classes"):
        check_readouts([regression])
