"""The protocol of a user's own training loop."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.errors import UserError
from orthotrace.core.precision import full_precision, is_reduced
from orthotrace.protection import checks
from orthotrace.protection.gradient_rule import project_gradients
from orthotrace.protection.guard import LEAK, Projector, Rule
from orthotrace.protection.inputs import arguments, check_inputs
from orthotrace.protection.normalisation import Mode
from orthotrace.protection.still import Still, mark
from orthotrace.protection.verify import Replay, report
from orthotrace.subspace.base import Subspace

# What a model takes: a tuple for one of several inputs.
Inputs = Tensor | tuple[Tensor, ...]


class Guard(Projector):
    """Protects a model from catastrophic forgetting in any training loop.

    Each task is trained within ``protecting``, and ends with ``remember``. Before a task that uses some outputs of a
    head alone, ``outputs`` is set to them. docs/concepts/projections.md says what is projected, and how.

    ``state_dict`` between two tasks has all that is needed to go on, with the model's own: also the few inputs that are
    kept of each task, where they are tensors.

    Args:
        model: its Linear layers and convolutions are protected, biases included.
        subspace: makes the subspace of a layer or group, called as subspace(features, dtype=...); or one for each, by
            label.
        head: name of a Linear or Conv2d layer whose outputs belong to tasks: all but the active ones stay as they are,
            and no subspace is needed. Those of two tasks must not overlap: where they share outputs, leave it out.
        rule: "applied" or "gradient".
        patches: of a convolution's inputs, drawn in each call, at most; None for all.
        seed: of that draw.
        normalisation: see Normalisation.
        tasks: how many there are, where normalisation is kept by task; see network.
        verify: keep a few inputs of each task that is remembered, and look at the end of each later one whether the
            network still does with them what it did, see verify. (Not where normalisation is kept by task.)
        **options: handed to subspace: ``energy=0.97`` or ``rows=20``; a list of rows gives those of each task.

    Raises:
        UserError: the model has trainable parameters that cannot be protected, a name matches no layer, or a value is
            out of its range.

    Example:
        >>> from orthotrace.subspace import SvdSubspace
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x, old = torch.rand(2, 20, 4), torch.rand(1, 4)
        >>> guard = Guard(model, SvdSubspace, energy=1.0)
        >>> guard.remember(model, old)
        >>> before = model(old)
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> with guard.protecting(optimizer):
        ...     for batch in x:
        ...         model(batch).square().sum().backward()
        ...         optimizer.step()
        >>> torch.allclose(model(old), before, atol=1e-6)
        True
    """

    # Whether a task was begun and not ended, whether steps were guarded since the last end, and whether a block runs.
    _open = _guarded = _running = False
    # The weights when the last task ended, and what else was to stay as it was.
    _ended: list[list[int]] | None = None
    _between: Still | None = None

    def __init__(
        self,
        model: nn.Module,
        subspace: Callable[..., Subspace] | Mapping[str, Callable[..., Subspace]],
        head: str | None = None,
        rule: Rule = "applied",
        patches: int | None = None,
        seed: int = 0,
        normalisation: Mode = "frozen",
        tasks: int = 0,
        verify: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(model, subspace, head, rule, patches, seed, normalisation, tasks, **options)
        self._replay = Replay(model, self.held_layers(), self.put_starts) if verify else None
        # What must be the same when the next task begins, see _outputs_held, when the last one ended.
        self._inside: dict[str, Tensor] = {}
        # Outputs of the head that belong to tasks that were remembered, and those that the open task trains.
        self._used: set[int] = set()
        self._trained: range | None = None
        # Numbers of the tasks that were remembered.
        self._remembered: set[int] = set()

    @contextmanager
    def protecting(self, *optimizers: Optimizer) -> Iterator[None]:
        """Begin a task, and enforce after every step within the block.

        Warns where the last task was not remembered: it goes on; and where the weights moved since the last one.

        Raises:
            UserError: no optimizer trains a protected layer, the model has changed, the outputs of a head were not
                set or belong to an earlier task, more tasks than were said, or, at the end, steps were not seen.
        """
        if self._running:
            raise UserError("a block of guard.protecting runs already: give it all optimizers, guard.protecting(a, b)")
        checks.has_outputs(self.head_name, self.outputs)
        checks.own_outputs(self.head_name, self.outputs, self._used, self._trained)
        self._follow()
        checks.trains_some(optimizers, [*self.layers.values(), *([] if self.head is None else [self.head.layer])])
        self.check_layers()
        self._refuse_written()
        goes_on, replay = self._open, self._replay
        if replay is not None and not goes_on and self._ended == self._sums():
            report(replay.since(LEAK))
        if goes_on and self._guarded:
            warnings.warn(
                "the last task was not remembered, so it goes on, and of what it has seen nothing is held: call "
                "guard.remember(model, inputs) at the end of each task",
                stacklevel=3,
            )
        elif not goes_on:
            self.norms.check(int(self.started))
            self.begin()
            # A user's network may use its weights otherwise in each task.
            self._looked = False
        self._warn_of_free_steps(stacklevel=4)
        if replay is not None and not (goes_on and replay.recorded):
            # Of a task that goes on in another process too, with the weights of its start.
            undo = self.put_starts()
            replay.record()
            undo()
        self._trained = self.outputs
        self.enter(int(self.started) - 1, self.outputs)
        # Here gradients are clipped before the step: what is projected last is what is applied. (A closure computes its
        # gradient later: what leaks then is reported at the end.)
        before = [
            optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: project_gradients(self))
            for optimizer in (optimizers if self.rule == "gradient" else ())
        ]
        detach = self.attach(*optimizers)
        check, self._running = False, True
        try:
            yield
            check = True
        finally:
            self._running = False
            for handle in before:
                handle.remove()
            # An error that ended the block is the one to be reported.
            detach(check)
        self.verify()

    def verify(self) -> None:
        """Look whether the network still does with a few inputs of earlier tasks what it did when this one began.

        The directions that are free may move outputs, and do. What else does is found, whatever it is: see Replay. Each
        block of protecting ends with it; it costs three passes of 8 inputs for each of 8 remembered tasks at most.

        Raises:
            UserError: something moves that nothing holds, with the layer where it begins.
        """
        if self._replay is not None and self.norms.mode == "frozen":
            report(self._replay.moved(LEAK, restored=self.taps.used_elsewhere))

    @property
    def outputs(self) -> range | None:
        """The active outputs of the head, such as ``range(2, 4)``; None for all. Not to be set within a block."""
        return self._outputs

    @outputs.setter
    def outputs(self, outputs: range | None) -> None:
        if self._running and outputs != self._outputs:
            raise UserError("set guard.outputs before the block of guard.protecting, for the whole of it", "outputs")
        if self.head is None and outputs is not None:
            raise UserError(
                "this guard has no head whose outputs belong to tasks: name it, Guard(model, ..., head='NAME')",
                "outputs",
            )
        self._outputs = outputs if self.head is None else self.head.checked(outputs)

    def begin(self) -> None:
        """Start a task, see Projector."""
        super().begin()
        self._open = True

    def settle(self) -> None:
        """The weights were written: take back what must stay, see Projector; between tasks normalisation alone."""
        if self._open or self._guarded:
            # Those of the next task may have been set.
            outputs, self._outputs = self._outputs, self._trained or self._outputs
            super().settle()
            self._outputs = outputs
        self.norms.settle()

    def attach(self, *optimizers: Optimizer) -> Callable[..., None]:
        """Enforce after every step of the optimizers, see Projector."""
        detach = super().attach(*optimizers)
        self._guarded = True
        return detach

    def remember(self, model: nn.Module, *batches: Inputs | Iterable[Inputs | list[Any]]) -> None:
        """End a task: observe these inputs of the model and consolidate.

        Args:
            model: the model, called in evaluation mode.
            *batches: inputs of the task, as the model takes them; a tuple for a model of several. Or an iterable of
                batches: a DataLoader, a list, a generator. Of a batch that is a list, [inputs, labels], the inputs
                are taken. If nothing of a batch is on the model's device, it is moved there. A subspace that learns
                step by step, such as HebbianSubspace, needs some ten batches.

        Warns where the weights have moved since the last task though no optimizer was guarded.

        Raises:
            UserError: another model, no batch, one that is no tensor, a layer that was not called, or outputs of a
                head that were not set.
        """
        if self._running:
            raise UserError("call guard.remember after the block of guard.protecting, not within it")
        check_inputs(batches)
        self._follow()
        if not self._trained:
            checks.has_outputs(self.head_name, self.outputs)
        checks.has_layers(model, self.layers.values())
        self._warn_of_free_steps(stacklevel=3)
        self._refuse_written(remembering=True)
        if not int(self.started):
            # The task ran before the guard was asked to protect anything: the first one.
            self.begin()
        self._short = is_reduced(self.started.device.type)
        training, seen = model.training, False
        model.eval()
        try:
            for given in arguments(batches, model):
                with torch.no_grad(), self.watching() as inputs:
                    model(*given)
                self.observe(inputs)
                if not seen and self._replay is not None:
                    self._replay.keep(*given)
                seen = True
        finally:
            model.train(training)
            # Else older versions of torch train copies of the weights that were made here, without gradients.
            torch.clear_autocast_cache()
        if not seen:
            raise UserError("no inputs of the task: guard.remember(model, inputs)")
        self.consolidate()

    def consolidate(self) -> None:
        """End a task: every subspace takes up what it saw, see Projector."""
        super().consolidate()
        self._used.update(self._trained or self.outputs or ())
        self._open, self._guarded, self._trained = False, False, None
        self._ended = self._sums()
        self._inside = self._outputs_held()
        self._between = self._still_between()
        self.norms.learn()
        self._remembered.add(int(self.started) - 1)
        self.norms.keep(self._model[0], int(self.started) - 1)

    def network(self, task: int) -> nn.Module:
        """The model as it is tested on a task that was remembered: with its own normalisation, where each has one.

        Args:
            task: its number, from 0.

        Returns:
            The model itself, or, where normalisation is kept by task and there is some, a copy in the same mode.

        Raises:
            UserError: no such task was remembered.
        """
        if task not in self._remembered:
            raise UserError(f"one of those that were remembered, {sorted(self._remembered)} (got {task})", "task")
        return self.norms.of(self._model[0], task)

    @torch.no_grad()
    def _outputs_held(self) -> dict[str, Tensor]:
        """W M^T of each matrix under an exact projection; vectors of tokens seen; weights of outputs that are used."""
        pairs = [(part, self._held(part.label, part)) for part, space in self._pairs if space.exact]
        with full_precision(self.shown.device.type):
            found = {part.label: part.joined().to(held.dtype) @ held.T for part, held in pairs}
        found |= {name: one.layer.weight[one.seen].clone() for name, one in self.embeddings.items() if one.exact}
        if self.head is not None:
            found[self.head_name] = self.head.joined()[sorted(self._used)]
        return found

    def _refuse_written(self, remembering: bool = False) -> None:
        """Nothing may be written between two blocks: what it did for the earlier tasks would be lost."""
        free = self._ended is not None and not self._guarded and self._ended != self._sums()
        if free and remembering:
            # A warning tells: what the network does now can be remembered instead.
            return
        if self.rule == "applied" and (free or self._guarded):
            checks.report_written(self._leaks_since() if free else self.exact_leaks() | self._leak_of_head(), LEAK)
        self.norms.check_still()
        if self._between is not None:
            self._between.check()

    def _leaks_since(self) -> dict[str, float]:
        """By how much what must be the same differs from when the last task ended."""
        leaks = {}
        for label, now in self._outputs_held().items():
            then = self._inside.get(label)
            if then is not None and then.shape == now.shape:
                whole = self.parts[self.labels.index(label)].weight if label in self.subspaces else now
                leaks[label] = float((now - then).norm() / whole.norm().clamp_min(1e-30))
        return leaks

    def _leak_of_head(self) -> dict[str, float]:
        """By how much outputs of earlier tasks have moved since the task's start."""
        if self.head is None or not self._used:
            return {}
        rows = sorted(self._used)
        then, now = self.head.start[rows], self.head.joined()[rows]
        return {self.head_name: float((now - then).norm() / then.norm().clamp_min(1e-30))}

    def _warn_of_free_steps(self, stacklevel: int) -> None:
        """Report weights that moved since a task was remembered, though no step was guarded."""
        if self._ended is not None and not self._guarded and self._ended != self._sums():
            warnings.warn(
                "the weights have moved since the last task, but no optimizer was guarded: what was held is not safe; "
                "train within guard.protecting(optimizer)",
                stacklevel=stacklevel,
            )

    def _holds_some(self) -> bool:
        """Whether any task was remembered, whatever share of it is held."""
        return any(space.rank or space.active for space in self.subspaces.values()) or any(
            seen.capacity.rank for seen in self.embeddings.values()
        )

    def _follow(self) -> None:
        """Be where the model is: it may have been moved since."""
        device = next(self._model[0].parameters()).device
        if self.started.device != device:
            self.to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # What is no buffer moves with those that are.
        self._inside = {label: fn(value) for label, value in self._inside.items()}
        if self._replay is not None:
            self._replay.apply(fn)
        return super()._apply(fn, recurse)

    def _sums(self) -> list[list[int]]:
        """By which weights that moved are recognised."""
        return [mark(value) for layer in self.held_layers().values() for value in layer.parameters()]

    def _still_between(self, marks: dict[str, list[int]] | None = None) -> Still:
        when = "since the last task was remembered"
        return Still(self._model[0], self.held_layers().values(), self.norms.trainable, when, flags=False, marks=marks)

    def get_extra_state(self) -> dict[str, Any]:
        """What the checks know of earlier tasks; a part of state_dict."""
        return {
            "made": self.made() | {"normalisation": self.norms.kind},
            "open": self._open,
            "guarded": self._guarded,
            "ended": self._ended,
            "inside": self._inside,
            "between": None if self._between is None else self._between.marks,
            "norms": self.norms.learned,
            "used": sorted(self._used),
            "trained": None if self._trained is None else [self._trained.start, self._trained.stop],
            "remembered": sorted(self._remembered),
            "replay": None if self._replay is None else self._replay.kept(),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what get_extra_state gave."""
        device = self.started.device
        self._open, self._guarded, self._ended = state["open"], state["guarded"], state["ended"]
        self._inside = {label: value.to(device) for label, value in state["inside"].items()}
        self._between = None if state["between"] is None else self._still_between(state["between"])
        self.norms.take_up(state["norms"])
        self._used, self._remembered = set(state["used"]), set(state["remembered"])
        self._trained = None if state["trained"] is None else range(*state["trained"])
        if self._replay is not None and state["replay"] is not None:
            self._replay.take_up(*state["replay"])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local: Any, strict: bool, missing: list[str], *rest: Any
    ) -> None:
        # Before anything is loaded.
        if f"{prefix}started" not in state_dict:
            raise UserError("this is no state of a guard: load what guard.state_dict() gave")
        extra = f"{prefix}_extra_state"
        if extra in state_dict:
            checks.made_alike(state_dict[extra]["made"], self.made() | {"normalisation": self.norms.kind})
        super()._load_from_state_dict(state_dict, prefix, local, strict, missing, *rest)
        # A state that was saved before there was any goes on as before.
        if extra in missing:
            missing.remove(extra)
