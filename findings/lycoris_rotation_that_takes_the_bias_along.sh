#!/usr/bin/env bash
# lycoris-lora 4.1.3: an orthogonal adapter (diag-oft, boft) that was trained with bypass_mode=True is another network
# once it is merged, wherever a layer has a bias.
#
# Orthogonal finetuning turns the weight of a layer, R W x + b (Qiu et al. 2023), and merge_to writes R W. With
# bypass_mode=True, which layers with quantised weights get in any case, the outputs of the layer are turned in place of
# its weight, and the bias with them: R (W x + b). That is the network that is trained; the one that is merged, or
# loaded without the bypass, is another. Nothing is told. Adapters that add to the weight (lora, loha, lokr) are the
# same both ways, and so are rotations of layers without a bias.
# Right would be R (W x) + b. Until then: diag-oft and boft without bypass_mode, or for layers without a bias.
# Seen with Python 3.11, torch 2.13.0, a Linear layer of 8 inputs and 16 outputs and a convolution of 3 x 3. An adapter
# of diag-oft moves the outputs by 2.7 and 4.5, and merging by 1.6 and 2.5; of boft by 2.5 and 4.0, merging by 1.3 and
# 2.1. Without the bypass, without a bias, and with lora, loha and lokr, merging moves them by 4e-6 at most.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  lycoris-lora==4.1.3 torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import logging

import torch
from lycoris import LycorisNetwork, create_lycoris
from torch import nn

logging.disable(logging.INFO)
torch.set_num_threads(1)
LycorisNetwork.apply_preset({"target_module": ["Linear", "Conv2d"], "target_name": [".*"], "enable_conv": True})


def changes(algorithm, bypass, bias, convolution):
    """How far the adapter moves the outputs of the network, and how far merging moves them again."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 16, 3, padding=1, bias=bias) if convolution else nn.Linear(8, 16, bias=bias)
    if bias:
        nn.init.normal_(layer.bias)
    network = nn.Sequential(layer)
    inputs = torch.randn(5, 8, 6, 6) if convolution else torch.randn(5, 8)
    before = network(inputs).detach()
    sizes = {"linear_dim": 4, "linear_alpha": 4, "conv_dim": 4, "conv_alpha": 4}
    adapter = create_lycoris(network, 1.0, algo=algorithm, bypass_mode=bypass, **sizes)
    adapter.apply_to()
    # Any adapter that has learned something.
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        trained = network.eval()(inputs)
        adapter.eval().restore()
        assert torch.equal(network(inputs), before)
        adapter.merge_to(1.0)
        merged = network(inputs)
    return float((trained - before).abs().max()), float((merged - trained).abs().max())


for algorithm in ("diag-oft", "boft", "lora", "loha", "lokr"):
    for bypass in (False, True):
        for bias in (True, False):
            for convolution in (False, True):
                moved, again = changes(algorithm, bypass, bias, convolution)
                print(f"{algorithm}, bypass {bypass}, bias {bias}, {'convolution' if convolution else 'linear'}: "
                      f"the adapter moves the outputs by {moved:.2g}, merging by {again:.2g}")
                assert moved > 0.1, "the comparison itself is wrong"
                if algorithm in ("diag-oft", "boft") and bypass and bias:
                    assert again > 0.5, "lycoris behaves in another way now"
                else:
                    assert again < 1e-4, "lycoris behaves in another way now"
PYTHON
