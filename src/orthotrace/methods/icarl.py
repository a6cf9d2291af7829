"""iCaRL: exemplars chosen by herding, distillation, and the nearest mean of exemplars."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from orthotrace.core.errors import UserError, checked
from orthotrace.core.seeds import Seeds
from orthotrace.data.images import Batch, Images
from orthotrace.data.streams import Stream, Task
from orthotrace.methods.base import Method, Outcome
from orthotrace.methods.context import Forward, TaskContext
from orthotrace.methods.memory import Memory, MemoryOptions
from orthotrace.methods.nearest_mean import Features, Kinds


class ICaRL(Method):
    """Trains on the new images and on exemplars of earlier classes, and is tested by the nearest mean of exemplars.

    With g_y the sigmoid of output y, the loss of an image is, over the outputs y of all classes so far,

        - sum_y [ t_y log g_y + (1 - t_y) log(1 - g_y) ],
        t_y = 1 or 0, whether the image is of class y, where y is a class of the task; else g_y before the task,

    mean over images. After a task each class keeps as many exemplars as the other, size / classes so far: those of new
    classes are chosen by herding, those of earlier ones are the first of those they had. An epoch goes over the
    images of the task and all exemplars once. The test is that of NearestMean, over exemplars.

    In the task-incremental scenario training is the same, and the test decides among the classes of the task. In the
    domain-incremental one every class is of every task: nothing is distilled, and each class of each task has
    exemplars and a mean of its own.

    Args:
        memory: its size, at least one image for each class; exemplars need neither sampling nor a size of batches.

    Raises:
        UserError: a memory of size 0, sampling or a batch size; at setup, a memory that is smaller than the number of
            classes, a regression, or as for Features.

    Source: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, CVPR 2017, algorithms 1 to 5.
    There the loss is a sum over images.
    """

    nearest_mean = True
    # Of sigmoids, each by itself.
    cross_entropy = False
    memory: Memory

    @checked
    def __init__(self, memory: MemoryOptions) -> None:
        super().__init__()
        if not memory.size:
            raise UserError("exemplars need a memory of at least one image for each class", "memory.size")
        if memory.sampling != MemoryOptions.sampling:
            raise UserError("exemplars are chosen by herding: leave it out", "memory.sampling")
        if memory.batch_size is not None:
            raise UserError("an epoch goes over all exemplars once: leave it out", "memory.batch_size")
        self.memory_options = memory

    def setup(self, model: nn.Module, seeds: Seeds, stream: Stream) -> None:
        """Make the memory, and room for the network before a task."""
        super().setup(model, seeds, stream)
        if stream.regression:
            raise UserError("keeps exemplars of classes, and a regression has none")
        self.features = Features(model, stream)
        self.kinds = Kinds.of(stream)
        count, size = self.kinds.tasks * len(stream.classes), self.memory_options.size
        if size < count:
            of = f"{len(stream.classes)} classes" + (f" of {self.kinds.tasks} tasks" if self.kinds.tasks > 1 else "")
            raise UserError(f"{size} images cannot hold one of each of the {of}", "memory.size")
        memory = Memory.of(self.memory_options, model, seeds, stream)
        assert memory is not None
        self.memory = memory
        self.distinct = stream.distinct
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    def task(self, stream: Stream, number: int) -> Task:
        """The task with the exemplars of the others among its training images."""
        task, place = stream.task(number), number % stream.distinct
        held = self.memory.images(stream.scaling).to(task.train.labels.device)
        assert held.tasks is not None
        # A task that comes again has its own already.
        others = held.take((held.tasks != place).nonzero().flatten())
        own = replace(task.train, tasks=torch.full_like(task.train.labels, place))
        return replace(task, train=Images.joined([own, others]) if len(others) else own)

    def begin_task(self, context: TaskContext) -> None:
        """Keep the network as it is."""
        self.teacher.load_state_dict(self.model.state_dict())

    def loss(self, network: Forward, batch: Batch, context: TaskContext) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy over the classes so far, mean over images."""
        logits = self.training_forward(network, batch.inputs, context)
        targets = self.targets(batch, context)
        # Of a spiking network that learns online each step has logits of its own.
        over_steps = getattr(logits, "over_steps", logits[None])[..., : targets.shape[1]]
        given = over_steps.to(targets.dtype)
        loss = binary_cross_entropy_with_logits(given, targets.expand_as(given), reduction="sum")
        return loss / (len(given) * len(targets)), logits

    @torch.no_grad()
    def targets(self, batch: Batch, context: TaskContext) -> Tensor:
        """What the sigmoids of the outputs should be, (n, classes so far)."""
        outputs, number = context.outputs, context.number
        stop = outputs.outputs if outputs.blurred else max(part.stop for part in outputs.by_task[: number + 1])
        dtype = torch.promote_types(batch.inputs.dtype, torch.float32)
        wanted = one_hot(batch.labels, outputs.outputs)[:, :stop].to(dtype)
        wanted = wanted * (1 - outputs.smoothing) + outputs.smoothing / stop
        own = outputs.by_task[number]
        if not number or len(own) == stop:
            return wanted
        # Here, not when training starts: Lightning warns of modules that are in evaluation mode then.
        if self.teacher.training:
            self.teacher.eval()
        before = self.teacher(batch.inputs)[:, :stop].to(dtype).sigmoid()
        before[:, own.start : own.stop] = wanted[:, own.start : own.stop]
        return before

    @torch.no_grad()
    def end_task(self, context: TaskContext) -> Outcome:
        """Choose exemplars of the classes of the task, and keep fewer of the others."""
        part, held, place = context.part, self.memory.images(context.part.scaling), context.number % self.distinct
        tasks = torch.full_like(part.labels, place) if part.tasks is None else part.tasks
        assert held.tasks is not None
        part = replace(part, tasks=tasks)
        kinds, of_held = self.kinds(part.labels, tasks), self.kinds(held.labels, held.tasks)
        shown = kinds[tasks == place].unique().tolist()
        every = sorted({*shown, *of_held.tolist()})
        most, chosen, keys = self.memory_options.size // len(every), [], []
        for kind in every:
            if kind in shown:
                own = part.take((kinds == kind).nonzero().flatten())
                order = herding(self.features.of(self.model, own, next(self.model.parameters())), most)
                own = own.take(order.to(own.labels.device))
            else:
                own = held.take((of_held == kind).nonzero().flatten()[:most])
            chosen.append(own)
            keys.append(torch.arange(len(own)))
        self.memory.hold(chosen, torch.cat(keys))
        return Outcome()


def herding(features: Tensor, count: int) -> Tensor:
    """The places of exemplars, in order, such that the mean of the first k is near the mean of all, for every k.

        p_k = argmin_x | mu - (f(x) + sum_{j < k} f(p_j)) / k |,   mu = mean of f

    each image once.

    Args:
        features: f, (n, features), of length 1; means are not brought to length 1 here.
        count: of exemplars; fewer where there are fewer images.

    Source: Rebuffi et al., iCaRL, CVPR 2017, algorithm 4.

    Example:
        >>> herding(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), 2)
        tensor([2, 1])
    """
    mean, total, squares = features.mean(0), torch.zeros_like(features[0]), features.square().sum(1)
    free, chosen = torch.zeros(len(features), dtype=features.dtype, device=features.device), []
    for k in range(1, min(count, len(features)) + 1):
        # k^2 times the squared distance, less what all images share.
        distance = squares - 2 * features @ (k * mean - total) + free
        place = int(distance.argmin())
        chosen.append(place)
        total = total + features[place]
        free[place] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)
