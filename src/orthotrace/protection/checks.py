"""What a user can get wrong with a guard: each would lose protection silently, each is reported in one line."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from orthotrace.core.distributed import all_reduce_sum, broadcast_from_first, rank_and_world_size
from orthotrace.core.errors import UserError, refuse_unknown
from orthotrace.protection.matrices import WeightMatrix, where
from orthotrace.subspace.base import Subspace


def one_value_for_all(options: Mapping[str, Any]) -> None:
    """Options of the subspaces are no maps, and no list of energies: those belong to the methods."""
    for name, value in options.items():
        if isinstance(value, Mapping) or (name == "energy" and isinstance(value, (list, tuple))):
            raise UserError(
                "here one value for all layers; for others, one subspace for each by label: "
                f"subspace={{'LABEL': functools.partial(SUBSPACE, {name}=...), ...}}",
                name,
            )


def one_for_each(makers: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Every matrix has a subspace, every subspace a matrix."""
    refuse_unknown(makers, labels, "there is no protected layer")
    for label in labels:
        if label not in makers:
            raise UserError(f"no subspace for {where(label)}: every protected layer needs one")


def takes(make: Callable[..., Any], features: int, options: Mapping[str, Any]) -> None:
    """A subspace can be made with these options: none that it needs is missing, none is unknown to it.

    Example:
        >>> def floor_subspace(features, *, floor, dtype): ...
        >>> takes(floor_subspace, 3, {"dtype": torch.float32})
        Traceback (most recent call last):
        orthotrace.core.errors.UserError: floor_subspace: missing a required argument: 'floor'; give what it takes by \
its name, as in Guard(model, SUBSPACE, NAME=VALUE)
    """
    try:
        inspect.signature(make).bind(features, **options)
    except TypeError as error:
        raise UserError(
            f"{getattr(make, '__name__', 'the subspace')}: {error}; give what it takes by its name, as in "
            "Guard(model, SUBSPACE, NAME=VALUE)"
        ) from None


def same_layers(found: Mapping[str, nn.Module], known: Mapping[str, nn.Module]) -> None:
    """No layer was replaced, added, or made trainable since."""
    for name in {**known, **found}:
        if found.get(name) is not known.get(name):
            raise UserError(
                f"{where(name)} of the model is not the one that this guard was made for: make a new guard after "
                "a change of the model, and load the subspaces that still fit"
            )


def has_layers(model: nn.Module, layers: Iterable[nn.Module]) -> None:
    """The model is the guarded one, or holds it."""
    if not {id(layer) for layer in layers} <= {id(module) for module in model.modules()}:
        raise UserError(
            "this is not the model that the guard was made for (a deep copy is another model and needs a guard of "
            "its own)"
        )


def has_outputs(head: str, outputs: range | None) -> None:
    """The active outputs of a head, if there is one, are known."""
    if head and outputs is None:
        raise UserError(f"say which outputs of '{head}' the task uses, such as guard.outputs = range(0, 2)", "head")


def own_outputs(head: str, outputs: range | None, used: set[int], trained: range | None) -> None:
    """No earlier task uses the outputs of this one: nothing holds those that are active; an open task keeps its own."""
    if trained is not None and outputs != trained:
        raise UserError(
            f"the last task trained outputs {trained.start} to {trained.stop - 1} of '{head}' and was not remembered: "
            "call guard.remember(model, inputs) before a task with others",
            "head",
        )
    if both := sorted(used & set(outputs or ())):
        raise UserError(
            f"outputs {both[0]} to {both[-1]} of '{head}' belong to a task that was remembered, and training would "
            "move them: set guard.outputs to those of this task, such as range(2, 4); where tasks share outputs leave "
            "head out, and the layer is protected as any other",
            "head",
        )


def made_alike(saved: Mapping[str, str], own: Mapping[str, str]) -> None:
    """A state that is loaded is of a guard that was made as this one: the same layers, the same kinds of subspaces."""
    for name in {**own, **saved}:
        if saved.get(name) != own.get(name):
            there, here = (made.get(name, "nothing") for made in (saved, own))
            raise UserError(
                f"the state that is loaded has {there} for {name}, this guard {here}: make the guard as it was made "
                "when the state was saved"
            )


def has_hooks(optimizer: object) -> None:
    """The guard can see the optimizer's steps."""
    if not hasattr(optimizer, "register_step_post_hook"):
        raise UserError(
            f"{type(optimizer).__name__} has no register_step_post_hook: the guard cannot see its steps; call "
            "guard.enforce() after each step yourself, or derive it from torch.optim.Optimizer"
        )
    # Of a wrapper, such as accelerate's, that derives from Optimizer and never calls its __init__.
    if isinstance(optimizer, Optimizer) and not hasattr(optimizer, "_optimizer_step_post_hooks"):
        raise UserError(
            f"{type(optimizer).__name__} wraps an optimizer and calls no hooks of its own: give the guard the one "
            "inside, such as optimizer.optimizer"
        )


def trains_some(optimizers: Iterable[Optimizer], layers: Iterable[Any]) -> None:
    """The optimizers belong to the guarded model."""
    optimizers = list(optimizers)
    if not optimizers:
        raise UserError("no optimizer to protect from: with guard.protecting(optimizer)")
    groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", [])]
    trained = {id(value) for group in groups for value in group["params"]}
    if groups and not any(id(value) in trained for layer in layers for value in layer.parameters()):
        raise UserError(
            "no optimizer trains a layer that this guard protects: give it those of the model that it was made for "
            "(a deep copy is another model and needs a guard of its own)"
        )


def report_leak(leaks: Mapping[str, float], allowed: float, exact: bool, optimizers: str) -> None:
    """Layers did not move along rows that are held: an error where the rule is exact, else a warning."""
    worst = max(leaks, key=leaks.__getitem__, default=None)
    if worst is None or leaks[worst] <= allowed:
        return
    if exact:
        raise UserError(
            f"{where(worst)} was changed by steps that called no hook of {optimizers}, so it was not protected; give "
            "the guard every optimizer, call the optimizer's own step(), or guard.enforce() after each step; weights "
            "that are written, such as the best ones, are written after the block"
        )
    warnings.warn(
        f"the projected gradient of {where(worst)} leaked {leaks[worst]:.2g} of its change under {optimizers}: rule "
        "'applied' is exact",
        stacklevel=3,
    )


def report_written(leaks: Mapping[str, float], allowed: float) -> None:
    """Nothing wrote a weight after the block that protected it."""
    worst = max(leaks, key=leaks.__getitem__, default=None)
    if worst is not None and leaks[worst] > allowed:
        raise UserError(
            f"{where(worst)} was written after guard.protecting had ended, so what it did for earlier tasks is lost: "
            "an average that was copied in, an optimizer.eval(), a load_state_dict, or steps that no guard saw (after "
            "a resume load the model's own state too); call guard.settle() between writing it and guard.remember, or "
            "guard.remember again for what it does now"
        )


def projects(label: str, space: Subspace, outputs: int) -> None:
    """An exact projection, applied twice, is the same as applied once."""
    if not (space.exact and space.active):
        return
    update = _update(space, outputs)
    inside = space.inside(update)
    if float((space.inside(inside) - inside).norm()) > 1e-3 * float(update.norm()):
        raise UserError(
            f"{where(label)}: {type(space).__name__} does not project: inside(inside(update)) differs from "
            "inside(update); hold orthonormal rows, or set exact = False for a soft projection"
        )


def same_everywhere(label: str, space: Subspace, outputs: int) -> None:
    """A subspace holds the same in every process."""
    if rank_and_world_size()[1] == 1:
        return
    total = space.inside(_update(space, outputs)).double().sum().reshape(1)
    broadcast_from_first(first := total.clone())
    differs = (first != total).to(torch.int64)
    all_reduce_sum(differs)
    if int(differs):
        raise UserError(
            f"{where(label)}: {type(space).__name__} differs between processes: in consolidate, sum what each has "
            "seen by orthotrace.core.distributed.all_reduce_sum"
        )


def _update(space: Subspace, outputs: int) -> Tensor:
    """An update of the weights of so many outputs; of one where each is projected by itself."""
    return torch.ones(1 if space.by_row else outputs, space.features).to(space.basis)


def warn_of_full(parts: Sequence[WeightMatrix]) -> None:
    """Layers whose weights cannot move any more, once for all groups of a convolution."""
    for name in dict.fromkeys(part.name for part in parts):
        groups = [part for part in parts if part.name == name]
        which = where(groups[0].label)
        if len(groups) > 1:
            # The groups of a convolution are many and alike; other matrices have names.
            alike = hasattr(groups[0].layer, "groups")
            which = f"{where(name)}, {len(groups)} groups" if alike else ", ".join(part.label for part in groups)
        warnings.warn(
            f"{which}: all of its {groups[0].features} directions are held, its weights cannot move any more; "
            "lower the energy or the rows, or widen the layer before it",
            stacklevel=3,
        )
