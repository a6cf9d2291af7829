"""Networks whose nonlinearities are spiking neurons."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from orthotrace.core.errors import UserError, checked
from orthotrace.layers.encoding import Encoding, encoded, frame_shape
from orthotrace.layers.firing import Surrogate, number, step_weights
from orthotrace.layers.neurons import IF, LIF, Decay, Learning, Threshold, Trained
from orthotrace.layers.online import keep_traces, leaking, online_logits
from orthotrace.layers.rates import LAYERS, learn_from_rates
from orthotrace.layers.steps import State, TimeStep

Neuron = Literal["lif", "if"]
STEPS: dict[Learning, int] = {"dsr": 20, "bptt": 6, "ottt": 6}
# What has no meaning within a step: statistics over time and batch, and what looks at a whole sequence.
WHOLE = (nn.modules.batchnorm._BatchNorm, nn.RNNBase, nn.MultiheadAttention)


class SpikingNetwork(nn.Module):
    """What makes a network a spiking one: its images are shown over time, its logits are means over time.

    Called with images (n, ...) it gives logits (n, classes), as any network does. In between time is folded into the
    batch, step after step: each layer is one product over all steps, and only the neurons go through time.

    Under ottt the network runs step by step, and a step is also to be had alone, ``logits, state = model(images,
    state)``, from ``state = model.rest``: for a loss at every step, and an update after it. Trained as any network it
    gives mean logits whose ``over_steps``, (steps, n, classes), are those of each step: the loss of a task is their
    mean loss. Its memory does not grow with the steps, since its backward pass runs each step anew.

    Args:
        shape: of images; with frames (2 steps, height, width), of which the network below has (2, height, width).
        classes: of the network below.
        neuron, learning, steps, threshold, decay, encoding, surrogate, trained: see spiking; here dsr is the default,
            as in the paper of HLOP.
        **options: of the network below.

    Attributes:
        steps: of time.
        learning: how.
    """

    steps: int
    learning: Learning
    encoding: Encoding
    decay: float
    # Whether the first neurons repeat constant currents, and the modules before them.
    repeats: bool
    before_neurons: frozenset[str]
    # Of a network at rest.
    rest = State()

    @checked
    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        neuron: Neuron = "lif",
        learning: Learning = "dsr",
        steps: Annotated[int, Field(ge=1)] | None = None,
        threshold: Threshold | None = None,
        decay: Decay | None = None,
        encoding: Encoding = "constant",
        surrogate: Surrogate = "sigmoid",
        trained: Sequence[Trained] | None = None,
        **options: Any,
    ) -> None:
        if encoding == "frames":
            shape = frame_shape(shape, STEPS[learning] if steps is None else steps)
        build: Any = super().__init__
        build(shape, classes, **options)
        _make_spiking(self, neuron, learning, steps, encoding, threshold, decay, surrogate, trained)

    # The argument has the name that torch gives it.
    def forward(self, input: Tensor, state: State | None = None) -> Any:  # noqa: A002
        """Logits (n, classes) of images; with a state the outputs of one step, and the state after it."""
        run: Any = super().forward
        if state is not None:
            with TimeStep(state) as step:
                return run(input), step.after
        if self.learning == "ottt" and torch.is_grad_enabled():
            return self._online(input)
        return self.over_time(run(input if self.repeats else torch.cat(list(self._encoded(input)))))

    def over_time(self, values: Tensor) -> Tensor:
        """The mean over time of values (steps * n, ...) that are folded: under dsr weighted as rates are, (n, ...)."""
        return self.rates(values.unflatten(0, (self.steps, -1)))

    def rates(self, over_steps: Tensor) -> Tensor:
        """The mean over some steps of values (steps, n, ...): under dsr weighted as rates are, (n, ...)."""
        if self.learning == "dsr":
            weights = step_weights(len(over_steps), self.decay, like=over_steps)
            return torch.inner(over_steps.movedim(0, -1), weights)
        return over_steps.mean(0)

    def _encoded(self, images: Tensor) -> Iterator[Tensor]:
        return encoded(images, self.steps, self.encoding, None if self.training else 0)

    def _online(self, images: Tensor) -> Tensor:
        if self.training:
            over_steps = online_logits(self, images)
        else:
            found, state = [], self.rest
            for inputs in self._encoded(images):
                outputs, state = self(inputs, state)
                found.append(outputs)
            over_steps = torch.stack(found)
        mean: Any = over_steps.mean(0)
        mean.over_steps = over_steps
        return mean

    def observed(self, name: str, calls: Sequence[Tensor]) -> list[Tensor]:
        """What a Hebbian rule sees of a layer's inputs in a forward pass: what its weights' gradient is made of.

        Under dsr the weighted firing rates, under bptt the spikes of all steps, under ottt the spikes of each step and
        their trace.

        Args:
            name: of the layer.
            calls: its inputs, call by call.
        """
        if self.learning == "dsr" and name not in self.before_neurons:
            return [self.over_time(call) for call in calls]
        if self.learning != "ottt" or (leak := leaking(self.get_submodule(name))) is None:
            return list(calls)
        by_step = list(calls[0].unflatten(0, (self.steps, -1))) if len(calls) == 1 else list(calls)
        found, trace = by_step[:1], by_step[0]
        for inputs in by_step[1:]:
            trace = torch.add(inputs, trace, alpha=leak)
            found += [inputs, trace]
        return found


def spiking(
    model: nn.Module,
    steps: int | None = None,
    learning: Learning = "bptt",
    neuron: Neuron = "lif",
    threshold: float | None = None,
    decay: float | None = None,
    encoding: Encoding = "constant",
    surrogate: Surrogate = "sigmoid",
    trained: Sequence[Trained] | None = None,
) -> Any:
    """Turn a network of Linear layers, convolutions and ReLUs into a spiking one: neurons take the place of each ReLU.

    It is called as before, images to logits, and its layers, their names and their weights are what they were. See
    SpikingNetwork for how it runs, LIF for the neurons.

    Args:
        model: any torch module of one input, whose ReLUs are modules; changed in place.
        steps: of time, at least 1; None for 20 under dsr, else 6.
        learning: "dsr", differentiation on spike representations; "bptt", backpropagation through time with a
            surrogate slope; "ottt", online through time.
        neuron: "lif", leaky integrate-and-fire, or "if", without a leak.
        threshold: above 0; None for 6 under dsr, where a spike is as high as the threshold, else 1.
        decay: of the membrane at a step, in (0, 1]; None for exp(-.05) under dsr, else .5. Of if neurons it is 1.
        encoding: "constant", the image is the current of each step; "rate" or "latency", spikes; "frames", a frame for
            each step, see encoded.
        surrogate: slope of a spike under bptt and ottt, "sigmoid" or "atan".
        trained: beside the weights: "threshold", "decay" (under bptt); None for the threshold under dsr.

    Returns:
        The model.

    Raises:
        UserError: a value out of its range; no ReLU, or another nonlinearity; under ottt a layer that needs all steps
            at once, such as batch normalisation; a network that spikes already.

    Sources: Meng et al., CVPR 2022 (dsr); Neftci et al. 2019 (bptt); Xiao et al., NeurIPS 2022 (ottt); Xiao et al.,
    ICLR 2024, for continual learning with them.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> spiking(model, steps=5)(torch.randn(3, 4)).shape, model[1]
        (torch.Size([3, 2]), LIF(steps=5, learning=bptt, threshold=1, decay=0.5))
    """
    if isinstance(model, SpikingNetwork):
        raise UserError("this network spikes already", "model")
    _make_spiking(model, neuron, learning, steps, encoding, threshold, decay, surrogate, trained)
    return model


@checked
def _make_spiking(
    model: nn.Module,
    neuron: Neuron,
    learning: Learning,
    steps: Annotated[int, Field(ge=1)] | None,
    encoding: Encoding,
    threshold: Threshold | None,
    decay: Decay | None,
    surrogate: Surrogate,
    trained: Sequence[Trained] | None,
) -> None:
    if isinstance(model, nn.ReLU):
        raise UserError("a single ReLU is no network: put it into one, such as nn.Sequential", "model")
    _refuse(model, learning)
    count = STEPS[learning] if steps is None else steps
    options: dict[str, Any] = {
        "steps": count,
        "learning": learning,
        "threshold": threshold,
        "surrogate": surrogate,
        "trained": trained,
        "decay": decay,
    }
    make = LIF if neuron == "lif" else IF
    # Before the first neuron of a chain a constant current needs one product for all steps.
    chain = encoding == "constant" and learning != "ottt" and _starts_as_chain(model)
    before: list[str] = []
    network: Any = model
    # A ReLU that stands in several places becomes neurons of each.
    modules = dict(model.named_modules(remove_duplicate=False))
    parameter = next(model.parameters(), torch.zeros(()))
    first = True
    for name, module in modules.items():
        if isinstance(module, nn.ReLU):
            place, _, last = name.rpartition(".")
            if getattr(model.get_submodule(place), last) is not module:
                # Of a block that stands in several places.
                continue
            made = make(**options, repeats=chain and first).to(parameter.device, parameter.dtype)
            setattr(model.get_submodule(place), last, made)
            first = False
        elif chain and first:
            before.append(name)
    neurons = [module for module in model.modules() if isinstance(module, LIF)]
    if not isinstance(model, SpikingNetwork):
        network.__class__ = _spiking_class(type(model))
    network.steps, network.learning, network.encoding = count, learning, encoding
    network.decay = number(neurons[0].decay)
    network.repeats, network.before_neurons = chain, frozenset(before)
    if learning == "ottt":
        keep_traces(network, LAYERS)
    elif learning == "dsr" and isinstance(model, nn.Sequential):
        learn_from_rates(network, count, network.decay)


def _starts_as_chain(model: nn.Module) -> bool:
    """Whether nothing but what comes before the first neurons sees the images, and these neurons are called once."""
    places = list(model.named_modules(remove_duplicate=False))
    name = next(name for name, module in places if isinstance(module, nn.ReLU))
    blocks = [module for place, module in places if not place or name.startswith(f"{place}.")]
    return all(_is_chain(block) and sum(module is block for _, module in places) == 1 for block in blocks)


def _is_chain(block: nn.Module) -> bool:
    kinds = [kind for kind in type(block).__mro__ if kind is not SpikingNetwork]
    return next(vars(kind)["forward"] for kind in kinds if "forward" in vars(kind)) is nn.Sequential.forward


def _refuse(model: nn.Module, learning: Learning) -> None:
    found = False
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, nn.ReLU):
            found = True
        elif type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention):
            raise UserError(f"layer '{name}' ({kind}) has no spiking form: only ReLU has", "model")
        if learning == "ottt" and isinstance(module, WHOLE):
            raise UserError(
                f"ottt learns step by step, and layer '{name}' ({kind}) needs all steps at once: take another "
                "normalisation or none (spiking_convnet takes norm=False), or bptt or dsr",
                "learning",
            )
    if not found:
        raise UserError(
            "there is no nn.ReLU whose place neurons could take: a function such as F.relu is none", "model"
        )


@functools.cache
def _spiking_class(kind: type[nn.Module]) -> type[nn.Module]:
    """A class of networks that spike, of the same name; one for each class."""
    return type(kind.__name__, (SpikingNetwork, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})
