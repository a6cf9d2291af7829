import pytest
import torch
from composed import StopError, Stopping, built

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Images
from orthotrace.data.sources import Source, digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.lwf import LwF
from orthotrace.models.convnet import ConvNet
from orthotrace.models.mlp import MLP
from orthotrace.results.run_folder import Run
from orthotrace.training.experiment import Experiment
from orthotrace.training.learner import Learner
from orthotrace.training.settings import Components, Optimization, Training
from orthotrace.training.tracking import Tracker

SGD = Optimization(lambda parameters: torch.optim.SGD(parameters, 0.1))


class Recorder(Tracker):
    def __init__(self):
        self.calls = []

    def epoch(self, row, number):
        self.calls.append(("epoch", number, row["task"], row["epoch"]))

    def task(self, progress, scores):
        self.calls.append(("task", progress.task, scores is not None))


def experiment(folder, tracker=None, seed=0, **trainer) -> Experiment:
    stream = Permuted(digits(), tasks=2)
    torch.manual_seed(0)
    parts = Components(stream, MLP(stream.shape, 10, hidden=[16]), Finetune(), Seeds(order=seed))
    training = Training.of(max_epochs=2, batch_size=256)
    return Experiment(Run(folder), parts, SGD, training, {"accelerator": "cpu", "devices": 1, **trainer}, tracker)


def test_everything_is_reported_in_order(tmp_path):
    recorder = Recorder()
    progress = experiment(tmp_path, recorder).run()
    assert recorder.calls == [
        ("epoch", 1, 1, 1), ("epoch", 2, 1, 2), ("task", 1, False),
        ("epoch", 3, 2, 1), ("epoch", 4, 2, 2), ("task", 2, True),
    ]  # fmt: skip
    steps = [row["step"] for row in progress.epochs]
    assert steps == [6, 12, 18, 24]


def test_it_trains_what_a_plain_loop_trains(tmp_path):
    """The same net, order and optimizer in twelve lines of torch give the same weights."""
    from orthotrace.data.batches import Batches

    ours = experiment(tmp_path)
    ours.run()
    stream = Permuted(digits(), tasks=2)
    torch.manual_seed(0)
    model = MLP(stream.shape, 10, hidden=[16])
    for index in range(2):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        batches = Batches(stream.task(index).train, 256, 0, index)
        for epoch in range(2):
            batches.set_epoch(epoch)
            for batch in batches:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(batch.inputs), batch.labels).backward()
                optimizer.step()
    for a, b in zip(model.parameters(), ours.learner.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scores_are_whole_from_the_start_on(tmp_path):
    made = experiment(tmp_path)
    report = made.report()
    assert report["accuracy"] == [[None, None]] * 2 and report["acc"] is None and report["leak"] is None
    assert report["parameters"] == 64 * 16 + 16 + 160 + 10


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_precisions_that_round_the_protection_away_are_refused(tmp_path, precision):
    with pytest.raises(UserError, match="precision"):
        experiment(tmp_path, precision=precision)


class Wrong(torch.nn.Module):
    def __init__(self, outputs, features=64):
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs)

    def forward(self, images):
        return self.layer(images.flatten(1))


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (Wrong(3), "model: gives (2, 3) for two images, where (2, 10) is needed"),
        (Wrong(10, 9), "model: fails on images of the shape (1, 8, 8): mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, model, line):
    stream = Permuted(digits(), tasks=2)
    with pytest.raises(UserError) as error:
        Experiment(Run(tmp_path / "run"), Components(stream, model, Finetune()), SGD, Training.of(max_epochs=1))
    assert str(error.value).startswith(line) and not (tmp_path / "run").exists()


class Noting(Finetune):
    """Notes the epoch that each task ended with."""

    def __init__(self):
        super().__init__()
        self.ended = []

    def end_task(self, context):
        self.ended.append((context.number, context.epoch))
        return super().end_task(context)


def test_a_method_sees_the_last_epoch_at_a_tasks_end_however_often_a_run_was_continued(tmp_path):
    def made(folder, tracker=None):
        stream = Permuted(digits(), tasks=2)
        method = Noting()
        parts = Components(stream, MLP(stream.shape, 10, hidden=[4]), method, Seeds())
        training = Training.of(max_epochs=3, batch_size=512, save_every=0)
        options = {"accelerator": "cpu", "devices": 1}
        return Experiment(Run(folder), parts, SGD, training, options, tracker), method

    whole, method = made(tmp_path / "whole")
    whole.run()
    assert method.ended == [(0, 2), (1, 2)]
    # The epoch is reported before it is saved: the run goes on from the first epoch of the second task.
    cut, _ = made(tmp_path / "cut", Stopping(2, 2))
    with pytest.raises(StopError):
        cut.run()
    continued, method = made(tmp_path / "cut")
    continued.run()
    assert method.ended == [(1, 2)]


def test_convolutions_see_images_with_their_channels_last(tmp_path):
    """Also those of networks that a method keeps beside the trained one."""
    store = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    part = Images(store, torch.arange(40) % 4)
    stream = Split(Source("generated", part, part, tuple("abcd")), tasks=2)
    model, orders = ConvNet(stream.shape, 4, [4, 4]), []
    for layer in (model.conv1, model.conv2):
        layer.register_forward_pre_hook(lambda layer, given: orders.append(given[0].stride(1) == 1))
    parts = Components(stream, model, LwF(strength=1.0), Seeds())
    training = Training.of(max_epochs=1, batch_size=8)
    Experiment(Run(tmp_path), parts, SGD, training, {"accelerator": "cpu", "devices": 1}).run()
    assert len(orders) > 20
    assert all(orders)


def test_a_run_tells_of_statistics_behind_dropout(tmp_path):
    given = ("method=finetune", "stream=permuted", "model=convnet", "model.channels=[8,8]", "regularizer.dropout=.2")
    with pytest.warns(UserWarning, match="layer 'bn2': its running statistics"):
        built(Run(tmp_path / "run"), *given)


def test_a_run_is_on_its_device_before_anything_is_made_of_its_weights(tmp_path, monkeypatch):
    """A task that goes on in another process must find what the first process had, on the same device."""
    seen = []
    ours = experiment(tmp_path)
    to, measure, begin = Learner.to, Experiment.measure, Experiment.begin_task
    monkeypatch.setattr(Learner, "to", lambda self, device: seen.append(device) or to(self, device))
    monkeypatch.setattr(Experiment, "measure", lambda self: seen.append("measured") or measure(self))
    monkeypatch.setattr(Experiment, "begin_task", lambda self: seen.append("begun") or begin(self))
    ours.run()
    assert seen[:3] == [ours.trainer.strategy.root_device, "measured", "begun"]
