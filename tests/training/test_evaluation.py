import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from orthotrace.data.images import Images
from orthotrace.methods import Method
from orthotrace.training.evaluation import Evaluator, at_once, evaluate


def test_accuracy_is_averaged_over_samples_not_batches():
    # 5 samples in batches of 4: the last, smaller batch must not count more.
    logits = torch.eye(2)[[0, 0, 0, 0, 0]]
    part = Images(logits, torch.tensor([0, 0, 0, 0, 1]))
    found = evaluate(nn.Identity(), part, batch_size=4, loss=True)
    assert found.accuracy == pytest.approx(4 / 5)
    assert found.loss == pytest.approx(float(nn.functional.cross_entropy(logits, part.labels)))
    assert found.right.tolist() == [4, 0] and found.count.tolist() == [4, 1]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_judged_in_evaluation_mode_and_its_mode_kept(training):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.9)).double()
    model.train(training)
    part = Images(torch.ones(50, 4), torch.zeros(50, dtype=torch.int64))
    one, two = (evaluate(model, part, loss=True) for _ in range(2))
    assert one.loss == two.loss and one.accuracy == two.accuracy
    assert model.training == training


def test_only_the_outputs_that_count_are_chosen_among():
    logits = torch.tensor([[5.0, 1.0, 2.0, 0.0], [0.0, 9.0, 1.0, 2.0]])
    part = Images(logits, torch.tensor([2, 3]))
    assert evaluate(nn.Identity(), part).accuracy == 0
    found = evaluate(nn.Identity(), part, range(2, 4), loss=True)
    assert found.accuracy == 1
    assert found.loss == pytest.approx(float(nn.functional.cross_entropy(logits[:, 2:], part.labels - 2)))
    # A class that was not taught yet is none of the outputs: it cannot be told.
    unseen = evaluate(nn.Identity(), part, range(2))
    assert unseen.accuracy == 0 and unseen.loss is None and unseen.count.tolist() == [0, 0, 1, 1]


def test_a_parametrised_weight_is_computed_once():
    class Counted(nn.Module):
        calls = 0

        def forward(self, weight):
            self.calls += 1
            return 2 * weight

    layer, counted = nn.Linear(2, 2), Counted()
    parametrize.register_parametrization(layer, "weight", counted)
    part = Images(torch.randn(12, 2), torch.zeros(12, dtype=torch.int64))
    before = counted.calls
    evaluate(layer, part, batch_size=4)
    assert counted.calls == before + 1
    # What is kept ends with the block: a step in between is seen.
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    assert not layer.weight.any()


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_validation_accuracies_are_those_of_the_validation_images(scenario):
    from orthotrace.data.sources import digits
    from orthotrace.data.streams import Split
    from orthotrace.methods.finetune import Finetune
    from orthotrace.models.mlp import MLP

    stream = Split(digits(), tasks=2, scenario=scenario, repeats=2)
    torch.manual_seed(0)
    model = MLP(stream.shape, len(stream.classes), hidden=[16])
    found = Evaluator(model, Finetune(), stream).on_validation(after=4)
    expected = []
    for number in (0, 1, 0, 1):
        part, outputs = stream.task(number).validation, stream.active.for_evaluation(number, 4)
        logits = model(part.inputs())[:, outputs.start : outputs.stop]
        expected.append(float((logits.argmax(1) + outputs.start == part.labels).double().mean()))
    assert found == pytest.approx(expected) and len(set(found)) > 1
    none = Evaluator(model, Finetune(), Split(digits(), tasks=2, validation=0.0)).on_validation(after=2)
    assert none == []


def test_chance_is_the_share_of_the_most_frequent_class():
    from orthotrace.data.sources import arrays
    from orthotrace.data.streams import Split

    labels = torch.tensor([0] * 6 + [1] * 2 + [2] * 3 + [3] * 3)
    images = torch.zeros(len(labels), 1, 2, 2)
    stream = Split(arrays(images, labels, images, labels), tasks=2, class_order="natural")
    assert Evaluator(nn.Identity(), Method(), stream).chances() == ([0.75, 0.5], [8, 6])


@pytest.mark.parametrize(
    ("shape", "device", "images"),
    [((1, 8, 8), "cpu", 1024), ((1, 28, 28), "cpu", 1024), ((3, 32, 32), "cpu", 64), ((2, 24, 24), "cpu", 113),
     ((3, 224, 224), "cpu", 64), ((3, 32, 32), "cuda", 1024), ((0,), "cpu", 1024)],
)  # fmt: skip
def test_as_many_images_are_tested_at_once_as_suit_the_device(shape, device, images):
    assert at_once(Images(torch.zeros(3, *shape), torch.zeros(3)), torch.device(device)) == images


def test_how_many_are_tested_at_once_changes_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 5))
    draws = torch.Generator().manual_seed(0)
    part = Images(torch.randn(150, 3, 32, 32, generator=draws), torch.randint(5, (150,), generator=draws))
    one, other = evaluate(model, part, loss=True), evaluate(model, part, loss=True, batch_size=150)
    assert one.accuracy == other.accuracy and one.loss == pytest.approx(other.loss, abs=1e-5)


# Scenario, repeats, blur -> tasks that are tested after each of the first two.
TESTED = {
    ("task", 1, 0.0): [[0], [0, 1]],
    ("class", 1, 0.0): [[0], [0, 1]],
    ("domain", 1, 0.0): [[0, 1, 2], [0, 1, 2]],
    ("class", 1, 0.2): [[0, 1, 2], [0, 1, 2]],
    ("class", 2, 0.0): [[0, 3], [0, 1, 3, 4]],
    ("task", 2, 0.0): [[0, 3], [0, 1, 3, 4]],
}


@pytest.mark.parametrize("given", TESTED, ids=str)
def test_what_was_not_taught_yet_is_not_tested(given, monkeypatch):
    """Its accuracy is what a test would find where no class of it can be chosen, and unknown of an untrained head."""
    from orthotrace.data.sources import digits
    from orthotrace.data.streams import Split
    from orthotrace.methods.finetune import Finetune
    from orthotrace.models.mlp import MLP

    scenario, repeats, blur = given
    stream = Split(digits(), tasks=3, classes_per_task=3, scenario=scenario, repeats=repeats, blur=blur)
    torch.manual_seed(0)
    evaluator = Evaluator(MLP(stream.shape, len(stream.classes), hidden=[16]), Finetune(), stream)
    each = [
        [
            evaluate(evaluator.model, stream.test(index), stream.active.for_evaluation(index, after)).accuracy
            for index in range(stream.tasks)
        ]
        for after in range(3)
    ]
    tested = []
    monkeypatch.setattr(
        "orthotrace.training.evaluation.evaluate", lambda *given: tested.append(given[1]) or evaluate(*given)
    )
    assert evaluator.untrained() == each[0] and len(tested) == stream.tasks
    for after, expected in enumerate(TESTED[given], start=1):
        tested.clear()
        found, by_class = evaluator(after)
        assert len(tested) == len(expected)
        # Over the images of the tasks so far, each once.
        of = [(stream.test(index), stream.active.for_evaluation(index, after)) for index in range(after)]
        sums = [evaluate(evaluator.model, part, outputs) for part, outputs in of]
        right, count = sum(one.right for one in sums), sum(one.count for one in sums)
        assert by_class == [int(a) / int(b) if b else None for a, b in zip(right, count, strict=True)]
        for index in range(stream.tasks):
            untrained = scenario == "task" and index not in expected
            assert found[index] == (None if untrained else each[after][index])
