"""Dropout masks that are drawn at test."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from given_networks import activations, images
from omegaconf import OmegaConf
from torch import nn

from orthotrace.analysis.networks.given import BuiltNetwork, GivenNetwork
from orthotrace.analysis.networks.masks import averaged_rdms, with_dropout
from orthotrace.analysis.networks.shown import of_array
from orthotrace.analysis.rdm.dissimilarity import euclidean

STIMULI = of_array(images())


def network(seed: int = 0, dropout: nn.Module | None = None) -> nn.Sequential:
    """What drops is seen at its last layer, which changes nothing."""
    torch.manual_seed(seed)
    last = nn.Linear(8, 8, bias=False)
    nn.init.eye_(last.weight)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Sigmoid(), dropout or nn.Dropout(0.5), last)


def given(model: nn.Module) -> GivenNetwork:
    return GivenNetwork("net", {}, {1: BuiltNetwork(model)})


def sampled(model, counts=(1, 2, 4), average="rdms", seed=0, layers=("4",)):
    """The activations that the measure saw, and the RDMs of the last layer."""
    seen = []

    def measure(values):
        seen.append(values.clone())
        return euclidean(values)

    run = given(model)
    masked = with_dropout(run, 1)
    found = dict(averaged_rdms(run, 1, masked, STIMULI, layers, measure, "post", counts, average, seed))
    return seen, found


def test_rdms_of_each_mask_are_averaged_or_activations_before_the_rdm():
    model = network()
    values, rdms = sampled(model)
    assert len(values) == 4 and list(rdms) == [1, 2, 4]
    for count, found in rdms.items():
        assert np.allclose(found["4"], np.mean([euclidean(one) for one in values[:count]], axis=0), rtol=1e-6)
    means, rdms = sampled(model, average="activations")
    for (count, found), mean in zip(rdms.items(), means, strict=True):
        assert torch.allclose(mean, torch.stack(values[:count]).mean(0), rtol=1e-6)
        assert np.allclose(found["4"], euclidean(mean))


def test_the_mean_over_many_masks_is_the_network_without_them():
    model = network()
    ((*_, mean), _) = sampled(model, (400,), "activations")
    with torch.no_grad():
        right = model.eval()(STIMULI.images)
    assert (mean - right).abs().max() < 5 * right.max() / 400**0.5


def test_sums_over_many_masks_do_not_stall_in_half_precision():
    """Ones that are added up in bfloat16 stay at 256."""
    model = network(dropout=nn.Dropout(0.01)).bfloat16()
    ((*_, mean), _) = sampled(model, (600,), "activations")
    with torch.no_grad():
        right = model.eval()(STIMULI.images.bfloat16()).float()
    assert (mean.float() / right - 1).abs().max() < 0.05


def test_each_stimulus_network_and_number_has_its_own_mask_and_the_same_again():
    dropped = lambda *of, **more: [one == 0 for one in sampled(*of, **more)[0]]  # noqa: E731
    first = dropped(network())
    assert all(torch.equal(one, two) for one, two in zip(first, dropped(network()), strict=True))
    for other in (first[1], dropped(network(1))[0], dropped(network(), seed=1)[0]):
        assert 0.3 < (other == first[0]).double().mean() < 0.7
    assert len(first[0].unique(dim=0)) > 6 and 0.3 < first[0].double().mean() < 0.7
    # Of the number of masks that are asked for the first do not depend.
    assert torch.equal(dropped(network(), (1,))[0], first[0])


def test_other_draws_stay_as_they_are_and_only_dropout_is_as_in_training():
    model = network()
    before = torch.get_rng_state()
    sampled(model)
    assert torch.equal(torch.get_rng_state(), before)
    masked = with_dropout(given(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.1))), 1)
    assert [one.training for one in masked] == [False, False, True] and not masked.training


@pytest.mark.parametrize("dropout", [nn.Dropout1d(0.5), nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5)])
def test_modules_like_dropout(dropout):
    values, _ = sampled(network(dropout=dropout), (2,))
    assert not torch.equal(*values)


def test_layers_before_the_first_dropout_stay_as_they_are():
    values, _ = sampled(network(), (2,), layers=("2",))
    assert torch.equal(*values)


def test_dropout_of_the_regularizer_is_that_of_the_outputs_of_nonlinearities():
    model = network(dropout=nn.Identity()).eval()
    run = SimpleNamespace(network=lambda task: model, config=OmegaConf.create({"regularizer": {"dropout": 0.5}}))
    masked = with_dropout(run, 1)
    with torch.no_grad():
        share = (masked(STIMULI.images) == 0).double().mean()
    assert 0.3 < share < 0.7


def test_networks_without_dropout():
    for config in ({"regularizer": {"dropout": 0.0}}, {}):
        run = SimpleNamespace(network=lambda task: nn.Sequential(nn.ReLU()), config=OmegaConf.create(config))
        assert with_dropout(run, 1) is None
    assert with_dropout(given(network(dropout=nn.Dropout(0.0))), 1) is None
    from orthotrace.analysis.networks.listed import networks_of

    (saved,) = networks_of([{"activations": activations()}])
    assert with_dropout(saved, 1) is None
