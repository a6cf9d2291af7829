import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.layers import ConceptWhitening, Whitening, replace_norm


class Tower(nn.Module):
    """Normalisation layers of several kinds, one below another."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.group = nn.GroupNorm(2, 8)
        self.layer = nn.LayerNorm(6)
        self.wide = nn.LayerNorm([8, 6])
        self.white = Whitening(8, groups=2)
        self.lazy = nn.LazyBatchNorm2d()


KINDS = {"block.1": (8, 1), "group": (8, 1), "layer": (6, -1), "white": (8, 1)}


@pytest.mark.parametrize("name", KINDS)
def test_norms_of_all_kinds(name):
    model = Tower()
    layer = replace_norm(model, name, ["a", "b"], reduction="max")
    assert model.get_submodule(name) is layer and isinstance(layer, ConceptWhitening)
    assert (layer.channels, layer.channel_dim) == KINDS[name]
    assert layer.reduction == "max" and layer.label == f"layer '{name}': "


def test_a_trained_batch_norm_gives_its_statistics():
    model = Tower()
    inputs = torch.randn(64, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    for _ in range(60):
        model.block(inputs)
    model.eval()
    expected = model.block(inputs)
    replace_norm(model, "block.1", ["a"])
    assert torch.allclose(model.block(inputs), expected, atol=1e-3)
    assert not model.block[1].training


def test_whitening_gives_its_statistics_and_how_many_batches_it_saw():
    model = Tower()
    model.white(torch.randn(64, 8, 3, 3))
    old = model.white
    new = replace_norm(model, "white", ["a"])
    assert torch.equal(new.mean, old.mean) and torch.equal(new.samples, old.samples) and int(new.batches) == 1
    assert torch.equal(new.covariance[0, :4, :4], old.covariance[0]) and not new.covariance[0, :4, 4:].any()


def test_a_layer_of_two_names_is_refused():
    model = Tower()
    model.register_module("again", model.group)
    with pytest.raises(UserError, match="layer 'group' is also 'again'"):
        replace_norm(model, "group", ["a"])


REFUSED = {
    "a name": ("block.1", "concepts: a list of names is needed", "ab"),
    "no shape": ("lazy", r"layer 'lazy' \(LazyBatchNorm2d\) has no shape yet: run a batch first"),
    "missing": ("block.7", r"layer: there is no layer 'block.7'"),
    "misspelt": ("gruop", "did you mean 'group'"),
    "the model itself": ("", "there is no layer ''"),
    "no norm": ("block.0", r"layer 'block.0' \(Conv2d\) is no normalisation layer; .*there are: block.1, group, layer, white, wide|did you mean"),
    "two dimensions": ("wide", r"normalises \(8, 6\) together"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    name, message, *concepts = REFUSED[case]
    with pytest.raises(UserError, match=message):
        replace_norm(Tower(), name, *(concepts or [["a"]]))


@pytest.mark.parametrize("name", ["layers.0.norm1", "layers.1.norm2"])
def test_in_a_transformer_past_its_fast_path(name):
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0), 2)
    replace_norm(model, name, ["a"])
    tokens, padding = torch.randn(8, 5, 16), torch.arange(5) >= torch.tensor([5, 3, 4, 5, 2, 5, 5, 4])[:, None]
    model(tokens, src_key_padding_mask=padding)
    model.get_submodule(name).frozen = True
    expected = model(tokens, src_key_padding_mask=padding)
    model.eval()
    with torch.no_grad():
        found = model(tokens, src_key_padding_mask=padding)
    assert torch.allclose(found[~padding], expected[~padding], atol=1e-5)
    assert torch.isfinite(model(tokens)).all()


def test_too_many_concepts_name_the_layer():
    with pytest.raises(UserError, match=r"layer 'block.1': 9 axes for concepts, but only 8 channels"):
        replace_norm(Tower(), "block.1", [str(number) for number in range(9)])
