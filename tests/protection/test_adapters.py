"""The guard on networks that peft has made, and what peft's own orthogonal method holds; pip install -e ".[adapters]"."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from orthotrace.core.errors import UserError
from orthotrace.protection import Guard
from orthotrace.subspace import SvdSubspace

peft = pytest.importorskip("peft", reason="peft is not installed: pip install -e '.[adapters]'")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "adapters.md"


def adapted(config) -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return peft.get_peft_model(nn.Sequential(*layers).double(), config(target_modules=["0", "2"]))


def inputs(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, new: torch.Tensor) -> None:
    for _ in range(20):
        optimizer.zero_grad()
        (model(new) - 1).square().mean().backward()
        optimizer.step()


# With the readout trained too, of which peft keeps a frozen copy that nothing calls.
@pytest.mark.parametrize("saved", [[], ["4"]])
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_adapters_are_held(optimizer, saved):
    model = adapted(lambda **options: peft.LoraConfig(r=8, modules_to_save=saved, **options))
    guard, old = Guard(model, SvdSubspace, energy=1.0), inputs(4, 0)
    with guard.protecting(steps := optimizer(model.parameters(), lr=0.01)):
        learn(model, steps, inputs(40, 1))
    guard.remember(model, old)
    model.eval()
    before = model(old).detach()
    model.train()
    start = model.base_model.model[0].lora_A.default.weight.detach().clone()
    with guard.protecting(steps := optimizer(model.parameters(), lr=0.01)):
        learn(model, steps, -inputs(40, 2))
    model.eval()
    assert float((model(old).detach() - before).abs().max()) < 1e-6
    assert not torch.equal(model.base_model.model[0].lora_A.default.weight, start)
    assert max(guard.leaks().values()) <= 1e-12


def test_what_the_orthogonal_method_of_peft_holds():
    """Share of the update of the first layer that lies in the directions of its frozen part."""
    shares = {}
    for optimizer in (torch.optim.SGD, torch.optim.Adam):
        model = adapted(peft.OSFConfig)
        with pytest.raises(UserError, match="would change unprotected"):
            Guard(model, SvdSubspace, energy=1.0)
        layer = model.base_model.model[0]
        probe = torch.eye(24, dtype=torch.float64)
        with torch.no_grad():
            before = layer(probe) - layer(0 * probe)
        learn(model, optimizer(model.parameters(), lr=0.01), inputs(40, 1))
        with torch.no_grad():
            update = (layer(probe) - layer(0 * probe) - before).T
        # Of a weight of rank 24 the larger half of its directions is frozen.
        held = torch.linalg.svd(layer.base_layer.weight.detach()).Vh[:12]
        shares[optimizer] = float((update @ held.T).norm() / update.norm())
    assert shares[torch.optim.SGD] < 1e-5 and shares[torch.optim.Adam] > 0.1


def test_the_page_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
