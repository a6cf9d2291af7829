"""One forward pass, followed as it happens: which operation made each tensor, from which others.

Operations are seen as they are called (torch.overrides), so that functions such as F.relu and sums count as much as
modules do, and control flow may depend on the data. Fused paths, such as that of a TransformerEncoderLayer in
evaluation mode, are not taken by torch while it is watched, so that their layers can be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from orthotrace.analysis.networks.operations import Kind, kind_of_function, kind_of_module, name_of
from orthotrace.analysis.networks.windows import TimeReading
from orthotrace.layers.spiking import SpikingNetwork


@dataclass
class Operation:
    """An operation that depends on the input of the network.

    Attributes:
        kind: what it is.
        name: of its module, or of the function.
        module: the innermost module in which it is called; itself where it is one.
        call: which call of that module it is, from 1.
        inputs: the steps whose outputs it takes.
        places: where its output is seen, alone or in another shape: (event, item), with the shapes.
        shape: of its output.
        function: whether it is a function, not a module.
        timed: whether its output has all steps of a spiking network, not a mean over them.
    """

    kind: Kind
    name: str
    module: str
    call: int
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    function: bool
    timed: bool = False
    places: list[tuple[int, str, tuple[int, ...]]] = field(default_factory=list)


@dataclass
class Call:
    """A call of a module.

    Attributes:
        module: its name.
        number: of the call, from 1.
        entered, left: the events.
        inputs: item of its arguments -> step; None where it is unknown.
        given: shape of the first.
        outputs: item -> step; None where it is unknown, or a part of what the step gives.
        shapes: item of its outputs -> shape; None of what is no tensor that can be read.
    """

    module: str
    number: int
    entered: int
    left: int = -1
    inputs: dict[str, int | None] = field(default_factory=dict)
    given: tuple[int, ...] = ()
    outputs: dict[str, int | None] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Forward(TorchFunctionMode):
    """Follows a forward pass, or reads tensors at events that an earlier one has found.

    What a spiking network has for each step of time is seen as its mean over time, firing rates, unless time says else.

    Args:
        model: in evaluation mode.
        follow: keep every step; all tensors of the pass are held.
        picks: (event, item): the tensors to read.
        functions: whether functions are seen, or modules alone.
        time: how a spiking network is read.
    """

    def __init__(
        self,
        model: nn.Module,
        follow: bool,
        picks: Collection[tuple[int, str]] = (),
        functions: bool = True,
        time: TimeReading | None = None,
    ) -> None:
        super().__init__()
        self.model, self.follow, self.functions = model, follow, functions
        self.time = time or TimeReading()
        self.events: list[str] = []
        self.steps: list[Operation] = []
        self.calls: list[Call] = []
        # What is seen there: end of the layer's name, of a window of time -> (n, ...), of spikes (n, steps, ...).
        self.read: dict[tuple[int, str], dict[str, Tensor]] = {}
        self.outputs: list[int] = []
        self._picks: dict[int, list[str]] = {}
        for event, item in picks:
            self._picks.setdefault(event, []).append(item)
        self._made: dict[int, int] = {}
        # What is a step's output itself, not a part of it such as the last state of a recurrent layer.
        self._whole: set[int] = set()
        self._held: list[Any] = []
        self._open: list[Call] = []
        self._inside = 0
        self._count: dict[str, int] = {}
        # Rows of what a spiking network folds time into.
        self._folded = 0

    def run(self, batch: Tensor) -> None:
        """One pass, of a batch."""
        if isinstance(self.model, SpikingNetwork) and self.model.steps > 1:
            self._folded = self.model.steps * len(batch)
        with ExitStack() as stack:
            for name, module in self.model.named_modules():
                # The weights of a parametrised layer do not depend on the input; a ScriptModule takes no hooks.
                if "parametrizations" not in name.split(".") and not isinstance(module, torch.jit.ScriptModule):
                    for handle in self._hooks(name, module):
                        stack.callback(handle.remove)
            stack.enter_context(torch.no_grad())
            # A compiled network runs as it was written. Where none is, this is not imported: it takes seconds.
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            if self.functions:
                stack.enter_context(self)
            first = self._event("input", {"": batch})
            if self.follow:
                self._step("other", "input", "", (), {"": batch}, first, function=False)
            found = self.model(batch)
            if self.follow:
                self.outputs = [step for one in tensors_in(found).values() if (step := self._step_of(one)) is not None]
        self._held.clear()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and take note of it."""
        kwargs = kwargs or {}
        # A step that works in place overwrites what made its argument.
        before = self._inputs([args, kwargs]) if self.follow and not self._inside else ()
        found = func(*args, **kwargs)
        if self._inside:
            return found
        name = name_of(func)
        given = args[0] if name == "__setitem__" else found
        made = tensors_in(given)
        if made:
            event = self._event(name, made)
            if self.follow and before:
                tensors = len({id(one) for one in tensors_in([args, kwargs]).values()})
                kind = kind_of_function(name, len(set(before)), tensors)
                if name == "__get__" and next(iter(made.values())).ndim > 1:
                    kind = "same"
                self._step(kind, name, self._open[-1].module if self._open else "", before, made, event)
        return found

    def _hooks(self, name: str, module: nn.Module) -> Iterator[Any]:
        kind = kind_of_module(module)

        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._count[name] = self._count.get(name, 0) + 1
            given = tensors_in([*args, *kwargs.values()])
            call = Call(name, self._count[name], self._event(f"into {name}", given))
            call.given = self._shape(next(iter(given.values()))) if given else ()
            call.inputs = {item: self._step_of(one) for item, one in given.items()}
            self._open.append(call)
            self._inside += kind is not None

        def leave(module: nn.Module, args: Any, kwargs: Any, found: Any) -> None:
            self._inside -= kind is not None
            call = self._open.pop()
            made = tensors_in(found)
            call.left = self._event(f"out of {name}", made)
            call.shapes = {item: self._shape(one) for item, one in made.items()}
            if self.follow:
                inputs = tuple(dict.fromkeys(step for step in call.inputs.values() if step is not None))
                if kind is not None and not self._inside and made:
                    self._step(kind, name, name, inputs, made, call.left, call.number, function=False)
                call.outputs = {
                    item: self._step_of(one) if id(one) in self._whole else None for item, one in made.items()
                }
                for item, step in call.outputs.items():
                    if step is not None:
                        self.steps[step].places.append((call.left, item, call.shapes[item]))
                self.calls.append(call)
                self._held.append(found)

        yield module.register_forward_pre_hook(enter, with_kwargs=True)
        yield module.register_forward_hook(leave, with_kwargs=True)

    def _event(self, name: str, made: Mapping[str, Tensor]) -> int:
        number = len(self.events)
        self.events.append(name)
        for item in self._picks.get(number, ()):
            if item in made:
                # A copy: an in-place operation later in the network would overwrite it. It is no step of the network.
                self._inside += 1
                parts = self._over_time(made[item].detach())
                self.read[number, item] = {end: part.clone() for end, part in parts.items()}
                self._inside -= 1
        return number

    def _step(
        self,
        kind: Kind,
        name: str,
        module: str,
        inputs: tuple[int, ...],
        made: Mapping[str, Tensor],
        event: int,
        call: int = 1,
        function: bool = True,
    ) -> None:
        item, first = next(iter(made.items()))
        self._held.append(list(made.values()))
        if function:
            call = self._count.get(module, 1)
        if kind == "same" and len(inputs) == 1 and len(made) == 1:
            number = inputs[0]
            self.steps[number].places.append((event, item, self._shape(first)))
        else:
            number = len(self.steps)
            shape = self._shape(first)
            kind = "other" if kind == "same" else kind
            places = [(event, item, shape)]
            timed = shape != tuple(first.shape)
            self.steps.append(Operation(kind, name, module, call, inputs, shape, function, timed, places))
        self._made.update((id(one), number) for one in made.values())
        self._whole.difference_update(map(id, made.values()))
        self._whole.add(id(first))

    def _over_time(self, value: Tensor) -> dict[str, Tensor]:
        if isinstance(self.model, SpikingNetwork) and value.ndim:
            if self._folded and len(value) == self._folded:
                return self.time.parts(self.model, value.unflatten(0, (self.model.steps, -1)))
            if self.time.spikes:
                # The same at every step.
                return {"": value.unsqueeze(1).expand(-1, self.model.steps, *value.shape[1:])}
        return {"": value}

    def _shape(self, value: Tensor) -> tuple[int, ...]:
        shape = tuple(value.shape)
        if self._folded and shape[:1] == (self._folded,) and isinstance(self.model, SpikingNetwork):
            return (shape[0] // self.model.steps, *shape[1:])
        return shape

    def _inputs(self, values: Any) -> tuple[int, ...]:
        found = (self._step_of(one) for one in tensors_in(values).values())
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def _step_of(self, value: Tensor) -> int | None:
        return self._made.get(id(value))


def tensors_in(values: Any, item: str = "") -> dict[str, Tensor]:
    """The tensors in nested tuples, lists and dictionaries, by their items.

    Example:
        >>> list(tensors_in((torch.ones(2), {"a": torch.ones(3)}, None)))
        ['[0]', '[1][a]']
    """
    if isinstance(values, Tensor):
        return {item: values}
    pairs: Any = ()
    if isinstance(values, Mapping):
        pairs = values.items()
    elif isinstance(values, (tuple, list)):
        pairs = enumerate(values)
    found: dict[str, Tensor] = {}
    for key, value in pairs:
        found |= tensors_in(value, f"{item}[{key}]")
    return found
