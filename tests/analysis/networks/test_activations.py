import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from own_networks import Functional, Residual, Transformer
from torch import nn
from torch.nn import functional as F  # noqa: N812

from orthotrace.analysis.networks.activations import activations, readable_layers
from orthotrace.analysis.rdm import RDMs
from orthotrace.core.errors import UserError
from orthotrace.models.mlp import MLP


def test_layers_that_are_read():
    assert readable_layers(MLP([4], 2, hidden=[3, 3])) == ["relu1", "relu2", "head"]
    assert readable_layers(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == ["0", "1"]


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_activations_are_those_of_the_layer(batch_size):
    torch.manual_seed(0)
    model = MLP([4], 2, hidden=[3]).double().eval()
    images = torch.rand(10, 4, dtype=torch.float64)
    found = dict(activations(model, images, ["relu1", "head"], batch_size))
    with torch.no_grad():
        assert torch.allclose(found["relu1"], model.relu1(model.fc1(images)))
        assert torch.allclose(found["head"], model(images))


def test_an_in_place_operation_does_not_reach_them():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)).eval()
    images = torch.randn(20, 4)
    for read in ("module", "pre"):
        (before,) = (values for _, values in activations(model, images, ["0"], read=read))
        with torch.no_grad():
            assert torch.equal(before, model[0](images)) and bool((before < 0).any())
    ((_, after),) = activations(model, images, ["0"])
    assert torch.equal(after, before.clamp(min=0))


def test_images_of_another_type_are_taken_in_that_of_the_network():
    ((_, values),) = activations(MLP([4], 2, hidden=[3]).double().eval(), torch.rand(5, 4), ["head"])
    assert values.dtype == torch.float64


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
@pytest.mark.parametrize("embedding", [nn.Embedding(9, 4), nn.EmbeddingBag(9, 4)], ids=lambda one: type(one).__name__)
def test_tokens_stay_whole(embedding, kind):
    tokens = torch.arange(15, dtype=kind).view(5, 3) % 9
    ((_, values),) = activations(nn.Sequential(embedding, nn.Flatten()).eval(), tokens, ["0"])
    assert torch.equal(values.flatten(1), embedding(tokens).detach().flatten(1))


def test_whole_numbers_are_taken_by_a_network_without_tokens():
    ((_, values),) = activations(nn.Sequential(nn.Linear(2, 3)).eval(), torch.arange(8).view(4, 2), ["0"])
    assert values.shape == (4, 3)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(self.layer(x))


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("none", "there is no layer 'none'; there are: layer, unused"),
        ("unused", "layer 'unused': it is called 0 times in a forward pass"),
        ("layer:3", "layer 'layer' is called 2 times in a forward pass \\(got layer:3\\)"),
        ("layer[0]", "there is no layer 'layer\\[0\\]'"),
    ],
)
def test_layers_that_cannot_be_read(layer, line):
    with pytest.raises(UserError, match=line):
        list(activations(Twice().eval(), torch.rand(5, 2), [layer]))


def test_calls_are_apart_and_what_is_not_called_is_left_out():
    model, images = Twice().eval(), torch.rand(5, 2)
    found = activations(model, images, ["unused", "layer"])
    assert [(one.name, one.why) for one in found.left_out] == [("unused", "it is called 0 times in a forward pass")]
    values = dict(found)
    with torch.no_grad():
        assert torch.equal(values["layer:1"], model.layer(images)) and torch.equal(values["layer:2"], model(images))
    assert [name for name, _ in activations(model, images, ["layer:2"])] == ["layer:2"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_are_read_after_their_blocks(name):
    one = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = one.make().double().eval()
    images = torch.randn(10, *one.shape, dtype=torch.float64)
    found = activations(model, images, one.layers, batch_size=4)
    assert tuple(each.name for each in found.left_out) == one.unread
    assert {layer: found.places[layer].after for layer in one.after} == one.after
    # The weights of attention are no layer: they have no block.
    assert all(place.read == ("module" if name == "attn[1]" else "post") for name, place in found.places.items())
    values = dict(found)
    with torch.no_grad():
        expected = one.expected(model, images)
    assert list(values) == list(expected)
    for layer, value in expected.items():
        assert values[layer].shape == value.flatten(1).shape, layer
        assert torch.allclose(values[layer], value.flatten(1), rtol=1e-10, atol=1e-12), layer
    # Nothing stays at the network.
    own = one.make().modules()
    for module, as_made in zip(model.modules(), own, strict=True):
        assert len(module._forward_hooks) == len(as_made._forward_hooks) and not module._forward_pre_hooks


OURS = [name for name, one in ARCHITECTURES.items() if type(one.make()).__module__.startswith("orthotrace.")]


@pytest.mark.parametrize("name", OURS)
def test_our_networks_have_the_layers_that_their_modules_name(name):
    model, images = ARCHITECTURES[name].make().eval(), torch.randn(8, *ARCHITECTURES[name].shape)
    after, modules = (dict(activations(model, images, read=read)) for read in ("post", "module"))
    assert list(modules) == readable_layers(model) and all(torch.equal(after[key], modules[key]) for key in modules)
    # Of residual networks with pre-activation, of inverted ones and of transformers, there are sums that no nonlinearity
    # follows; columns of a fractal are read in the order in which they are called.
    assert (list(after) != list(modules)) == (name in ("resnet, preactivation", "vit", "depthwise", "fractal"))


@pytest.mark.parametrize("name", ["F.relu", "by hand", "control flow", "transformer", "functions with weights"])
def test_layers_are_read_before_their_blocks(name):
    one = ARCHITECTURES[name]
    model, images = one.make().double().eval(), torch.randn(6, *one.shape, dtype=torch.float64)
    seen = {}
    for module_name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.register_forward_hook(
                lambda _, args, out, key=module_name: seen.setdefault(key, []).append(out.clone())
            )
    found = dict(activations(model, images, read="pre"))
    seen.clear()
    with torch.no_grad(), torch.overrides.BaseTorchFunctionMode():
        model(images)
    calls = {
        f"{key}:{n}" if len(all_) > 1 else key: value for key, all_ in seen.items() for n, value in enumerate(all_, 1)
    }
    assert set(calls) <= set(found)
    assert all(torch.equal(found[key], value.flatten(1)) for key, value in calls.items())


def test_before_a_nonlinearity_is_what_enters_it():
    model = Residual(inplace=True).double().eval()
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    found = dict(activations(model, images, ["relu", "bn1"], read="pre"))
    after = dict(activations(model, images))
    assert list(found) == ["relu:1", "relu:2", "bn1"] and torch.equal(found["relu:1"], found["bn1"])
    assert bool((found["relu:2"] < 0).any()) and torch.equal(found["relu:2"].clamp(min=0), after["relu:2"])


def test_functions_and_modules_are_read_alike():
    """The same network with nn.ReLU in the place of F.relu, and named by it."""
    torch.manual_seed(0)
    weights = [nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)]

    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.bn, self.head = weights

        def forward(self, x):
            return self.head(F.relu(self.bn(self.fc(x)), inplace=True))

    images = torch.randn(6, 4)
    by_modules = activations(nn.Sequential(*weights[:2], nn.ReLU(), weights[2]).eval(), images)
    by_functions = activations(Functions().eval(), images)
    assert by_functions.places["fc"].after == ("bn", "relu") and by_modules.places["2"].after == ()
    for (_, one), (_, other) in zip(by_modules, by_functions, strict=True):
        assert torch.equal(one, other)


class OtherPaths(nn.Module):
    """Does something else for other batches, or every time."""

    def __init__(self, by):
        super().__init__()
        self.by, self.times = by, 0
        self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        self.times += 1
        many = {"stimuli": 1 + (len(x) < 3), "values": 1 + bool(x.max() > 100), "time": self.times}[self.by]
        for _ in range(many):
            x = F.relu(self.fc(x))
        return self.head(x)


def test_a_network_that_does_something_else_for_some_stimuli():
    # By the number of stimuli alone: the last batch has two, and runs the layer twice.
    images = torch.rand(10, 4)
    found = activations(OtherPaths("stimuli").eval(), images, batch_size=4)
    assert list(found.places) == ["head"] and {one.name for one in found.left_out} == {"fc", "fc:1", "fc:2"}
    # The first seven are like all others: the network is followed again for the first batch.
    images[8] = 200
    model = OtherPaths("values").eval()
    values = dict(activations(model, images))
    with torch.no_grad():
        assert torch.equal(values["fc:2"], F.relu(model.fc(F.relu(model.fc(images)))))
    with pytest.raises(UserError, match="something else each time"):
        activations(OtherPaths("time").eval(), images)


def test_a_network_that_is_not_to_be_watched_is_read_at_its_modules():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            if torch.overrides._is_torch_function_mode_enabled():
                raise RuntimeError("not under a mode")
            return self.head(F.relu(self.fc(x)))

    model, images = Strict().eval(), torch.randn(5, 4)
    with pytest.warns(UserWarning, match="modules alone are"):
        found = activations(model, images)
    assert [(one.name, one.read) for one in found.places.values()] == [("fc", "module"), ("head", "module")]
    assert torch.equal(dict(found)["fc"], model.fc(images).detach())


def test_a_compiled_network_is_read_as_it_was_written():
    model = Functional().eval()
    images = torch.randn(4, 2, 8, 8)
    found, expected = dict(activations(torch.compile(model), images)), dict(activations(model, images))
    assert [name.removeprefix("_orig_mod.") for name in found] == list(expected)
    assert all(torch.equal(found[f"_orig_mod.{name}"], value) for name, value in expected.items())


def test_watching_changes_no_output():
    model, images = Transformer(False).double().eval(), torch.randn(4, 3, 8, dtype=torch.float64)
    with torch.no_grad():
        before = model(images)
        assert torch.allclose(dict(activations(model, images, ["head"]))["head"], before, atol=1e-12)
        assert torch.equal(before, model(images))


def test_numpy_images_and_a_way_of_reading_that_there_is_not():
    with pytest.raises(UserError, match="read: post, pre or module"):
        activations(MLP([4], 2).eval(), np.ones((3, 4)), read="after")
    with pytest.raises(UserError, match="layers: the network has no layer"):
        activations(nn.Flatten().eval(), np.ones((3, 4)))


class Noisy(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout())


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (Noisy(), r"model: is in training mode, .*; call model.eval\(\) first"),
        (Noisy().state_dict(), "model: a torch module is needed, got OrderedDict; load weights into one first"),
    ],
    ids=["in training mode", "weights alone"],
)
def test_models_that_cannot_be_read(model, line):
    with pytest.raises(UserError, match=line):
        activations(model, torch.rand(9, 4))
    if isinstance(model, nn.Module):
        assert not model[1].running_mean.any()


def test_the_error_of_a_wrong_size_names_the_shape_that_was_given():
    with pytest.raises(UserError, match=r"does not take stimuli of shape \(n, 5\): "):
        activations(Noisy().eval(), torch.rand(20, 5))


def test_what_is_found_makes_rdms_as_it_is_and_once():
    model, images = Noisy().eval(), torch.rand(9, 4)
    found = activations(model, images, ["0", "2"], read="module")
    rdms = RDMs.of(found, "euclidean")
    kept = dict(activations(model, images, ["0", "2"], read="module"))
    assert list(rdms.rdm_descriptors["name"]) == ["0", "2"]
    np.testing.assert_array_equal(rdms.dissimilarities, RDMs.of(kept, "euclidean").dissimilarities)
    np.testing.assert_array_equal(RDMs.of(iter(kept.values()), "euclidean").dissimilarities, rdms.dissimilarities)
    with pytest.raises(UserError, match="is read once: keep"):
        RDMs.of(found, "euclidean")
