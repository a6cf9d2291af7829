#!/usr/bin/env bash
# accelerate 1.15.0 with torch 2.13.0: the optimizer that Accelerator.prepare gives is a torch.optim.Optimizer, has its
# methods for hooks, and none of the six can be called: each ends in an AttributeError.
#
# AcceleratedOptimizer derives from Optimizer and never calls its __init__, which makes the dictionaries of hooks; what
# it passes on to the optimizer inside is state, parameter groups and the step. So code that projects, clips or counts
# after each step by register_step_post_hook, the way that torch documents, cannot be given what a user of accelerate
# has. A check by isinstance or hasattr does not tell. Hooks of the optimizer inside (prepared.optimizer) are called.
# Right would be what torch says of every Optimizer, or methods that pass hooks on.
# Seen with Python 3.11 on the CPU: six AttributeErrors, '_optimizer_step_post_hooks' and the like; a hook that was
# registered before prepare, and one registered on prepared.optimizer, run once in each step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  accelerate==1.15.0 torch==2.13.0 numpy==2.4.6
cd "$folder"
HF_HOME="$folder" "$folder/env/bin/python" -W ignore - 2>progress <<'PYTHON' || { cat progress; exit 1; }
import torch
from accelerate import Accelerator
from torch import nn

HOOKS = [
    f"register_{what}_hook"
    for what in (
        "step_pre",
        "step_post",
        "state_dict_pre",
        "state_dict_post",
        "load_state_dict_pre",
        "load_state_dict_post",
    )
]
called = []
model = nn.Linear(3, 2)
plain = torch.optim.Adam(model.parameters())
plain.register_step_post_hook(lambda *given: called.append("before"))
model, prepared = Accelerator(cpu=True).prepare(model, plain)
assert isinstance(prepared, torch.optim.Optimizer) and all(hasattr(prepared, name) for name in HOOKS)
for name in HOOKS:
    try:
        getattr(prepared, name)(lambda *given: called.append("prepared"))
    except AttributeError as error:
        print(f"{name}: {error}")
    else:
        raise SystemExit(f"{name} can be called")
prepared.optimizer.register_step_post_hook(lambda *given: called.append("inside"))
model(torch.ones(1, 3)).sum().backward()
prepared.step()
print("hooks called in a step:", called)
assert called == ["before", "inside"]
PYTHON
