"""Bootstrapped targets: labels that may be wrong are mixed with what the network itself says."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import cross_entropy

# The share of the label, by kind, as published.
BETA: dict[str, float] = {"soft": 0.95, "hard": 0.8}


def bootstrapped(
    logits: Tensor,
    labels: Tensor,
    kind: Literal["soft", "hard"] = "soft",
    beta: float | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy with targets that are partly the network's own answers.

        - sum_k [beta t_k + (1 - beta) q_k] log q_k         soft
        - sum_k [beta t_k + (1 - beta) z_k] log q_k         hard

    with t the label as a one-hot vector, q the softmax of the logits, and z_k = 1 for the largest q_k, else 0. The
    gradient goes through q in the targets too: the soft loss is beta times the cross-entropy plus 1 - beta times the
    entropy of q, minimum entropy regularisation, as in the paper. z has no gradient.

    Args:
        logits: (n, outputs).
        labels: (n,), numbers of outputs.
        kind: "soft" or "hard".
        beta: the share of the label, in [0, 1]; None for .95 where soft and .8 where hard.
        smoothing: label smoothing of t, in [0, 1).

    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR 2015 workshop, eq. 6
    and 7.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> right, wrong = torch.tensor([0]), torch.tensor([1])
        >>> [round(float(bootstrapped(logits, label, "hard")), 3) for label in (right, wrong)]
        [0.127, 1.727]
    """
    share = BETA[kind] if beta is None else beta
    logs = logits.log_softmax(1)
    own = -(logs.exp() * logs).sum(1) if kind == "soft" else -logs.max(1).values
    return share * cross_entropy(logits, labels, label_smoothing=smoothing) + (1 - share) * own.mean()
