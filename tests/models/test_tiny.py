"""Tiny-10: the layers that its paper lists."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.models.tiny import Tiny10


def test_the_published_layers():
    model = Tiny10((3, 32, 32), 10)
    sides, images = [], torch.zeros(1, 3, 32, 32)
    for layer in model.children():
        images = layer(images) if not isinstance(layer, nn.BatchNorm2d) else images
        if isinstance(layer, nn.ReLU):
            sides.append((images.shape[1], images.shape[2]))
    assert sides == [(16, 32), (16, 32), (32, 16), (32, 16), (32, 16), (64, 8), (64, 6), (64, 6)]
    assert [type(one).__name__ for one in model][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert (model.head.in_features, model.head.out_features) == (64, 10)


def test_images_that_are_too_small():
    with pytest.raises(UserError, match="9 x 9 pixels at least"):
        Tiny10((1, 8, 9), 10)
