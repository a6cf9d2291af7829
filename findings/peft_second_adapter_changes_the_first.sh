#!/usr/bin/env bash
# peft 0.21.0: adding a second adapter of OLoRA or PiSSA changes what the first one answers, before anything is trained.
#
# These first weights take the start of an adapter out of the base weight, so that base and adapter together are the
# network as it was. The base is shared: the second adapter changes it under the first, whose outputs move as far as if a
# task had been forgotten, and both set_adapter("first") and disable_adapter() are another network from then on. One
# adapter is enough for the latter: disable_adapter() and unload() do not give the network back that it was made of.
# Nothing is said. With the default first weights (B = 0) and "orthogonal" all stay as they were.
# Right would be an error at the second adapter, or the start kept beside the base.
# Seen with Python 3.11, torch 2.13.0, two linear layers, rank 4, outputs of at most .56. Moved by the second adapter:
# default 0, orthogonal 3e-8, olora 1.7, pissa .45; without adapters: default 0, orthogonal 0, olora .64, pissa .45.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  peft==0.21.0 transformers==5.24.0 accelerate==1.15.0 torch==2.13.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(7, 16)
found = {}
for first_weights in (True, "orthogonal", "olora", "pissa"):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 5))
    config = LoraConfig(r=4, target_modules=["0", "2"], init_lora_weights=first_weights)
    with torch.no_grad():
        before = network(inputs)
        model = get_peft_model(network, config, adapter_name="first")
        assert torch.allclose(model(inputs), before, atol=1e-5)
        with model.disable_adapter():
            without = float((model(inputs) - before).abs().max())
        model.add_adapter("second", config)
        model.set_adapter("first")
        after = float((model(inputs) - before).abs().max())
    found[str(first_weights)] = after, without
    print(f"{first_weights}: the first adapter's outputs moved by {after:.2g}, without adapters by {without:.2g}")
still = max(*found["True"], *found["orthogonal"])
assert still < 1e-5 and min(*found["olora"], *found["pissa"]) > 0.1, "peft behaves in another way now"
PYTHON
