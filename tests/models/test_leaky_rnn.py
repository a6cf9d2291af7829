from __future__ import annotations

import pytest
import torch

from orthotrace.core.errors import UserError
from orthotrace.models.leaky_rnn import LeakyRNN


def test_rates_step_by_step():
    torch.manual_seed(0)
    model = LeakyRNN((6, 4), 3, units=5, alpha=0.3).double().eval()
    x = torch.randn(7, 6, 4, dtype=torch.float64)
    into, among, bias = model.recurrent.weight[:, :4], model.recurrent.weight[:, 4:], model.recurrent.bias
    rate, outputs = torch.zeros(7, 5, dtype=torch.float64), []
    for step in range(6):
        rate = 0.7 * rate + 0.3 * torch.relu(x[:, step] @ into.T + rate @ among.T + bias)
        outputs.append(model.head(rate))
    assert torch.allclose(model(x), torch.stack(outputs, dim=2), atol=1e-12)


def test_initial_weights():
    torch.manual_seed(0)
    model = LeakyRNN((6, 9), 3)
    among = model.recurrent.weight.detach()[:, 9:]
    assert torch.allclose(among @ among.T, 0.25 * torch.eye(256), atol=1e-5) and not model.recurrent.bias.any()
    assert float(model.recurrent.weight.detach()[:, :9].std()) == pytest.approx(1 / 3, rel=0.05)


def test_noise_is_that_of_training_and_of_its_size():
    torch.manual_seed(0)
    model = LeakyRNN((1, 4), 3, units=500, alpha=0.5, noise=0.1)
    x = torch.zeros(80, 1, 4)
    torch.nn.init.ones_(model.recurrent.bias)
    # Of one step from rest: alpha times what is received, far above 0.
    assert float(model.rates(x).detach().std()) == pytest.approx(0.5 * 0.1 * 2, rel=0.02)
    assert float(model.eval().rates(x).detach().std()) < 1e-6


@pytest.mark.parametrize(
    ("options", "named"),
    [({"shape": (1, 8, 8)}, "shape: sequences"), ({"alpha": 0}, "alpha"), ({"alpha": 1.1}, "alpha"), ({"units": 0}, "units"),
     ({"noise": -1}, "noise"), ({"width": 0}, "width")],
)  # fmt: skip
def test_nets_that_cannot_be(options, named):
    with pytest.raises(UserError) as refused:
        LeakyRNN(**({"shape": (6, 4), "classes": 3} | options))
    assert str(refused.value).startswith(named)
