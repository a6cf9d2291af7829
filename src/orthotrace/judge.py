"""How well a network does on images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from orthotrace.data.images import Images
from orthotrace.readout import predicted


@dataclass(frozen=True)
class Judgement:
    """What a network gets right, averaged over samples, not over batches.

    Attributes:
        loss: mean cross-entropy; infinite where a label is none of the outputs that count.
        accuracy: share of the images told right, in [0, 1].
        right: images told right, by label.
        count: images, by label.
    """

    loss: float
    accuracy: float
    right: Tensor
    count: Tensor


@torch.no_grad()
def evaluate(model: nn.Module, part: Images, outputs: range | None = None, batch_size: int = 1024) -> Judgement:
    """Judge a network in evaluation mode; its own mode is kept.

    Args:
        model: inputs to logits.
        part: at least one image.
        outputs: over which the network decides; None for all.
        batch_size: images at once.

    Example:
        >>> part = Images(torch.eye(3)[:, :2], torch.tensor([0, 1, 1]))
        >>> found = evaluate(nn.Identity(), part, batch_size=2)
        >>> round(found.accuracy, 4), found.right.tolist(), found.count.tolist()
        (0.6667, [1, 1], [1, 2])
    """
    like = next(model.parameters(), part.store)
    training = model.training
    model.eval()
    loss = 0.0
    right, labels_seen = [], []
    width = 1
    for inputs, labels in part.split(batch_size, like):
        logits = model(inputs)
        width = logits.shape[1]
        chosen = outputs or range(width)
        right.append(predicted(logits, chosen) == labels)
        labels_seen.append(labels)
        within = labels - chosen.start
        if ((within < 0) | (within >= len(chosen))).any():
            loss = float("inf")
        else:
            of = logits[:, chosen.start : chosen.stop].double()
            loss += float(cross_entropy(of, within, reduction="sum"))
    model.train(training)
    told, labels = torch.cat(right).cpu(), torch.cat(labels_seen).cpu()
    return Judgement(
        loss / len(part),
        int(told.sum()) / len(part),
        torch.bincount(labels[told], minlength=width),
        torch.bincount(labels, minlength=width),
    )
