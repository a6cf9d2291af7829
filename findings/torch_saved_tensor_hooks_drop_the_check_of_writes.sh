#!/usr/bin/env bash
# torch 2.13.0: under saved_tensors_hooks, and under its own save_on_cpu, a gradient is silently that of what was written
# later, where plain autograd raises.
#
# Autograd refuses a backward pass whose saved tensors were written to in place ("modified by an inplace operation").
# Where they were saved under hooks, nobody looks any more: hooks that hand tensors on as they are, as one writes them to
# watch or to project what a layer has saved, return what the tensor holds by then. save_on_cpu of tensors that are on
# the CPU copies nothing, so it does the same. Non-reentrant checkpointing, which is made of such hooks, still raises: it
# saves its inputs outside of them. Whoever writes hooks must keep the _version of each tensor and compare it.
# Seen with Python 3.11: of a Linear layer on ones, then written to be tens, the right gradient is 4:
# hooks 40.0, save_on_cpu 40.0, plain and checkpoint: RuntimeError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 numpy
cat > "$folder/gradient.py" <<'PYTHON'
from contextlib import nullcontext

import torch
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint


def gradient(context, call):
    layer, x = torch.nn.Linear(3, 2, bias=False), torch.ones(4, 3)
    with context:
        loss = call(layer, x).sum()
    x.mul_(10)
    try:
        loss.backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
        return "raises"
    return layer.weight.grad[0, 0].item()


def plain(layer, x):
    return layer(x)


same = saved_tensors_hooks(lambda saved: saved, lambda packed: packed)
found = {
    "plain": gradient(nullcontext(), plain),
    "hooks": gradient(same, plain),
    "save_on_cpu": gradient(save_on_cpu(), plain),
    "checkpoint": gradient(nullcontext(), lambda layer, x: checkpoint(layer, x, use_reentrant=False)),
}
print(torch.__version__, found)
assert found == {"plain": "raises", "hooks": 40.0, "save_on_cpu": 40.0, "checkpoint": "raises"}, "it changed"
PYTHON
"$folder/env/bin/python" "$folder/gradient.py"
