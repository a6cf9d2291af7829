#!/usr/bin/env bash
# aihwkit-lightning 2.1.0: with learned weight ranges (LEARNABLE_PER_CHANNEL) a layer all of whose ranges are above 1 is
# clipped at one over each range, in place of the range: an untrained conversion changes the network.
#
# The clipping goes through the function that quantises. It takes a tensor "res" for a number of states if all its
# entries are above 1, and for a step otherwise; the ranges are given as res. So one output whose largest weight is at
# most 1 saves the whole layer, and a layer that grows beyond 1 in training is cut from one step to the next.
# Right would be what happens below 1: ranges begin at the largest weight of each output, and nothing is clipped.
# Seen with Python 3.11, torch 2.13.0, a layer of 8 inputs and 3 outputs converted without input ranges, noise and
# quantisation: largest weights .5, .5, .5 and 2, 2, .5 no error; 1.01 three times 1.4 % of the output; 2 three times
# 66 %; 4 three times 91 %.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  aihwkit-lightning==2.1.0 torch==2.13.0 numpy==2.4.6 setuptools==80.9.0
cd "$folder"
"$folder/env/bin/python" -W ignore - 2>progress <<'PYTHON' || { cat progress; exit 1; }
import torch
from aihwkit_lightning.nn.conversion import convert_to_analog
from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig, WeightClipType
from torch import nn


def converted(weight):
    """A layer with these weights, for hardware without input ranges, noise and quantisation."""
    config = TorchInferenceRPUConfig()
    config.clip.type = WeightClipType.LEARNABLE_PER_CHANNEL
    config.pre_post.input_range.enable = False
    config.forward.inp_res = config.forward.out_res = config.forward.out_bound = -1
    config.forward.out_noise = 0.0
    layer = nn.Linear(8, 3, bias=False)
    layer.weight.data = weight.clone()
    return convert_to_analog(nn.Sequential(layer), config).eval()


torch.manual_seed(0)
inputs = torch.randn(100, 8)
weight = torch.randn(3, 8)
weight /= weight.abs().amax(1, keepdim=True)
errors = []
for largest in ([0.5, 0.5, 0.5], [2.0, 2.0, 0.5], [1.01, 1.01, 1.01], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]):
    scaled = weight * torch.tensor(largest)[:, None]
    right = inputs @ scaled.T
    analog = converted(scaled)
    ranges = analog[0].learnable_weight_clip.flatten().tolist()
    assert torch.allclose(torch.tensor(ranges), torch.tensor(largest))
    given = analog(inputs)
    errors.append(((given - right).norm() / right.norm()).item())
    print(f"largest weights {largest}: error {errors[-1]:.3f} of the output")
    if min(largest) > 1:
        clipped = scaled.clamp(-1 / torch.tensor(largest)[:, None], 1 / torch.tensor(largest)[:, None])
        assert torch.allclose(given, inputs @ clipped.T, atol=1e-5)
assert max(errors[:2]) < 1e-6 and 0.005 < errors[2] < 0.05 and errors[3] > 0.5 and errors[4] > 0.8
PYTHON
