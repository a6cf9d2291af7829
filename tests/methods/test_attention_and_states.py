"""Every projection method over attention and recurrent states, through two tasks; what cannot is refused by name."""

import pytest
import torch
from tasks import context_of

from orthotrace.core.errors import UserError
from orthotrace.core.seeds import Seeds
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted
from orthotrace.methods.api import API
from orthotrace.methods.codecl import CodeCL
from orthotrace.methods.cuber import CUBER
from orthotrace.methods.duncker import Duncker
from orthotrace.methods.gpm import GPM
from orthotrace.methods.hlop import HLOP
from orthotrace.methods.nscl import NSCL
from orthotrace.methods.owm import OWM
from orthotrace.methods.sgp import SGP
from orthotrace.methods.trgp import TRGP
from orthotrace.models.recurrent import Recurrent
from orthotrace.models.vit import ViT

TASKS = Permuted(digits(), tasks=2)
PART = digits().train.take(torch.arange(96))
NETWORKS = {
    "vit": lambda: ViT((1, 8, 8), 10, patch=4, features=24, depth=1, heads=2),
    "lstm": lambda: Recurrent((1, 8, 8), 10, "lstm", [20], "rows"),
}
METHODS = {
    "gpm": lambda: GPM(rows=2, samples=60),
    "complement": lambda: GPM(rows=2, samples=60, complement=True),
    "hlop": lambda: HLOP(rows=2),
    "nscl": lambda: NSCL(factor=50.0),
    "sgp": lambda: SGP(energy=0.8, samples=60),
    "owm": lambda: OWM(alpha=1.0),
    "duncker": Duncker,
    "codecl": CodeCL,
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", METHODS)
def test_it_holds_what_it_holds_of_other_layers(name, network):
    torch.manual_seed(0)
    model, method = NETWORKS[network](), METHODS[name]()
    method.setup(model, Seeds(), TASKS)
    for number in range(2):
        context = context_of(TASKS, number, PART)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        method.enter(context)
        method.begin_task(context)
        detach = method.attach([optimizer])
        model.train()
        for images, labels in zip(PART.inputs().split(32), PART.labels.split(32), strict=True):
            optimizer.zero_grad()
            logits = method.training_forward(model, images, context)
            torch.nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
        detach()
        model.eval()
        outcome = method.end_task(context)
    spaces = method.guard.subspaces
    # Attention has four matrices, an LSTM two, each with rows held and an update beside them.
    assert len(spaces) == {"vit": 8, "lstm": 3}[network] and all(space.rank for space in spaces.values())
    for label, space in spaces.items():
        assert outcome.layers[label].captured is None or 0 <= outcome.layers[label].captured <= 1 + 1e-6
        assert not space.exact or outcome.layers[label].leak <= 1e-6
        assert float(method.guard.update(label).norm()) > 1e-5


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", [TRGP, CUBER, API])
def test_what_scales_weights_takes_linear_layers_and_convolutions_alone(method, network):
    kind = {"vit": r"'position' is neither \(Embedding\)", "lstm": r"'rnn1' is neither \(LSTM\)"}[network]
    line = f"{method.__name__} changes the weights of Linear layers and convolutions, and {kind}"
    with pytest.raises(UserError, match=line):
        method(energy=0.9).setup(NETWORKS[network](), Seeds(), TASKS)
