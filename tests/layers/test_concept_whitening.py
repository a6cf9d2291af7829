from __future__ import annotations

import copy
import itertools
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from orthotrace.core.errors import UserError
from orthotrace.layers import ConceptWhitening
from orthotrace.linalg import is_orthonormal, orthonormalise

MODES = ["mean", "max", "pos_mean", "pool_max"]


def planted(
    concepts: int, width: int, count: int, side: int = 6, amplitude: float = 4.0, seed: int = 0
) -> tuple[Tensor, dict[str, Tensor]]:
    """White maps with one direction planted at one place of each, and the directions."""
    draws = torch.Generator().manual_seed(seed)
    true = orthonormalise(torch.randn(concepts, width, generator=draws))
    sets = {}
    for number in range(concepts):
        maps = torch.randn(count, width, side * side, generator=draws)
        places = torch.randint(side * side, (count,), generator=draws)
        maps[torch.arange(count), :, places] += amplitude * true[number]
        sets[f"c{number}"] = maps.view(count, width, side, side)
    return true, sets


@pytest.mark.parametrize("mode", MODES)
def test_planted_axes_are_found(mode):
    true, sets = planted(5, 64, 2000)
    layer = ConceptWhitening(64, list(sets), reduction=mode).eval()
    for _ in range(2):
        layer.align(sets)
    assert float(cosine_similarity(layer.rotation[:5], true).abs().min()) >= 0.95


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_that_of_the_objective(mode):
    # Through the layer itself: rotation, whitening, reduction; in float64.
    _, sets = planted(3, 8, 20, side=5)
    sets = {name: maps.double() for name, maps in sets.items()}
    layer = ConceptWhitening(8, list(sets), reduction=mode).double()
    layer(torch.cat(list(sets.values())))
    layer.eval()
    rotation = orthonormalise(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).double())
    white = layer.affine()[0]
    rotation.requires_grad_()
    matrix = rotation @ white
    total = torch.zeros(()).double()
    for axis, maps in enumerate(sets.values()):
        outputs = torch.einsum("dc,nchw->ndhw", matrix, maps - layer.mean[:, None, None])
        total = total + layer.activations(outputs)[:, axis].mean()
    expected = torch.autograd.grad(total, rotation)[0][:3]
    found = layer._images(sets, {}).slope(rotation[:3])[1]
    assert float(cosine_similarity(found.flatten(), expected.flatten(), dim=0)) >= 0.999
    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_steps_never_lower_the_objective(mode):
    _, sets = planted(4, 16, 60, amplitude=2.0)
    layer = ConceptWhitening(16, list(sets), reduction=mode, memory=0.0, steps=1).eval()
    found = [layer.align(sets) for _ in range(8)]
    assert all(later >= earlier - 1e-4 for earlier, later in itertools.pairwise(found))


def test_the_mean_has_its_maximum_in_one_update():
    _, sets = planted(4, 16, 60)
    layer = ConceptWhitening(16, list(sets), reduction="mean").eval()
    found = layer.align(sets)
    means = torch.stack([maps.mean((0, 2, 3)) for maps in sets.values()]) / (1 + 1e-5) ** 0.5
    assert found == pytest.approx(float(torch.linalg.svdvals(means).sum()), rel=1e-5)


# Without what is taken from the rotation every 50 updates, 250 of them leave 1.5e-6.
@pytest.mark.parametrize(
    ("updates", "bound"), [(250, 5e-7), pytest.param(1000, 1e-5, marks=pytest.mark.whole)], ids=["250", "1000"]
)
def test_many_updates_leave_the_rotation_orthogonal(updates, bound):
    _, sets = planted(3, 12, 8, side=3)
    layer = ConceptWhitening(12, list(sets), steps=1).eval()
    for number in range(updates):
        layer.align({name: maps.roll(number, 2) for name, maps in sets.items()})
    rotation = layer.rotation.double()
    assert float((rotation @ rotation.T - torch.eye(12)).abs().max()) <= bound


def test_the_other_axes_turn_as_little_as_they_can():
    _, sets = planted(2, 16, 400)
    layer = ConceptWhitening(16, list(sets), reduction="mean").eval()
    layer.align(sets)
    before = layer.rotation.clone()
    layer.align({name: maps.flip(0) for name, maps in sets.items()})
    assert torch.allclose(layer.rotation, before, atol=1e-4)
    # At first: no more than a rotation within the span of old and new rows moves anything.
    moved = torch.linalg.matrix_rank(before - torch.eye(16), atol=1e-4)
    assert int(moved) <= 4


def test_frozen_axes_stay_and_new_concepts_take_free_ones():
    true, sets = planted(3, 16, 500)
    layer = ConceptWhitening(16, list(sets)).eval()
    layer.align({"c0": sets["c0"], "c1": sets["c1"]})
    layer.freeze_axes()
    before = layer.rotation[:2].clone()
    for _ in range(5):
        layer.align({"c2": sets["c2"], "c0": sets["c1"]})
    assert torch.allclose(layer.rotation[:2], before, atol=1e-5)
    assert float(cosine_similarity(layer.rotation[2], true[2], dim=0)) >= 0.95
    assert is_orthonormal(layer.rotation, 1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ["within what is held", "two alike", "channels without variance"])
def test_axes_that_are_held_never_turn(mode, case):
    draws = torch.Generator().manual_seed(0)
    width = 4 if case == "channels without variance" else 8
    maps = {name: torch.zeros(60, 8, 5, 5) for name in "abcdef"}
    for number, name in enumerate("abcd"):
        maps[name][:, :width] = torch.randn(60, width, 5, 5, generator=draws)
        maps[name][:, number] += 3
    maps["e"][:, :4] = torch.randn(60, 4, 5, 5, generator=draws) + torch.tensor([2.0, 2, -2, 0])[:, None, None]
    maps["f"] = maps["e"] if case == "two alike" else maps["a"] + 1e-6 * maps["b"]
    layer = ConceptWhitening(8, list(maps), reduction=mode, memory=0.5)
    layer(torch.cat([maps["a"], maps["b"], maps["c"], maps["d"]]))
    layer.eval()
    for _ in range(5):
        layer.align({name: maps[name] for name in "abcd"})
    layer.freeze_axes()
    held, outputs = layer.rotation[:4].clone(), layer(maps["c"])[:, :4]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lies within the axes that are held")
        for _ in range(5):
            layer.align(maps)
    # Bit by bit.
    assert torch.equal(layer.rotation[:4], held)
    assert torch.allclose(layer(maps["c"])[:, :4], outputs, atol=1e-5)
    assert is_orthonormal(layer.rotation, 1e-5)


def test_a_concept_within_held_axes_gives_one_warning_and_gets_no_axis():
    maps = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) + torch.tensor([3.0, 0, 0, 0])
    layer = ConceptWhitening(4, ["old", "new"], reduction="mean").eval()
    layer.align({"old": maps})
    layer.freeze_axes()
    before = layer.rotation.clone()
    with pytest.warns(UserWarning, match="the concept 'new' lies within the axes that are held, so it gets none"):
        layer.align({"new": maps})
    # Warnings are errors.
    layer.align({"new": maps})
    assert torch.equal(layer.rotation, before)
    layer.freeze_axes()
    assert layer.held.tolist() == [True, False]


def test_a_subspace_by_the_mean_is_no_procrustes_problem():
    """Three concepts on three axes, of which one holds all: the best of many starts, whatever the order of images."""
    draws = torch.Generator().manual_seed(1)
    kinds = [0.3 * torch.randn(50, 8, generator=draws) + 3 * torch.eye(8)[kind] for kind in range(3)]
    animal = torch.cat(kinds)[torch.randperm(150, generator=draws)]
    sets = {"animal": animal, "animal/dog": kinds[0], "animal/cat": kinds[1]}
    layer = ConceptWhitening(8, list(sets), {"animal": 3}, reduction="mean", memory=0, steps=200)
    layer(torch.randn(4000, 8, generator=draws))
    layer.eval()
    found = layer.align(sets)
    white = {name: ((of - layer.mean) @ layer._running_root()[0]).double() for name, of in sets.items()}
    best = 0.0
    for _ in range(10):
        rows = orthonormalise(torch.randn(3, 8, generator=draws).double())
        for _ in range(200):
            rows.requires_grad_()
            total = (white["animal"] @ rows.T).amax(1).mean() + (white["animal/dog"] @ rows[0]).mean()
            total = total + (white["animal/cat"] @ rows[1]).mean()
            u, _, v = torch.linalg.svd(torch.autograd.grad(total, rows)[0], full_matrices=False)
            rows = u @ v
        best = max(best, float(total.detach()))
    assert found == pytest.approx(best, rel=1e-4)


# Seed 21 is that of an axis which no image chooses, and which counted as the others do.
@pytest.mark.parametrize("seeds", [range(18, 26), pytest.param(range(40), marks=pytest.mark.whole)], ids=["few", "all"])
@pytest.mark.parametrize("mode", MODES)
def test_no_update_without_memory_lowers_the_objective(mode, seeds):
    """Of subspaces too, some of whose axes no image chooses in some step."""
    worst = 0.0
    for seed in seeds:
        draws = torch.Generator().manual_seed(seed)
        layer = ConceptWhitening(6, ["a", "b"], {"a": 2}, reduction=mode, memory=0.0).double()
        layer(torch.randn(500, 6, generator=draws).double())
        layer.eval()
        sets = {
            "a": torch.randn(20, 6, generator=draws).double() + torch.randn(6, generator=draws).double(),
            "b": torch.randn(20, 6, generator=draws).double() + 2 * torch.randn(6, generator=draws).double(),
        }
        found = [layer.align(sets) for _ in range(8)]
        worst = max(worst, *(first - second for first, second in itertools.pairwise(found)))
    assert worst < 1e-9


def test_an_axis_that_no_image_chose_yet_knows_nothing():
    draws = torch.Generator().manual_seed(0)
    white = torch.randn(5000, 6, generator=draws)
    kinds = [4 * torch.eye(6)[kind] + 0.1 * torch.randn(60, 6, generator=draws) for kind in range(3)]
    layer = ConceptWhitening(6, ["a", "b"], {"a": 2}, reduction="pos_mean")
    layer(white)
    layer.eval()
    # Of a single image the second axis gets none.
    layer.align({"a": kinds[0][:1], "b": kinds[2]})
    assert layer.weight_seen.tolist() == [1, 0, 1]
    layer.freeze_axes()
    assert layer.held.tolist() == [True, False, True]
    layer.align({"a": torch.cat(kinds[:2])})
    # What it then sees counts whole.
    assert float(layer.directions[1].norm()) > 1.5 and float(layer.rotation[1, 1]) > 0.95


def test_in_float64():
    maps = torch.randn(30, 4, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    layer = ConceptWhitening(4, ["a", "b"]).double()
    layer(maps)
    layer.align({"a": maps[:10], "b": maps[10:]})
    assert layer.rotation.dtype == torch.float64 and is_orthonormal(layer.rotation, 1e-12)


def test_a_concept_with_two_axes_has_one_for_each_kind_of_image():
    true, kinds = planted(3, 16, 300)
    sets = {"animal": torch.cat([kinds["c0"], kinds["c1"]]), "car": kinds["c2"]}
    layer = ConceptWhitening(16, list(sets), {"animal": 2}, steps=8).eval()
    for _ in range(6):
        layer.align(sets)
    assert layer.axes.labels == ("animal 1", "animal 2", "car")
    cosines = (layer.rotation[:2] @ true[:2].T).abs()
    assert float(cosines.amax(1).min()) >= 0.9 and sorted(cosines.argmax(1).tolist()) == [0, 1]


def test_concepts_inside_another_share_its_subspace():
    true, kinds = planted(3, 16, 300)
    sets = {"animal": torch.cat([kinds["c0"], kinds["c1"]]), "animal/dog": kinds["c0"], "car": kinds["c2"]}
    layer = ConceptWhitening(16, ["animal", "animal/dog", "car"], {"animal": 2}).eval()
    for _ in range(6):
        layer.align(sets)
    assert float(cosine_similarity(layer.rotation[0], true[0], dim=0)) >= 0.9
    assert float(cosine_similarity(layer.rotation[1], true[1], dim=0)) >= 0.8
    outputs = layer(kinds["c1"])
    # The maximum of 9 white values alone is 1.5 in the mean.
    assert (
        float(layer.concept_activations(outputs)[:, 0].mean())
        > 2
        > 1.6
        > float(layer.activations(outputs)[:, 0].mean())
    )


def test_masks_say_where_to_look():
    true, sets = planted(2, 16, 200)
    # The second direction, stronger, in the other half of all images.
    maps = sets["c0"].clone()
    maps[:, :, 3:] += 2 * true[1][:, None, None]
    maps[:, :, :3] += true[0][:, None, None]
    mask = torch.zeros(200, 6, 6)
    mask[:, :3] = 1.0
    layer = ConceptWhitening(16, ["c0"], reduction="mean").eval()
    layer.align({"c0": maps}, {"c0": mask})
    assert float(cosine_similarity(layer.rotation[0], true[0], dim=0)) >= 0.95
    layer = ConceptWhitening(16, ["c0"], reduction="mean").eval()
    layer.align({"c0": maps})
    assert float(cosine_similarity(layer.rotation[0], true[0], dim=0)) < 0.6


def test_a_rotation_may_be_trained_with_a_loss():
    true, sets = planted(2, 8, 300)
    layer = ConceptWhitening(8, list(sets), rotation="trained").eval()
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        layer.concept_loss(sets).backward()
        optimizer.step()
    assert float(cosine_similarity(layer.rotation.detach()[:2], true).min()) >= 0.95
    assert is_orthonormal(layer.rotation.detach(), 1e-5)
    with torch.no_grad():
        white = sets["c0"] / (1 + 1e-5) ** 0.5
        assert torch.allclose(layer(sets["c0"]), torch.einsum("dc,nchw->ndhw", layer.rotation, white), atol=1e-4)
    copied = copy.deepcopy(layer)
    copied.load_state_dict(layer.state_dict())
    assert torch.equal(copied(sets["c0"]), layer(sets["c0"]))
    with pytest.raises(UserError, match="take concept_loss instead of align"):
        layer.align(sets)


def test_tokens_and_plain_features():
    true, sets = planted(2, 8, 400, side=3, amplitude=6.0)
    tokens = {name: maps.flatten(2).transpose(1, 2) for name, maps in sets.items()}
    layer = ConceptWhitening(8, list(sets), channel_dim=-1).eval()
    layer.align(tokens)
    assert float(cosine_similarity(layer.rotation[:2], true).min()) >= 0.95
    assert layer.activations(layer(tokens["c0"])).shape == (400, 2)
    plain = ConceptWhitening(8, list(sets)).eval()
    plain.align({name: maps.sum((2, 3)) for name, maps in sets.items()})
    assert float(cosine_similarity(plain.rotation[:2], true).min()) >= 0.9


@pytest.mark.parametrize("steps", [400, pytest.param(2000, marks=pytest.mark.whole)])
def test_two_layers_train_for_thousands_of_steps(steps):
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), ConceptWhitening(8, ["light", "dark"]), nn.ReLU(),
        nn.Conv2d(8, 8, 3), ConceptWhitening(8, ["light", "dark"]), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2),
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        images = torch.randn(16, 1, 6, 6, generator=draws)
        labels = (images.mean((1, 2, 3)) > 0).long()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 0:
            net.eval()
            for place in (1, 4):
                with torch.no_grad():
                    seen = net[:place](images)
                net[place].align({"light": seen[labels == 1], "dark": seen[labels == 0]})
            net.train()
    assert all(bool(value.isfinite().all()) for value in net.state_dict().values())
    assert sum(losses[-100:]) / 100 < 0.5


def test_concepts_that_no_axes_can_tell_apart_give_a_warning():
    _, sets = planted(1, 8, 300, amplitude=20.0)
    maps = sets["c0"]
    layer = ConceptWhitening(8, ["thick", "thin", "other"]).eval()
    layer.label = "layer 'bn2': "
    with pytest.warns(
        UserWarning, match=r"layer 'bn2': the mean features of 'thick' and 'thin' are nearly opposite \(180 degrees"
    ):
        layer.warn_of_neighbours({"thick": maps, "thin": -maps})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.warn_of_neighbours({"thick": maps, "thin": -maps})
        layer.warn_of_neighbours({"thick": maps, "other": maps.roll(1, 1)})
    with pytest.warns(UserWarning, match="'thick' and 'other' are nearly the same"):
        layer.warn_of_neighbours({"thick": maps, "other": maps})


def test_concepts_whose_axes_are_held_are_no_longer_compared():
    layer = ConceptWhitening(6, ["thick", "thin", "new"])
    maps = torch.randn(50, 6, 4, 4, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(6)[0, :, None, None]
    layer.align({"thick": maps, "thin": -maps})
    layer.freeze_axes()
    # Warnings are errors.
    layer.warn_of_neighbours({"thick": maps, "thin": -maps})
    with pytest.warns(UserWarning, match="'thick' and 'new' are nearly the same.*of 1 other pairs"):
        layer.warn_of_neighbours({"thick": maps, "thin": -maps, "new": maps})


def _layer(**options) -> ConceptWhitening:
    return ConceptWhitening(4, ["red", "green"], **options)


REFUSED = {
    "more concepts than channels": (lambda: ConceptWhitening(2, ["a", "b", "c"]), "concepts: 3 axes for concepts, but only 2 channels"),
    "groups": (lambda: _layer(groups=2), "groups: an axis goes over all channels"),
    "unknown reduction": (lambda: _layer(reduction="median"), "reduction: input should be 'mean'"),
    "unknown concept": (lambda: _layer().align({"rad": torch.ones(2, 4)}), "no concept 'rad'; did you mean 'red'"),
    "outputs of another width": (lambda: _layer().activations(torch.ones(2, 3)), r"outputs of its 4 channels are needed \(got the shape \(2, 3\)\)"),
    "masks alone": (lambda: _layer().align({"red": torch.ones(2, 4, 2, 2)}, {"rde": torch.ones(2, 2, 2)}), "masks of 'rde', but no images; did you mean 'red'"),
    "no images": (lambda: _layer().align({"red": torch.ones(0, 4)}), "no images of the concept 'red'"),
    "nan": (lambda: _layer().align({"red": torch.full((2, 4), torch.nan)}), "activations of the concept 'red' are not finite"),
    "another width": (lambda: _layer().align({"red": torch.ones(2, 5)}), r"inputs of 4 channels are needed in dimension 1 \(got the shape \(2, 5\)\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        call()
