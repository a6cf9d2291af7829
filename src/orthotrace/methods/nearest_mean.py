"""Classification by the nearest class mean of the features before the readout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from orthotrace.core.errors import UserError
from orthotrace.data.images import Images
from orthotrace.data.streams import Stream
from orthotrace.layers.spiking import SpikingNetwork
from orthotrace.methods.base import Method
from orthotrace.methods.context import TaskContext
from orthotrace.methods.memory import Memory
from orthotrace.methods.projection import output_layer

# Images at once.
BATCH = 1024


class Features:
    """phi(x), or phi(x) / |phi(x)|, with phi(x) what a network gives its readout.

    Where the readout is applied at several places, steps or times, phi is the mean over them.

    Args:
        model: with a readout: the last Linear layer with as many outputs as the network, or a last convolution with as
            many maps.
        stream: whose images it takes.
        unit: give them length 1.

    Raises:
        UserError: there is no readout, or it is not given an input of each image.

    Example:
        >>> from orthotrace.data.sources import digits
        >>> from orthotrace.data.streams import Permuted
        >>> from orthotrace.models.mlp import MLP
        >>> model, stream = MLP((1, 8, 8), 10, hidden=[7]), Permuted(digits())
        >>> features = Features(model, stream)
        >>> features.name, features(model, torch.ones(3, 1, 8, 8)).norm(dim=1).round(decimals=5).tolist()
        ('head', [1.0, 1.0, 1.0])
    """

    def __init__(self, model: nn.Module, stream: Stream, unit: bool = True) -> None:
        self.unit = unit
        try:
            # Also of parametrised weights, such as adapters and orthogonal ones.
            layers = {name: one for name, one in model.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
            self.name = output_layer(layers, stream.active.outputs)
        except UserError as error:
            raise UserError(
                f"no Linear layer has {stream.active.outputs} outputs, so the features before the readout are not known"
            ) from error
        like = next(model.parameters())
        found = self(model, stream.test(0).inputs(torch.arange(2), like))
        if found.ndim != 2 or len(found) != 2:
            raise UserError(f"the readout '{self.name}' is not given an input of each image")
        self.count = found.shape[1]

    @torch.no_grad()
    def __call__(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Of inputs (n, ...) the features (n, features); the network's own mode is kept.

        Args:
            network: the model, or a copy of it.
            inputs: of it.
        """
        calls: list[Tensor] = []

        def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append(args[0] if args else kwargs["input"])

        training = network.training
        network.eval()
        handle = network.get_submodule(self.name).register_forward_pre_hook(keep, with_kwargs=True)
        try:
            network(inputs)
        finally:
            handle.remove()
            network.train(training)
        if not calls:
            raise UserError(f"the readout '{self.name}' was not called")
        found = calls[0] if len(calls) == 1 else torch.stack(calls).mean(0)
        if isinstance(network, SpikingNetwork) and len(found) == network.steps * len(inputs):
            found = network.over_time(found)
        if isinstance(network.get_submodule(self.name), nn.Linear):
            found = found.flatten(1, -2).mean(1) if found.ndim > 2 else found
        else:
            found = found.flatten(2).mean(2)
        return normalize(found, dim=1) if self.unit else found

    def of(self, network: nn.Module, part: Images, like: Tensor) -> Tensor:
        """Of all images of a part, as they are at a test, (n, features), in float64 on the CPU."""
        found = [torch.empty(0, self.count, dtype=torch.float64)]
        with parametrize.cached():
            found += [self(network, inputs).cpu().double() for inputs, _ in part.split(BATCH, like)]
        return torch.cat(found)


@dataclass(frozen=True)
class Kinds:
    """The kinds of images that have a mean of their own: classes; domain-incremental, the classes of each task.

    Attributes:
        outputs: of the network.
        tasks: whose classes are told apart; 1 where a class is of one task.

    Example:
        >>> Kinds(outputs=2, tasks=3)(torch.tensor([0, 1]), torch.tensor([0, 4]))
        tensor([0, 3])
    """

    outputs: int
    tasks: int

    @staticmethod
    def of(stream: Stream) -> Kinds:
        """Those of a stream."""
        return Kinds(stream.active.outputs, stream.distinct if stream.scenario == "domain" else 1)

    def __call__(self, labels: Tensor, tasks: Tensor) -> Tensor:
        """The kind of each image, (n,), from 0."""
        return labels + self.outputs * (tasks % self.tasks)


class NearestMean(nn.Module):
    """Tests a network by the nearest class mean, in the place of its readout.

        y(x) = argmin_y | f(x) - mu_y |,   f(x) = phi(x) / |phi(x)|,   mu_y = sum_i f(x_i) / | sum_i f(x_i) |

    with phi what the readout is given, over the images x_i of class y, among the classes whose outputs are active. In
    the domain-incremental scenario each task has means of its own, and the nearest of all decides.

    The means of a task's classes are of its training images, by the network after the task. A method with a memory has
    those of earlier tasks computed anew from it after every task, of those classes of which it holds images; other
    means stay as they were computed, though features have moved. Those of a method that is always tested like this, as
    iCaRL is, are of its memory alone.

    The untrained network is tested by its readout, and so are training and validation images during training.

    Args:
        model: the network.
        method: how it learns; already set up with it.
        stream: of classes.

    Raises:
        UserError: a regression, or as for Features.

    Source: Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, CVPR 2017, eq. 2; features and
    means have length 1 as there, section 2.1.
    """

    def __init__(self, model: nn.Module, method: Method, stream: Stream) -> None:
        super().__init__()
        if stream.regression:
            raise UserError("is for classes, and this data set has targets: set false")
        # In a tuple: they are not part of its state.
        self._parts = (model, method)
        self.features = Features(model, stream)
        self.kinds = Kinds.of(stream)
        like = next(model.parameters())
        for task in range(self.kinds.tasks):
            self.register_buffer(f"means_{task}", like.new_zeros(self.kinds.outputs, self.features.count))

    @property
    def means(self) -> Tensor:
        """Of each kind its mean, (kinds, features), of length 1; 0 where none is known."""
        return torch.cat(list(self.buffers()))

    @property
    def memory_bytes(self) -> int:
        """What the means take."""
        return self.means.numel() * self.means.element_size()

    @torch.no_grad()
    def update(self, context: TaskContext) -> None:
        """Compute the means from the images of a task, and from the method's memory."""
        _, method = self._parts
        part, memory = context.part, getattr(method, "memory", None)
        if part.tasks is None:
            part = replace(part, tasks=torch.full_like(part.labels, context.number))
        kinds, shown = self._kinds(part), []
        if isinstance(memory, Memory):
            held = memory.images(part.scaling)
            of_memory = self._kinds(held)
            if method.nearest_mean:
                part = part.take((~torch.isin(kinds, of_memory.to(kinds.device))).nonzero().flatten())
            else:
                held = held.take((~torch.isin(of_memory, kinds.to(of_memory.device))).nonzero().flatten())
            shown.append(held)
        means, sums = self.means.clone(), torch.zeros(self.means.shape, dtype=torch.float64)
        for images in (*shown, part):
            self._add(sums, images)
        seen = torch.cat([self._kinds(images).cpu() for images in (*shown, part)]).unique()
        means[seen.to(means.device)] = normalize(sums[seen], dim=1).to(means)
        for buffer, values in zip(self.buffers(), means.split(self.kinds.outputs), strict=True):
            buffer.copy_(values)

    def _kinds(self, part: Images) -> Tensor:
        assert part.tasks is not None
        return self.kinds(part.labels, part.tasks)

    def _add(self, sums: Tensor, part: Images) -> None:
        """Add the features of images to the sums of their kinds, each by the network of its task."""
        model, method = self._parts
        assert part.tasks is not None
        for task in part.tasks.unique().tolist():
            own = part.take((part.tasks == task).nonzero().flatten())
            sums.index_add_(0, self._kinds(own).cpu(), self.features.of(method.network(model, task), own, self.means))

    def over(self, network: nn.Module) -> nn.Module:
        """A network whose outputs are f(x) mu_y, (n, outputs), the largest where the mean is nearest."""
        return _Similarities(network, self)


class _Similarities(nn.Module):
    """The outputs of a network that is tested by the nearest mean."""

    def __init__(self, network: nn.Module, nearest: NearestMean) -> None:
        super().__init__()
        self.network = network
        # In a tuple: no submodule, whose mode would be changed.
        self._nearest = (nearest,)
        self.training = network.training

    def forward(self, inputs: Tensor) -> Tensor:
        (nearest,) = self._nearest
        means = nearest.means
        found = nearest.features(self.network, inputs) @ means.T
        found = found.masked_fill(~means.any(1), -torch.inf)
        return found.unflatten(1, (nearest.kinds.tasks, nearest.kinds.outputs)).amax(1)
