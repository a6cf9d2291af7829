import numpy as np
import pytest
import torch
from torch import nn

import orthotrace.analysis.concepts.layer_outputs
from orthotrace.analysis.concepts.images import ConceptImageLoader
from orthotrace.analysis.concepts.layer_outputs import (
    LabelledImages,
    axis_purity,
    concept_importance,
    evaluate_concepts,
    read_layer,
)
from orthotrace.analysis.concepts.purity import purity
from orthotrace.core.errors import UserError
from orthotrace.data.concepts import ConceptPart, ConceptSets
from orthotrace.data.images import Images as Pixels
from orthotrace.layers import ConceptWhitening
from orthotrace.layers.reductions import reduced

CONCEPTS = ("striped", "dotted")


def mean(maps):
    return reduced(maps, "mean")


def net(layer: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    model.train()
    for _ in range(30):
        model(torch.randn(32, 1, 6, 6))
    return model.eval()


@pytest.fixture
def concept_net():
    model = net(ConceptWhitening(4, ["dotted", "striped"], reduction="mean"))
    for concept, shade in (("striped", 1.0), ("dotted", -1.0)):
        model[1].align({concept: model[0](torch.randn(8, 1, 6, 6) + shade)})
    return model


def images(count=30, seed=0):
    draws = torch.Generator().manual_seed(seed)
    has = torch.rand(count, 2, generator=draws) < 0.5
    inputs = (
        torch.randn(count, 1, 6, 6, generator=draws) + (has.float() @ torch.tensor([1.0, -0.5]))[:, None, None, None]
    )
    return LabelledImages(inputs, has.numpy())


def parts(**options):
    return {name: images(seed=seed, **options) for seed, name in enumerate(("train", "validation", "test"))}


@pytest.mark.parametrize("batch", [7, 500])
def test_what_is_read_is_what_the_layer_does(concept_net, monkeypatch, batch):
    monkeypatch.setattr(orthotrace.analysis.concepts.layer_outputs, "BATCH", batch)
    given = parts()
    outputs = read_layer(concept_net, "1", given, CONCEPTS, mean)
    for name, of in given.items():
        before = concept_net[0](of.inputs)
        after = concept_net[1](before)
        for found, maps in ((outputs.before, before), (outputs.after, after)):
            assert np.allclose(found[name], maps.mean((2, 3)).detach().numpy(), atol=1e-5)
        # The layer knows the concepts in the order dotted, striped; they are asked in another one.
        axes = concept_net[1].axes
        assert np.allclose(
            outputs.active[name], outputs.after[name][:, [axes.of[one][0] for one in CONCEPTS]], atol=1e-5
        )
        assert (outputs.has[name] == of.has).all()
    after = concept_net[1](concept_net[0](given["test"].inputs)).detach()
    assert np.allclose(outputs.means, after.mean((2, 3)).numpy(), atol=1e-5)
    rows = after.transpose(0, 1).flatten(1).double().numpy()
    assert outputs.white == pytest.approx(np.linalg.norm(np.cov(rows, bias=True) - np.eye(4)) / 2, rel=1e-3)


def test_axes_are_rows_of_the_folded_map(concept_net):
    outputs = read_layer(concept_net, "1", parts(), CONCEPTS, mean)
    layer = concept_net[1]
    x = torch.randn(5, 4)
    moved = layer(x + torch.randn(1, 4)) - layer(x)
    direct = torch.stack([moved[:, layer.axes.of[name][0]] for name in CONCEPTS], 1)
    rows = np.concatenate(outputs.axes)
    assert rows.shape == (2, 4)
    shift = torch.linalg.lstsq(layer.affine()[0], moved.T).solution.T
    assert np.allclose((shift @ torch.tensor(rows).float().T).detach().numpy(), direct.detach().numpy(), atol=1e-4)


def test_axis_and_purity_belong_to_the_same_concept(concept_net):
    """The order of concepts that is asked is that of the answers, whatever the layer's."""
    given = parts()
    ours = axis_purity(read_layer(concept_net, "1", given, CONCEPTS, mean))
    layer = concept_net[1]
    after = mean(layer(concept_net[0](given["test"].inputs))).detach()
    for number, name in enumerate(CONCEPTS):
        own = purity(after[:, layer.axes.of[name]].double().numpy(), given["test"].has[:, [number]])
        assert ours.auc.value[number] == pytest.approx(own.auc.value[0])


def test_masks_tell_nothing_of_held_out_images(concept_net):
    """What an image shows where its mask is must not say whether it has a mask: concepts that are chance stay chance."""
    draws = torch.Generator().manual_seed(0)
    inputs = 0.3 * torch.randn(400, 1, 6, 6, generator=draws)
    inputs[:, :, 2:4, 2:4] += 1
    has = torch.rand(400, 2, generator=draws) < 0.5
    masks = torch.ones(400, 6, 6)
    masks[has[:, 0]] = 0
    masks[:, 2:4, 2:4] = 1
    part = ConceptPart(Pixels(inputs, torch.zeros(400, dtype=torch.int64)), has, masks)
    sets = ConceptSets(CONCEPTS, part, part, part)
    for of in ConceptImageLoader().parts(sets).values():
        assert not hasattr(of, "masks")
    found = axis_purity(read_layer(concept_net, "1", ConceptImageLoader().parts(sets), CONCEPTS, mean))
    assert np.abs(found.auc.value - 0.5).max() < 0.1


def test_a_layer_without_axes_is_evaluated_by_its_own_channels():
    model = net(nn.BatchNorm2d(4))
    outputs = read_layer(model, "1", parts(), CONCEPTS, mean)
    assert outputs.active is None and outputs.axes is None and axis_purity(outputs) is None
    evaluation = evaluate_concepts(outputs)
    assert evaluation.axis is None
    for one in (evaluation.filter, evaluation.probe, evaluation.vector):
        assert one.auc.value.shape == (2,) and (one.auc.value > 0.5).all()
    # Best is chosen on the validation images.
    for number in range(2):
        best = [
            purity(outputs.after["validation"][:, [channel]], outputs.has["validation"][:, [number]]).auc.value[0]
            for channel in range(4)
        ]
        own = purity(outputs.after["test"][:, [np.argmax(best)]], outputs.has["test"][:, [number]]).auc.value[0]
        assert evaluation.filter.auc.value[number] == pytest.approx(own)
    assert evaluation.correlations.shape == (4, 4) and evaluation.white == outputs.white


def test_filters_of_a_concept_layer_are_those_before_it(concept_net):
    outputs = read_layer(concept_net, "1", parts(), CONCEPTS, mean)
    evaluation = evaluate_concepts(outputs)
    swapped = evaluate_concepts(
        orthotrace.analysis.concepts.layer_outputs.LayerOutputs(
            outputs.concepts,
            outputs.after,
            outputs.before,
            outputs.active,
            outputs.means,
            outputs.white,
            outputs.axes,
            outputs.has,
        )
    )
    assert not np.allclose(evaluation.filter.auc.value, swapped.filter.auc.value)
    assert evaluation.axis is not None and (evaluation.axis.auc.value == axis_purity(outputs).auc.value).all()


def test_importance_is_the_loss_of_a_permuted_axis(concept_net):
    given = images()
    labels = torch.arange(30) % 3
    found = concept_importance(concept_net, "1", given.inputs, labels, range(3), CONCEPTS, repeats=400)
    features = concept_net[1](concept_net[0](given.inputs)).detach()
    plain = float(nn.functional.cross_entropy(concept_net[2:](features), labels).detach())
    assert found.loss == pytest.approx(plain, rel=1e-5)
    for place, name in enumerate(CONCEPTS):
        axis = concept_net[1].axes.of[name][0]
        losses = []
        for shift in range(1, 30):
            changed = features.clone()
            changed[:, axis] = features.roll(shift, 0)[:, axis]
            losses.append(float(nn.functional.cross_entropy(concept_net[2:](changed), labels).detach()))
        assert found.ratio[place] == pytest.approx(np.mean(losses) / plain, rel=0.02)


def test_only_the_outputs_that_are_asked_count(concept_net):
    given = images()
    labels = 1 + torch.arange(30) % 2
    two = concept_importance(concept_net, "1", given.inputs, labels, range(1, 3), CONCEPTS)
    logits = concept_net(given.inputs)[:, 1:].detach()
    assert two.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels - 1)), rel=1e-5)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.unused = nn.BatchNorm2d(1)

    def forward(self, x):
        return self.norm(self.norm(x))


@pytest.mark.parametrize(
    ("layer", "said"),
    [("nrom", "no layer 'nrom'"), ("norm", "called 2 times"), ("unused", "called 0 times")],
)
def test_a_layer_that_cannot_be_read(layer, said):
    model = Twice().eval()
    with pytest.raises(UserError, match=said):
        read_layer(model, layer, parts(), CONCEPTS, mean)
    # No hook stays behind.
    assert not model.norm._forward_hooks and not model.unused._forward_hooks
