from __future__ import annotations

import pytest
import torch
from composed import built
from regressions import TINY, written
from tasks import context_of
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import arrays, digits
from orthotrace.data.streams import Permuted, Split
from orthotrace.layers.weights import give_weights
from orthotrace.methods.finetune import Finetune
from orthotrace.methods.nearest_mean import Features, NearestMean
from orthotrace.methods.references import Independent
from orthotrace.methods.replay import ExperienceReplay
from orthotrace.models.all_cnn import AllCNN
from orthotrace.models.mlp import MLP
from orthotrace.models.spiking import SpikingMLP
from orthotrace.results.run_folder import Run
from orthotrace.training.evaluation import Evaluator


def of_two_tasks(method, scenario="class", shift=0.3, **options):
    """A network that has moved between two tasks, after each of which the means were computed; and what it was."""
    stream = Split(digits(), tasks=5, scenario=scenario, class_order="natural", **options)
    torch.manual_seed(0)
    model = MLP(stream.shape, len(stream.classes), hidden=[12]).double()
    method.setup(model, Seeds(), stream)
    nearest, networks = NearestMean(model, method, stream), []
    for number in range(2):
        context = context_of(stream, number)
        if getattr(method, "memory", None) is not None:
            method.memory.offer(context.part, torch.arange(len(context.part)), number)
        nearest.update(context)
        networks.append(MLP(stream.shape, len(stream.classes), hidden=[12]).double())
        networks[-1].load_state_dict(model.state_dict())
        if not number:
            with torch.no_grad():
                model.fc1.weight.add_(shift * torch.randn_like(model.fc1.weight))
    return stream, model, nearest, networks


def features(model: MLP, inputs: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for one in inputs.double():
        phi = (model.fc1.weight @ one.flatten() + model.fc1.bias).clamp(min=0).detach()
        found.append(phi / phi.square().sum().sqrt())
    return found


def mean(vectors: list[torch.Tensor]) -> torch.Tensor:
    average = sum(vectors) / len(vectors)
    return average / average.square().sum().sqrt()


def mean_of(model: MLP, part, label: int) -> torch.Tensor:
    return mean(features(model, part.take((part.labels == label).nonzero().flatten()).inputs()))


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_the_nearest_of_the_means_of_the_active_classes_decides(scenario):
    """Against a loop over images and classes in float64: means of the first task are of the network of its end."""
    stream, model, nearest, networks = of_two_tasks(Finetune(), scenario)
    means = {y: mean_of(networks[y // 2], stream.task(y // 2).train, y) for y in range(4)}
    for label, value in means.items():
        assert torch.allclose(nearest.means[label], value, atol=1e-12)
    found = Evaluator(model, Finetune(), stream, nearest)(after=2, tasks=2)[0]
    for task in range(2):
        part, among = stream.test(task), [0, 1, 2, 3] if scenario == "class" else [2 * task, 2 * task + 1]
        answers = [
            min(among, key=lambda y, f=f: float((f - means[y]).square().sum())) for f in features(model, part.inputs())
        ]
        right = sum(answer == label for answer, label in zip(answers, part.labels.tolist(), strict=True))
        assert found[task] == right / len(part) and 0 < right < len(part)


def test_the_means_are_of_length_1_and_a_class_without_one_is_never_chosen():
    stream, model, nearest, _ = of_two_tasks(Finetune())
    assert torch.allclose(nearest.means.norm(dim=1), torch.tensor([1.0] * 4 + [0.0] * 6).double())
    outputs = nearest.over(model)(stream.test(3).inputs().double())
    assert bool((outputs[:, 4:] == -torch.inf).all()) and bool(outputs[:, :4].isfinite().all())


def test_a_memory_renews_the_means_of_earlier_classes_alone():
    method = ExperienceReplay(memory={"size": 30})
    stream, model, nearest, _ = of_two_tasks(method)
    held = method.memory.images(stream.scaling)
    assert set(held.labels.tolist()) == {0, 1, 2, 3}
    for label in range(4):
        part = held if label < 2 else stream.task(1).train
        assert torch.allclose(nearest.means[label], mean_of(model, part, label), atol=1e-12)


def test_classes_that_a_memory_has_lost_keep_their_means():
    method = ExperienceReplay(memory={"size": 30})
    stream, _, nearest, _ = of_two_tasks(method)
    held, before = method.memory.images(stream.scaling), nearest.means
    method.memory.hold([held.take((held.labels == 0).nonzero().flatten()[:1])], torch.zeros(1))
    nearest.update(context_of(stream, 1))
    assert len(method.memory) == 1 and not torch.equal(nearest.means[0], before[0])
    assert torch.equal(nearest.means[1], before[1])


def test_in_the_domain_incremental_scenario_each_task_has_means_of_its_own():
    stream, model, nearest, networks = of_two_tasks(Finetune(), "domain")
    width = len(stream.classes)
    assert nearest.means.shape == (5 * width, 12)
    means = [mean_of(networks[task], stream.task(task).train, y) for task in range(2) for y in range(width)]
    assert torch.allclose(nearest.means[: 2 * width], torch.stack(means), atol=1e-12)
    inputs = stream.test(0).inputs()
    every = torch.stack([torch.stack([f @ one for one in means]) for f in features(model, inputs)])
    expected = every.unflatten(1, (2, width)).amax(1)
    assert torch.allclose(nearest.over(model)(inputs.double()), expected, atol=1e-12)


def test_each_image_is_seen_by_the_network_of_its_task():
    method = Independent()
    stream, model, nearest, _ = of_two_tasks(method, "task")
    # None of these was trained here: those that the method tests are the initial ones.
    assert torch.allclose(nearest.means[2], mean_of(method.trained[1], stream.task(1).train, 2), atol=1e-12)
    assert not torch.allclose(nearest.means[2], mean_of(model, stream.task(1).train, 2), atol=1e-3)


class Twice(nn.Module):
    """Applies its readout to two halves of the images, and at two places of each."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 10)

    def forward(self, inputs):
        upper, lower = inputs.flatten(1).split(32, 1)
        return self.head(torch.stack([upper, lower], 1)).mean(1) + self.head(torch.stack([lower, 2 * lower], 1)).mean(1)


class Whole(nn.Module):
    """Gives its readout all images at once."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 10)

    def forward(self, inputs):
        return self.head(inputs.reshape(-1, 16)).unflatten(0, (len(inputs), -1)).mean(1)


def test_what_the_readout_is_given_at_several_places_and_times_is_averaged():
    stream, inputs = Permuted(digits()), digits().test.inputs(torch.arange(3))
    found = Features(model := Twice(), stream)(model, inputs)
    upper, lower = inputs.flatten(1).split(32, 1)
    assert torch.allclose(found, nn.functional.normalize((upper + 4 * lower) / 4))


def test_maps_are_averaged_over_places():
    images = torch.rand(20, 3, 12, 12)
    stream = Permuted(arrays(images, torch.arange(20) % 10, images, torch.arange(20) % 10))
    model = AllCNN((3, 12, 12), 10, stages=[[4], [5]], last=(6, 7)).eval()
    found = Features(model, stream)(model, images)
    with torch.no_grad():
        maps = images
        for name, layer in model.named_children():
            if name == "head":
                break
            maps = layer(maps)
    assert torch.allclose(found, nn.functional.normalize(maps.mean((2, 3))), atol=1e-6)


@pytest.mark.parametrize("learning", ["dsr", "bptt", "ottt"])
def test_a_spiking_network_has_the_mean_over_time(learning):
    """The readout of that mean gives the logits, since it is linear."""
    stream, inputs = Permuted(digits()), digits().test.inputs(torch.arange(5))
    torch.manual_seed(0)
    model = SpikingMLP(stream.shape, 10, hidden=[12], learning=learning, steps=4).eval()
    features, found = Features(model, stream), []
    handle = model.head.register_forward_pre_hook(lambda layer, args: found.append(args[0]))
    with torch.no_grad():
        logits = model(inputs)
    handle.remove()
    rates = model.over_time(found[0])
    assert torch.allclose(
        rates @ model.head.weight.T + (0 if model.head.bias is None else model.head.bias), logits, atol=1e-5
    )
    assert torch.allclose(features(model, inputs), nn.functional.normalize(rates, dim=1))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Unflatten(1, (2, 2)), nn.Flatten()),
            "no Linear layer has 10",
        ),
        (Whole(), "the readout 'head' is not given an input of each image"),
    ],
)
def test_a_network_without_a_readout_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        Features(model, Permuted(digits()))


@pytest.mark.parametrize("kind", ["lora", "own"])
def test_weights_that_are_parametrised_have_features_too(kind):
    stream = Split(digits(), tasks=5, scenario="class")
    torch.manual_seed(0)
    model, x = MLP(stream.shape, 10, hidden=[12]), torch.rand(4, *stream.shape)
    before = Features(model, stream)(model, x)
    give_weights(model, kind)
    found = Features(model, stream)
    assert found.name == "head"
    # Adapters change nothing at first, orthogonal weights do.
    assert torch.equal(found(model, x), before) == (kind == "lora")
    expected = torch.nn.functional.normalize(torch.relu(model.fc1(x.flatten(1))), dim=1)
    torch.testing.assert_close(found(model, x), expected.detach())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_network_is_kept(training):
    stream, model, nearest, _ = of_two_tasks(Finetune())
    model.train(training)
    Evaluator(model, Finetune(), stream, nearest)(after=2)
    nearest.update(context_of(stream, 1))
    assert all(one.training == training for one in model.modules())


RUN = (
    "method=gpm", "method.rows=3", "stream=split", "stream.tasks=5", "stream.scenario=class", "model.hidden=[16]",
    "trainer.max_epochs=1", "trainer.accelerator=cpu", "dataset.limit=60",
)  # fmt: skip


def test_a_run_has_the_weights_it_would_have_without_and_counts_what_it_keeps(tmp_path):
    off, on = (
        built(Run(tmp_path / name), *RUN, *more)
        for name, more in (("off", ()), ("on", ("trainer.nearest_mean=true", "trainer.evaluate_inside=2")))
    )
    scores = [one.run() and one.report() for one in (off, on)]
    without, with_ = off.learner.state_dict(), on.learner.state_dict()
    assert with_.keys() - without.keys() == {"nearest.means_0"} and not without.keys() - with_.keys()
    assert all(torch.equal(value, with_[name]) for name, value in without.items())
    assert scores[1]["extra_memory_bytes"] - scores[0]["extra_memory_bytes"] == 10 * 16 * 4
    assert scores[0]["untrained"] == scores[1]["untrained"] and scores[0]["accuracy"] != scores[1]["accuracy"]
    # Inside a task its new classes are known.
    assert all(row["accuracy"][-1] > 0.5 for row in on.progress.inside)


def test_a_regression_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"trainer.nearest_mean: is for classes, and this data set has targets"):
        built(
            Run(tmp_path),
            *TINY,
            f"dataset.path={written(tmp_path)}",
            "stream=permuted",
            "method=finetune",
            "trainer.nearest_mean=true",
        )
