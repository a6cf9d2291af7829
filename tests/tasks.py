"""The context of a task, for tests that call a method's hooks, and a method after its first task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from orthotrace.core.seeds import Seeds
from orthotrace.data.batches import Batches
from orthotrace.data.images import Images
from orthotrace.data.sources import digits
from orthotrace.data.streams import Permuted, Stream
from orthotrace.methods import Method, Outcome, TaskContext
from orthotrace.models.mlp import MLP

TRAIN = digits().train.take(torch.arange(300))


def context_of(
    stream: Stream, number: int = 0, part: Images | None = None, seeds: Seeds = Seeds(), batch_size: int = 32
) -> TaskContext:
    batches = Batches(stream.task(number).train if part is None else part, batch_size, 0, number)
    return TaskContext(number, batches.part, batches.prepare, stream.active, seeds, batch_size)


def after_one_task(method: Method, hidden: int = 12, **stream) -> tuple[MLP, Outcome]:
    """The network of a method that has seen 300 digits in batches of 32, and what the method reports."""
    torch.manual_seed(0)
    model, tasks = MLP((1, 8, 8), 10, hidden=[hidden]), Permuted(digits(), **stream)
    context = context_of(tasks, 0, TRAIN)
    method.setup(model, Seeds(), tasks)
    method.enter(context)
    method.begin_task(context)
    for images in TRAIN.inputs().split(32):
        method.training_forward(model, images, context)
    model.eval()
    return model, method.end_task(context)


def to_nearest_input(rows: Tensor, network: nn.Module, layer: str, images: Images) -> Tensor:
    """Distance of each remembered row to the nearest input that a layer has for some images, its bias left out."""
    seen: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    network(images.inputs())
    hook.remove()
    return torch.cdist(rows[:, : seen[0].shape[1]], seen[0].double()).amin(1)
