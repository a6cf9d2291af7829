"""Concept axes of a network that several processes train: every process turns them alike."""

import pytest
import torch
from processes import in_two_processes, turned

# Runs of a few steps: statistics lag behind, all concepts look the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*the mean features of")


def test_every_process_turns_its_axes_alike(tmp_path):
    one, two = in_two_processes(turned, tmp_path)
    alone = turned(0, 1)
    for key, value in alone.items():
        if "BatchNorm" not in key:
            # Shares of 32 and 31 images: the statistics are those of the whole batch.
            assert torch.allclose(one[key], value, atol=1e-4), key
            assert torch.equal(one[key], two[key]), key
        elif "rotation" in key:
            assert torch.equal(one[key], two[key]), key
        assert float(value.abs().max()) > 0
