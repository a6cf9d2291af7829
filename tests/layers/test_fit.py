from __future__ import annotations

import copy
import sys
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from orthotrace.core.errors import UserError
from orthotrace.layers import ConceptWhitening, fit
from orthotrace.linalg import orthonormalise


class Tokens(nn.Module):
    """Tokens of two mixed layers, read by place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 6)
        self.norm = nn.LayerNorm(6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(4 * 6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.mix(self.norm(self.embed(inputs)).relu()).flatten(1))


def net(*layers: nn.Module, head: nn.Module) -> nn.Sequential:
    model = nn.Sequential(*layers)
    model.add_module("head", head)
    return model


# Model, shape of an input, layer, and whether the head reads it linearly.
CASES = {
    "convolution, flattened": (lambda: net(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 6, 2), nn.Flatten(), head=nn.Linear(6 * 9, 4)), (3, 6, 6), "3", True),
    "rectified in place, flattened": (lambda: net(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), head=nn.Linear(8 * 16, 4, bias=False)), (3, 6, 6), "1", True),
    "before a rectifier in place": (lambda: net(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), head=nn.Linear(8 * 16, 4)), (3, 6, 6), "0", False),
    "pooled": (lambda: net(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head=nn.Linear(8, 4)), (3, 6, 6), "1", True),
    "batch norm below a rectifier": (lambda: net(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), head=nn.Linear(8 * 16, 4)), (3, 6, 6), "1", False),
    "features": (lambda: net(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 6), nn.Dropout(), head=nn.Linear(6, 4)), (7,), "2", True),
    "tokens": (Tokens, (4, 5), "mix", True),
    "tokens, normalised": (Tokens, (4, 5), "norm", False),
}  # fmt: skip
WAYS = [(case, head) for case, (_, _, _, linear) in CASES.items() for head in (None, "head") if linear or head is None]


def given(case: str) -> tuple[nn.Module, Tensor, str]:
    make, shape, layer, _ = CASES[case]
    torch.manual_seed(0)
    model = make()
    images = torch.randn(150, *shape) + 0.5
    model(images)
    return model, images, layer


@pytest.mark.parametrize(("case", "head"), WAYS)
def test_the_network_answers_as_before(case, head):
    model, images, layer = given(case)
    before = copy.deepcopy(model).eval()(images)
    modes = {name: module.training for name, module in model.named_modules()}
    bright = images[images.flatten(1).mean(1) > 0.5]
    found = fit(model, layer, {"bright": bright}, images.split(40), head)
    assert {name: model.get_submodule(name).training for name in modes} == modes
    assert isinstance(found, ConceptWhitening) and model.get_submodule(f"{layer}.1") is found
    for again in (model, copy.deepcopy(model)):
        assert torch.allclose(again.eval()(images), before, atol=1e-4)
    # Statistics do not move in training, and are saved once.
    state = copy.deepcopy(model.state_dict())
    found.train()(torch.randn(20, found.channels))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [name for name in state if name.endswith("covariance")] == [f"{layer}.1.covariance"]


@pytest.mark.parametrize("case", CASES)
def test_statistics_are_those_of_all_images(case):
    model, images, layer = given(case)
    seen: list[np.ndarray] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *of: seen.append(of[2].double().numpy().copy()))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    last = isinstance(model.get_submodule(layer), (nn.Linear, nn.LayerNorm))
    rows = np.moveaxis(seen[0], -1 if last else 1, -1).reshape(-1, seen[0].shape[-1 if last else 1])
    found = fit(model, layer, {"any": images[:9]}, iter(images.split(37)))
    assert np.allclose(found.mean.numpy(), rows.mean(0), atol=1e-6)
    assert np.allclose(found.covariance[0].numpy(), np.cov(rows.T), atol=1e-6)
    assert float(found.samples) == len(rows)


def test_statistics_far_from_zero_keep_their_digits():
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(300, 4, generator=draws, dtype=torch.float64) + 1e6
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 2)).double()
    found = fit(model, "0", {"any": images[:5]}, images)
    found.double()
    assert np.allclose(found.covariance[0].numpy(), np.cov(images.T.numpy()), atol=1e-5)


def test_planted_concepts_are_found():
    draws = torch.Generator().manual_seed(0)
    true = orthonormalise(torch.randn(3, 12, generator=draws))
    mixing = torch.randn(12, 12, generator=draws)
    images = torch.randn(2000, 12, 4, 4, generator=draws)
    sets = {}
    for number, direction in enumerate(true):
        shown = torch.randn(400, 12, 4, 4, generator=draws)
        shown[:, :, 1, 2] += 6 * direction[:, None].T
        sets[f"c{number}"] = shown
    model = nn.Sequential(nn.Conv2d(12, 12, 1, bias=False), nn.Flatten(), nn.Linear(12 * 16, 2))
    with torch.no_grad():
        model[0].weight.copy_(mixing[:, :, None, None])
    found = fit(model, "0", sets, images)
    # Whitened coordinates are W M x: directions in x, of unit covariance, are turned by W M.
    white = torch.linalg.inv(found.rotation) @ found.affine()[0] @ mixing
    assert float(cosine_similarity(found.rotation[:3], true @ white.T).abs().min()) >= 0.95
    answers = found.activations(model[0][1](model[0][0](sets["c1"])))
    assert answers.mean(0).argmax() == 1


def test_masks_and_options_reach_the_alignment():
    model, images, layer = given("convolution, flattened")
    masks = torch.zeros(150, 3, 3)
    masks[:, 0] = 1.0
    left = fit(copy.deepcopy(model), layer, {"any": images}, images, masks={"any": masks}, reduction="mean")
    right = fit(model, layer, {"any": images}, images, masks={"any": masks.flip(1)}, reduction="mean")
    assert left.reduction == "mean" and left.memory == 0
    assert float((left.rotation[0] - right.rotation[0]).abs().max()) > 0.1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.idle = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.one(self.one(inputs)))


X = torch.randn(60, 3, 6, 6, generator=torch.Generator().manual_seed(3))
CONV = "before a rectifier in place"
REFUSED = {
    "no such layer": (CONV, {"layer": "heda"}, "layer: there is no layer 'heda'; did you mean 'head'"),
    "the model itself": (CONV, {"layer": ""}, "layer: there is no layer ''"),
    "no such head": (CONV, {"head": "hade"}, "head: there is no layer 'hade'; did you mean 'head'"),
    "a head that is not linear": (CONV, {"head": "1"}, r"head: '1' \(ReLU\) is not a linear layer"),
    "a head that is not reached linearly": (CONV, {"head": "head"}, "layer '0': the network's answers would change by .*does not reach 'head' linearly; take head=None"),
    "a layer that is the head": ("pooled", {"layer": "head", "head": "head"}, "8 inputs, which are no multiple of 4|does not reach 'head' linearly"),
    "a head of another size": (CONV, {"layer": "1", "head": "other"}, "no multiple of 8 channels"),
    "no images": (CONV, {"images": []}, "images: layer '0': no images to whiten"),
    "no images in a tensor": (CONV, {"images": X[:0]}, "images: layer '0': no images to whiten"),
    "a concept without images": (CONV, {"concepts": {"a": X, "b": X[:0]}}, "concepts: no images of the concept 'b'"),
    "no concepts": (CONV, {"concepts": {}}, "concepts: layer '0': name one concept"),
    "images that are not finite": (CONV, {"images": X / 0}, "images: layer '0': its output is not finite"),
    "a concept that is not finite": (CONV, {"concepts": {"a": X / 0}}, "layer '0': activations of the concept 'a' are not finite"),
    "more concepts than channels": (CONV, {"concepts": {str(n): X for n in range(9)}}, "concepts: layer '0': 9 axes for concepts, but only 8 channels"),
    "unknown option": (CONV, {"reduction": "median"}, "reduction: layer '0': input should be 'mean'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_and_nothing_changed(case):
    which, changes, message = REFUSED[case]
    model, _, layer = given(which)
    model.add_module("other", nn.Sequential(nn.Flatten(0), nn.Linear(3, 3))[1])
    model.other.forward = lambda inputs: inputs
    names, state = [name for name, _ in model.named_modules()], copy.deepcopy(model.state_dict())
    arguments = {"layer": layer, "concepts": {"a": X}, "images": X, **changes}
    with pytest.raises(UserError, match=message):
        fit(model, **arguments)
    assert [name for name, _ in model.named_modules()] == names and model.training
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("layer", "calls"), [("one", 2), ("idle", 0)])
def test_a_layer_must_be_called_once(layer, calls):
    with pytest.raises(UserError, match=f"layer '{layer}' is called {calls} times in a forward pass"):
        fit(Twice(), layer, {"a": torch.randn(5, 4)}, torch.randn(20, 4))


class Late(nn.Module):
    """Not linear for the images that come last."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, inputs):
        return self.head(self.layer(inputs).clamp(-30, 30))


@pytest.mark.parametrize("form", [lambda images: images, lambda images: list(images.split(512))])
def test_the_answers_to_all_images_are_checked(form):
    torch.manual_seed(0)
    model = Late()
    images = torch.cat([torch.randn(512, 4), 100 * torch.randn(512, 4)])
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match="take head=None"):
        fit(model, "layer", {"a": images[:50]}, form(images), "head")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    # Those of an iterator are gone.
    fit(model, "layer", {"a": images[:50]}, iter(images[:512].split(256)), "head")


def test_concepts_that_are_alike_give_a_warning():
    model, images = nn.Sequential(nn.Linear(4, 6)), torch.randn(50, 4)
    with pytest.warns(UserWarning, match="layer '0': the mean features of 'a' and 'b' are nearly the same"):
        fit(model, "0", {"a": images[:10], "b": images[:10]}, images)


class Locked(nn.Linear):
    """What cannot be copied."""

    def __init__(self):
        super().__init__(4, 6)
        self.lock = threading.Lock()


def test_a_model_that_cannot_be_copied():
    model = nn.Sequential(Locked(), nn.ReLU(), nn.Linear(6, 2)).eval()
    images = torch.randn(50, 4)
    before = model(images)
    fit(model, "0", {"a": images[:10]}, images)
    assert torch.allclose(model(images), before, atol=1e-4)


@pytest.mark.parametrize("layer", ["layers.0.norm1", "layers.1.linear2"])
def test_in_a_transformer_past_its_fast_path(layer):
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0), 2).eval()
    tokens = torch.randn(40, 5, 8)
    with torch.no_grad():
        before = model(tokens)
        fit(model, layer, {"a": tokens[:10]}, tokens)
        assert torch.allclose(model(tokens), before, atol=1e-4)


def test_a_transformer_keeps_its_fast_path_where_nothing_was_put(monkeypatch):
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    tokens = torch.randn(40, 5, 8)
    before = [(layer.activation_relu_or_gelu, model.use_nested_tensor) for layer in model.layers]
    # No answer is near enough.
    monkeypatch.setattr(sys.modules[fit.__module__], "TOLERANCE", -1)
    with pytest.raises(UserError, match="too ill-conditioned"):
        fit(model, "layers.0.norm1", {"a": tokens[:10]}, tokens)
    assert [(layer.activation_relu_or_gelu, model.use_nested_tensor) for layer in model.layers] == before
    assert all(kind for kind, _ in before)


def test_names_that_lead_through_one_parent_are_no_others():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 2))
    model.register_module("alias", model[0])
    model.forward = lambda inputs: model[1](model.alias(inputs))
    images = torch.randn(50, 4)
    before = model(images)
    fit(model, "0.0", {"a": images[:10]}, images)
    assert torch.allclose(model(images), before, atol=1e-4)


def test_a_module_of_two_names_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model.register_module("again", model[0])
    with pytest.raises(UserError, match="layer '0' is also 'again', which would stay as it is"):
        fit(model, "0", {"a": torch.randn(5, 4)}, torch.randn(20, 4))


def test_in_float64():
    model, images, _ = given("rectified in place, flattened")
    model, images = model.double(), images.double()
    before = model(images)
    fit(model, "1", {"a": images[:10]}, images, "head")
    assert torch.allclose(model(images), before, atol=1e-9)


def test_a_head_without_bias_has_none_after_an_error():
    model, images, _ = given("rectified in place, flattened")
    with pytest.raises(UserError, match="take head=None"):
        fit(model, "0", {"a": images}, images, "head")
    assert model.head.bias is None
