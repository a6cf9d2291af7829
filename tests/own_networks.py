"""Networks as users write them, and by hand what each of their layers is read as: post, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Found = dict[str, Tensor]


@dataclass(frozen=True)
class Architecture:
    """A network, the shape of an input, its layers by hand, and what cannot be read of it."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    expected: Callable[[Any, Tensor], Found]
    unread: tuple[str, ...] = ()
    layers: tuple[str, ...] | None = None
    after: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Functional(nn.Module):
    """Convolutions with normalisation, F.relu and pooling, as in torchvision's examples."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
        self.fc, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        # Pooling before the nonlinearity, as in the examples of PyTorch.
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.dropout(torch.flatten(x, 1), 0.5, self.training)
        return F.log_softmax(self.head(torch.relu_(self.fc(x))), dim=1)


def functional(m, x):
    one = F.relu(m.bn1(m.conv1(x)))
    two = F.max_pool2d(m.conv2(F.max_pool2d(one, 2)), 2).clamp(min=0)
    three = m.fc(two.flatten(1)).clamp(min=0)
    return {"conv1": one, "conv2": two, "fc": three, "head": m.head(three)}


class Residual(nn.Module):
    """A ReLU used twice and a functional sum, as in torchvision; beside it a module that is never called."""

    def __init__(self, inplace=True, downsample=True):
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(2, 4 if downsample else 2, 3, padding=1),
            nn.BatchNorm2d(4 if downsample else 2),
        )
        wide = self.conv1.out_channels
        self.conv2, self.bn2 = nn.Conv2d(wide, wide, 3, padding=1), nn.BatchNorm2d(wide)
        self.relu = nn.ReLU(inplace)
        self.unused = nn.Linear(3, 3)
        self.downsample = nn.Sequential(nn.Conv2d(2, wide, 1), nn.BatchNorm2d(wide)) if downsample else None
        self.fc = nn.Linear(wide, 3)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.fc(self.relu(out).mean((2, 3)))


def residual(m, x):
    one = F.relu(m.bn1(m.conv1(x)))
    two = F.relu(m.bn2(m.conv2(one)) + (x if m.downsample is None else m.downsample(x)))
    return {"relu:1": one, "relu:2": two, "fc": m.fc(two.mean((2, 3)))}


class Sums(nn.Module):
    """Functional residual sums without a nonlinearity after them: what is summed is taken twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)

    def forward(self, x):
        x = self.stem(x)
        x = x + F.gelu(self.one(self.norm1(x)))
        x = torch.add(x, self.two(self.norm2(x)))
        return self.head(x)


def sums(m, x):
    stem = m.stem(x)
    one = stem + F.gelu(m.one(m.norm1(stem)))
    two = one + m.two(m.norm2(one))
    return {"stem": stem, "one": one, "two": two, "head": m.head(two)}


class Preactivation(nn.Module):
    """Normalisation and F.relu before each convolution."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 2, 3, padding=1), nn.Conv1d(2, 2, 3, padding=1)
        self.bn1, self.bn2, self.head = nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.Linear(10, 3)

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        return self.head((x + y).flatten(1))


def preactivation(m, x):
    one = F.relu(m.bn1(x))
    two = F.relu(m.bn2(m.conv1(one)))
    three = x + m.conv2(two)
    return {"bn1": one, "conv1": two, "conv2": three, "head": m.head(three.flatten(1))}


class ByHand(nn.Module):
    """Nonlinearities and normalisation written out, in one line of torch or several."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3, self.fc4, self.fc5, self.head = (nn.Linear(4, 4) for _ in range(6))
        self.gain = nn.Parameter(torch.full((4,), 1.5))

    def forward(self, x):
        x = self.fc1(x)
        x = x * torch.sigmoid(x)
        x = self.fc2(x).clamp(min=0)
        x = self.fc3(x)
        x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
        x = self.fc4(x)
        x = self.gain * (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-5)
        x = torch.tanh(x)
        x = self.fc5(x)
        return self.head(torch.where(x > 0, x, 0.1 * x))


def by_hand(m, x):
    one = F.silu(m.fc1(x))
    two = F.relu(m.fc2(one))
    three = F.gelu(m.fc3(two))
    four = m.fc4(three)
    four = torch.tanh(m.gain * (four - four.mean(1, keepdim=True)) / (four.var(1, keepdim=True) + 1e-5).sqrt())
    five = F.leaky_relu(m.fc5(four), 0.1)
    return {"fc1": one, "fc2": two, "fc3": three, "fc4": four, "fc5": five, "head": m.head(five)}


class Transformer(nn.Module):
    """Tokens through torch's own encoder, whose fused path calls none of its layers."""

    def __init__(self, first, activation="relu"):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=first, activation=activation)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x)[:, 0])


def transformer(m, x):
    layer = m.encoder.layers[0]
    first = layer.norm_first
    attended = layer.self_attn(layer.norm1(x), layer.norm1(x), layer.norm1(x)) if first else layer.self_attn(x, x, x)
    one = x + attended[0]
    one = one if first else layer.norm1(one)
    hidden = layer.activation(layer.linear1(layer.norm2(one) if first else one))
    two = one + layer.linear2(hidden)
    two = two if first else layer.norm2(two)
    at = "encoder.layers.0"
    return {
        f"{at}.self_attn": one, f"{at}.linear1": hidden, f"{at}.linear2": two, "head": m.head(two[:, 0])
    }  # fmt: skip


class Recurrent(nn.Module):
    """An LSTM, which gives a tuple; its states have the stimuli in the second place."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def recurrent(m, x):
    out, _ = m.lstm(x)
    return {"lstm": out, "head": m.head(out[:, -1])}


class Body(nn.Module):
    """Gives a tuple and a dictionary in it."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        y = self.fc(x)
        return F.relu(y), {"double": 2 * y, "text": "none"}


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), nn.Linear(4, 3)

    def forward(self, x):
        y, more = self.body(x)
        return {"logits": self.head(y + more["double"])}


def several(m, x):
    y = m.body.fc(x)
    return {"body[0]": F.relu(y) + 2 * y, "body[1][double]": F.relu(y) + 2 * y, "head": m.head(F.relu(y) + 2 * y)}


class Controlled(nn.Module):
    """Control flow that depends on the data, which torch.fx cannot trace."""

    def __init__(self):
        super().__init__()
        self.fc1, self.step, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        for _ in range(2 if float(x.abs().max()) < 1e6 else 5):
            x = torch.tanh(self.step(x))
        if x.sum() > 1e9:
            x = x * 2
        return self.head(x)


def controlled(m, x):
    one = F.relu(m.fc1(x))
    two = torch.tanh(m.step(one))
    three = torch.tanh(m.step(two))
    return {"fc1": one, "step:1": two, "step:2": three, "head": m.head(three)}


class Own(nn.Module):
    """Weights without a module, and a linear layer of one's own."""

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return x @ self.weight

    def __init__(self):
        super().__init__()
        self.line, self.weight, self.head = self.Line(), nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.relu(F.linear(torch.relu(self.line(x)), self.weight)))


def own(m, x):
    one = F.relu(x @ m.line.weight)
    two = F.relu(one @ m.weight.T)
    return {"line": one, "linear()": two, "head": m.head(two)}


class Transposed(nn.Module):
    """Stimuli in the second place on the way, as in recurrent layers by default."""

    def __init__(self):
        super().__init__()
        self.fc, self.rnn, self.head = nn.Linear(4, 4), nn.RNN(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        found, _ = self.rnn(F.relu(self.fc(x)).transpose(0, 1))
        return self.head(found[-1])


def transposed(m, x):
    one = F.relu(m.fc(x))
    return {"fc": one, "head": m.head(m.rnn(one.transpose(0, 1))[0][-1])}


class Given(nn.Module):
    """Gives a layer beside what follows it, and puts the stimuli in the second place only on the way."""

    def __init__(self):
        super().__init__()
        self.fc, self.side, self.head = nn.Linear(4, 4), nn.Linear(4, 5), nn.Linear(4, 3)

    def forward(self, x):
        side = self.side(x.transpose(0, 1)).transpose(0, 1)
        y = self.fc(x[:, 0])
        return y, self.head(F.relu(y)), side


def given(m, x):
    y = m.fc(x[:, 0])
    return {"side": m.side(x), "fc": y, "relu()": F.relu(y), "head": m.head(F.relu(y))}


class Attention(nn.Module):
    """Gives the weights of its attention beside its output."""

    def __init__(self):
        super().__init__()
        self.attn, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.attn(x, x, x)[0][:, 0])


def attention(m, x):
    out, weights = m.attn(x, x, x)
    return {"attn": out, "attn[1]": weights}
