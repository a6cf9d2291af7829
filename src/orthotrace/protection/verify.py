"""Whether a network still does with a few remembered inputs what it did: what no rule foresaw is found by trying."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from orthotrace.core.errors import UserError
from orthotrace.protection.attention import slow_attention
from orthotrace.protection.matrices import where

# Inputs kept of each task, numbers at most where they cannot be cut, and tasks: the first, and the last ones.
FEW = 8
MANY = 1_000_000
TASKS = 8
# Of inputs, what a file keeps.
PLAIN = (Tensor, int, float, bool, str, type(None))
# Bytes of what modules gave for the inputs of a task: of wide networks fewer inputs are kept, one at least.
BYTES = 32_000_000


class Done(NamedTuple):
    """A call of a module: its name, what it was given, and what it gave."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class Moved(NamedTuple):
    """Where a pass differs first: the module, empty for the network itself, by how much of its size, and of which task.

    Attributes:
        given: whether it is what the module is given, in place of what it gives.
    """

    name: str
    size: float
    task: int
    given: bool = False


class Replay:
    """Replays a few inputs of earlier tasks, and compares what the network does with what it did.

    The free directions of the weights held may move an output, and should; all else may not. So a pass is repeated in
    which every layer that is held gives what it gave then: whatever else the network consists of must give the same,
    and give these layers the same.
    And each of these layers is called once more with the inputs of then and the weights of then: it must give the same
    too, or something else is applied to it.

    Args:
        model: whose passes.
        layers: that are held, by name.
        starts: puts the weights of the task's start into all layers held, and returns a function that undoes it.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Softplus())
        >>> replay = Replay(model, {"0": model[0]}, lambda: lambda: None)
        >>> replay.keep(torch.ones(3, 2))
        >>> replay.record()
        >>> model[1].beta = 2.0
        >>> found = replay.moved(tolerance=1e-4)
        >>> found.name, found.task, found.given
        ('1', 1, False)
    """

    def __init__(
        self, model: nn.Module, layers: Mapping[str, nn.Module], starts: Callable[[], Callable[[], None]]
    ) -> None:
        self._model = model
        self._layers = dict(layers)
        self._starts = starts
        # Number of a task -> inputs.
        self._inputs: dict[int, tuple[Any, ...]] = {}
        # Of each the calls of a pass at the task's start; none where two passes differ.
        self._before: dict[int, list[Done]] = {}
        # Of the last task the calls of a pass at its end.
        self._since: list[Done] | None = None
        self._ended = 0

    def keep(self, *inputs: Any) -> None:
        """Keep a few inputs of a task that has ended: of a batch the first, of several inputs all or none.

        Warns where the network cannot be replayed: that task is not looked at.
        """
        self._ended += 1
        self._since = None
        one = inputs[0] if len(inputs) == 1 else None
        if isinstance(one, Tensor) and (len(one) <= FEW or self._takes(one[:FEW])):
            self._inputs[self._ended] = (one[:FEW].detach().clone(),)
        elif sum(value.numel() for value in _tensors(inputs)) <= MANY:
            self._inputs[self._ended] = _copied(inputs)
        if len(self._inputs) > TASKS:
            del self._inputs[sorted(self._inputs)[1]]
        calls = self._repeated(self._ended)
        if calls and isinstance(one, Tensor) and (size := _size(calls)) > BYTES and len(one) > 1:
            fewer = one[: max(min(FEW, len(one)) * BYTES // size, 1)]
            if self._takes(fewer):
                self._inputs[self._ended] = (fewer.detach().clone(),)
                calls = self._repeated(self._ended)
        self._since = calls

    def kept(self) -> tuple[int, dict[int, list[Any]]]:
        """Tasks that have ended; of those whose inputs are tensors and plain values the inputs, by number, from 1."""
        return self._ended, {
            task: list(one) for task, one in self._inputs.items() if all(type(value) in PLAIN for value in one)
        }

    def take_up(self, ended: int, inputs: Mapping[int, Sequence[Any]]) -> None:
        """Go on with what kept gave."""
        device = next(self._model.parameters()).device
        self._ended, self._since = ended, None
        self._before = {}
        self._inputs = {
            task: tuple(value.to(device) if isinstance(value, Tensor) else value for value in one)
            for task, one in inputs.items()
        }

    def apply(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a function to the inputs that are kept, such as one that moves them to another device."""
        self._inputs = {task: tree_map(_of_tensors(fn), one) for task, one in self._inputs.items()}
        self._before, self._since = {}, None

    def _takes(self, few: Tensor) -> bool:
        """Whether the model takes a few of a batch: not where the first dimension is time, or features."""
        try:
            with self._unnoticed(), self._quietly():
                self._model(few.detach().clone())
        except Exception:
            # Whatever the network raises: it is asked with the whole batch instead.
            return False
        return True

    def _repeated(self, task: int) -> list[Done] | None:
        """The calls of a pass that is the same when it is repeated; None, with a warning, where there is none."""
        if task not in self._inputs:
            return None
        why = "its outputs differ from pass to pass in evaluation mode"
        try:
            with self._unnoticed():
                calls, again = self._calls(self._inputs[task]), self._calls(self._inputs[task])
        except Exception as error:
            # Whatever the network raises: such as one that carries a state of batches of another size.
            why = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            if len(calls) == len(again) and all(
                _difference(one.output, other.output) == 0 for one, other in zip(calls, again, strict=True)
            ):
                return calls
        del self._inputs[task]
        warnings.warn(
            f"inputs of task {task} cannot be replayed ({why}): that nothing beside the weights moves what the network "
            "does with them is not looked at; Guard(..., verify=False) asks for no replay",
            stacklevel=4,
        )
        return None

    def since(self, tolerance: float) -> Moved | None:
        """The first layer that gives something else than when the last task ended, see moved.

        Only the layers held are called: what else a network does may be set for the task to come.
        """
        return None if self._since is None else self._applied(self._since, self._ended, tolerance)

    def record(self) -> None:
        """Note what the network does with them, at a task's start."""
        found = {task: self._repeated(task) for task in list(self._inputs)}
        self._before = {task: calls for task, calls in found.items() if calls is not None}

    @property
    def recorded(self) -> bool:
        """Whether it is known what the network did at the task's start."""
        return bool(self._before)

    def moved(self, tolerance: float, restored: bool = False) -> Moved | None:
        """The first module that does something else, by how much in relation to what it gave, and of which task.

        Args:
            tolerance: of the difference.
            restored: compare passes with the weights of then: where weights are used outside of their layers too.

        Returns:
            None where all is as it was. The name is empty where it is the network itself.
        """
        for task, before in self._before.items():
            undo = self._starts() if restored else lambda: None
            try:
                with self._unnoticed():
                    now = self._calls(self._inputs[task], instead=before)
            finally:
                undo()
            for one, other in zip(before, now, strict=False):
                if one.name != other.name:
                    return Moved(one.name, float("inf"), task)
                if (size := _difference(_given(one), _given(other))) > tolerance:
                    return Moved(one.name, size, task, given=True)
                if (size := _difference(one.output, other.output)) > tolerance:
                    return Moved(one.name, size, task)
            if len(now) != len(before):
                return Moved("", float("inf"), task)
            undo = self._starts()
            try:
                found = self._applied(before, task, tolerance)
            finally:
                undo()
            if found is not None:
                return found
        return None

    def _applied(self, calls: Sequence[Done], task: int, tolerance: float) -> Moved | None:
        """The first layer held that gives something else for what it was given in these calls."""
        with self._quietly():
            for one in calls:
                if one.name in self._layers:
                    output = self._layers[one.name](*_copied(one.args), **_copied(one.kwargs))
                    if (size := _difference(one.output, output)) > tolerance:
                        return Moved(one.name, size, task)
        return None

    def _calls(self, inputs: tuple[Any, ...], instead: Sequence[Done] = ()) -> list[Done]:
        """The calls of a pass in their order, the layers held giving what they gave instead."""
        found: list[Done] = []
        given: dict[str, Iterator[Done]] = {
            name: iter([one for one in instead if one.name == name]) for name in self._layers
        }
        held = {id(layer): name for name, layer in self._layers.items()}
        within = [0]
        # Of calls that run, what they were given, before other hooks change it.
        given_to: list[tuple[Any, Any]] = []

        def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
            within[0] += id(module) in held
            keep = id(module) in held and within[0] == 1
            given_to.append((_copied(args), _copied(kwargs)) if keep else ((), {}))

        def leave(name: str) -> Any:
            def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
                own = held.get(id(module))
                within[0] -= own is not None
                first = given_to.pop()
                if within[0]:
                    # Inside of a layer that is held as a whole.
                    return None
                then = next(given[own], None) if own is not None and instead else None
                output = output if then is None else _copied(then.output)
                found.append(Done(name, *first, _copied(output)))
                return output

            return note

        handles = []
        for name, module in self._model.named_modules():
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(leave(held.get(id(module), name)), with_kwargs=True))
        try:
            with self._quietly():
                self._model(*_copied(inputs))
        finally:
            for handle in handles:
                handle.remove()
        return found

    @contextmanager
    def _unnoticed(self) -> Iterator[None]:
        """What modules keep in attributes, such as the state of a recurrent network, is afterwards what it was."""
        kept = [
            (module, {name: value for name, value in vars(module).items() if not name.startswith("_")})
            for module in self._model.modules()
        ]
        try:
            yield
        finally:
            for module, was in kept:
                own = vars(module)
                for name in [name for name in own if not name.startswith("_") and name not in was]:
                    del own[name]
                own.update(was)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """In evaluation mode, without gradients; modes, buffers and random numbers are afterwards what they were."""
        modes = [(module, module.training) for module in self._model.modules()]
        buffers = [(value, value.clone()) for value in self._model.buffers()]
        device = next(self._model.parameters()).device
        # What a compiled network made of hooks that come and go would be compiled anew, until it gives up.
        eager = torch.compiler.set_stance("force_eager")
        devices = [device] if device.type == "cuda" else []
        with (
            eager,
            slow_attention(),
            torch.no_grad(),
            torch.random.fork_rng(devices),
            torch.autocast(device.type, enabled=False),
        ):
            torch.manual_seed(0)
            try:
                for module, _ in modes:
                    module.training = False
                yield
            finally:
                for module, mode in modes:
                    module.training = mode
                for value, was in buffers:
                    # One that others share memory with, such as an expanded one, cannot be written.
                    if value.layout is not torch.strided or not torch.equal(value, was):
                        value.copy_(was)


def report(found: Moved | None) -> None:
    """Report what Replay found.

    Raises:
        UserError: it found something.
    """
    if found is not None:
        size = f"a difference of {found.size:.2g} of its size"
        if found.size == float("inf"):
            size = "other calls, shapes or infinite values; set what chooses the part of a task before the block"
        what = "is given" if found.given else "gives"
        part = "before it" if found.given else "in it"
        raise UserError(
            f"{where(found.name)} {what} something else for inputs of remembered task {found.task} ({size}), beyond "
            f"what the weights held may change: something {part} moves that nothing holds; look at what the network "
            "keeps from call to call, or at what hooks apply"
        )


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(values):
        yield from _tensors([getattr(values, field.name) for field in dataclasses.fields(values)])


def _given(call: Done) -> list[Any]:
    """What a call was given, which is kept of layers held alone."""
    return [call.args, call.kwargs]


def _of_tensors(fn: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    return lambda value: fn(value) if isinstance(value, Tensor) else value


def _size(calls: Sequence[Done]) -> int:
    """Bytes of what calls keep."""
    return sum(value.nbytes for one in calls for value in _tensors([one.args, one.kwargs, one.output]))


def _copied(values: Any) -> Any:
    """The same structure with copies of its tensors."""
    return tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, values)


def _difference(one: Any, other: Any) -> float:
    """|one - other| / |one| over all tensors of an output; infinite where the shapes differ."""
    pairs = list(zip(_tensors(one), _tensors(other), strict=False))
    largest = 0.0
    for first, second in pairs:
        if first.shape != second.shape:
            return float("inf")
        if first.is_nested or not first.numel():
            continue
        there = first.isfinite()
        if not torch.equal(there, second.isfinite()):
            return float("inf")
        floating = first.is_floating_point()
        # Such as the logits of classes that are masked.
        first, second = first[there].double(), second[there].double()
        size = float(first.norm()) if floating else 1.0
        largest = max(largest, float((first - second).norm()) / max(size, 1e-30))
    return largest
