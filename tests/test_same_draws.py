"""Tests do not depend on those that ran before: see conftest.same_draws."""

import random

import numpy as np
import pytest
import torch

RNG = np.random.default_rng(3)
G = torch.Generator().manual_seed(3)


@pytest.mark.parametrize("time", ["first", "again"])
def test_every_test_draws_the_same_numbers(time):
    assert RNG.random() == np.random.default_rng(3).random()
    assert torch.rand(1, generator=G) == torch.rand(1, generator=torch.Generator().manual_seed(3))
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random_sample()
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))
