"""Where in a forward pass each layer is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

import torch
from torch import nn

from orthotrace.analysis.networks.blocks import Blocks
from orthotrace.analysis.networks.forward import Call, Forward
from orthotrace.analysis.networks.operations import ACTIVATIONS, NONLINEAR, kind_of_module
from orthotrace.analysis.networks.windows import parted
from orthotrace.core.errors import UserError, nearest

Read = Literal["post", "pre", "module"]
# In figures and reports.
READ = {
    "post": "after their normalisation, residual sum and nonlinearity (read=post)",
    "pre": "before their normalisation, residual sum and nonlinearity (read=pre)",
    "module": "at the outputs of modules as they are (read=module)",
    "file": "from files of activations",
}


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer is read.

    Attributes:
        name: of the layer; with the number of the call where there are several, as relu:2, and with the item where its
            module gives several tensors, as lstm[0].
        read: "post", "pre" or "module"; "file" where activations lie on disk.
        after: what the output has passed since the module or function of this name.
        event: of the forward pass, and the item of what is given there.
    """

    name: str
    read: Read | Literal["file"]
    after: tuple[str, ...]
    event: tuple[int, str]


@dataclass(frozen=True)
class Unread:
    """A layer that is not read.

    Attributes:
        name: of the layer.
        why: it is not.
    """

    name: str
    why: str


def readable_layers(model: nn.Module) -> list[str]:
    """The modules that are read by their own outputs unless others are named: every nonlinearity, the last linear one.

    A recurrent layer counts as a nonlinearity: its output is its states at all steps. A network without modules for its
    nonlinearities is read at its linear and convolutional layers.

    Example:
        >>> readable_layers(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        ['1', '2']
    """
    modules = list(model.named_modules())
    weighted = [name for name, module in modules if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    nonlinear = [name for name, module in modules if isinstance(module, (*NONLINEAR, nn.RNNBase))]
    return [*nonlinear, *weighted[-1:]] if nonlinear else weighted


def find_places(
    model: nn.Module, followed: Forward, layers: Sequence[str] | None, read: Read, stimuli: int
) -> tuple[list[LayerPlace], list[Unread]]:
    """The places of layers in a pass that was followed, of so many stimuli; and the layers that have none.

    Layers are names of modules, of a call of one, or of an item of its output, or patterns of names, see matched; None
    for all: the ends of all blocks that have weights or a nonlinearity (post), all layers with weights (pre), or
    readable_layers (module).

    Raises:
        UserError: an unknown way of reading, or a name or pattern that there is not; names the nearest.
    """
    if read not in get_args(Read):
        raise UserError(f"post, pre or module (got {read})", "read")
    finder = _Finder(model, followed, read, stimuli)
    return finder.every() if layers is None else finder.named(layers)


def is_pattern(name: str) -> bool:
    """Whether a name of a layer is a pattern of names: * is any text, ? any letter; brackets are items of an output."""
    return "*" in name or "?" in name


def matched(pattern: str, read: Sequence[str], others: Iterable[str] = ()) -> list[str]:
    """The layers that a pattern stands for.

    Args:
        pattern: of names.
        read: the layers that are read where none are named; those of them that match are taken.
        others: other names, of which those that match are taken where no layer does.

    Raises:
        UserError: nothing matches; names the nearest.

    Example:
        >>> matched("relu*", ["relu1", "relu2", "head"]), matched("fc?", ["relu1", "head"], ["fc1", "fc", "relu1"])
        (['relu1', 'relu2'], ['fc1'])
    """
    own = pattern.replace("[", "[[]")
    found = [name for name in read if fnmatchcase(name, own)] or [name for name in others if fnmatchcase(name, own)]
    if not found:
        hint = nearest(pattern.replace("*", "").replace("?", ""), [*read, *others])
        raise UserError(f"no layer matches '{pattern}'; {hint}", "layers")
    return list(dict.fromkeys(found))


def meant(name: str, layers: Sequence[str]) -> list[str]:
    """The layers that a name or a pattern stands for among those that were read; without a window for all of a layer.

    Example:
        >>> meant("relu", ["relu:1", "relu:2", "relu3"]), meant("conv*", ["conv1", "fc"])
        (['relu:1', 'relu:2'], ['conv1'])
        >>> meant("fc?", ["fc1@1-2", "fc1@3-4"]), meant("fc1@3-4", ["fc1@1-2", "fc1@3-4"])
        (['fc1@1-2', 'fc1@3-4'], ['fc1@3-4'])
    """
    own, window = parted(name)
    there = {one: parted(one) for one in layers}
    if is_pattern(own):
        wanted = matched(own, [layer for layer, _ in there.values()])
    else:
        wanted = [layer for layer, _ in there.values() if layer == own or layer.startswith((f"{own}:", f"{own}["))]
    return [one for one, (layer, of) in there.items() if layer in wanted and window in ("", of)]


class _Finder:
    def __init__(self, model: nn.Module, followed: Forward, read: Read, stimuli: int) -> None:
        self.model, self.steps, self.stimuli = model, followed.steps, stimuli
        self.read: Read = read
        self.modules = {name: module for name, module in model.named_modules() if name}
        self.blocks = Blocks(followed.steps, followed.outputs)
        self.calls: dict[str, list[Call]] = {}
        for call in sorted(followed.calls, key=lambda one: one.entered):
            self.calls.setdefault(call.module, []).append(call)
        self.functions = self._functions()

    def every(self) -> tuple[list[LayerPlace], list[Unread]]:
        """All places, where no layers are named."""
        if self.read == "module" or not any(step.kind in ("weighted", "nonlinear") for step in self.steps):
            return self.named(readable_layers(self.model))
        if self.read == "pre":
            starts = [number for number, step in enumerate(self.steps) if step.kind == "weighted"]
        else:
            starts = self._starts()
        names = {number: name for name, number in self.functions.items()}
        for number, step in enumerate(self.steps):
            if not step.function:
                names[number] = self._name(step.module, step.call)
        return _apart([*(self._of_step(one, names[one]) for one in starts), *self._never_called()])

    def named(self, layers: Sequence[str]) -> tuple[list[LayerPlace], list[Unread]]:
        """The places of layers by their names."""
        return _apart([place for given in layers for name in self._meant(given) for place in self._found(name)])

    def _meant(self, name: str) -> list[str]:
        """A name, or what a pattern stands for."""
        if not is_pattern(name):
            return [name]
        called = [one for one in self.modules if one in self.calls]
        return matched(name, [one.name for one in self.every()[0]], [*called, *self.functions])

    def _found(self, name: str) -> list[LayerPlace | Unread]:
        """What a name stands for: all calls and items of a module, one of them, or a function."""
        if name in self.functions:
            return [self._of_step(self.functions[name], name)]
        module, item = name, ""
        if module not in self.modules and "[" in name:
            module, item = name[: name.index("[")], name[name.index("[") :]
        number = ""
        if module not in self.modules:
            module, _, number = module.rpartition(":")
        if module not in self.modules:
            raise UserError(f"there is no layer '{name}'; {nearest(name, [*self.modules, *self.functions])}", "layers")
        calls = self.calls.get(module, [])
        if not calls:
            return [Unread(name, self._why_never(module))]
        places = {call.number: self._of_call(call) for call in calls}
        if number and number not in map(str, places):
            raise UserError(f"layer '{module}' is called {len(calls)} times in a forward pass (got {name})", "layers")
        found: list[LayerPlace | Unread] = []
        for call, of in places.items():
            if number in ("", str(call)):
                # Without an item it stands for the output as a whole, if there is one, else for all items.
                found += [of[item]] if item in of else of.values() if not item else []
        if not found:
            items = dict.fromkeys(one for of in places.values() for one in of)
            raise UserError(f"there is no layer '{name}'; {nearest(name, [module + one for one in items])}", "layers")
        return found

    def _of_call(self, call: Call) -> dict[str, LayerPlace | Unread]:
        """The outputs of a call by their items, that of an operation as a whole by none."""
        name = self._name(call.module, call.number)
        module = self.modules[call.module]
        if not call.shapes:
            return {"": Unread(name, "it gives no tensor")}
        if self.read == "pre" and isinstance(module, NONLINEAR) and call.inputs:
            return {"": self._checked(name, "pre", (), (call.entered, next(iter(call.inputs))), call.given)}
        found = {}
        for item, shape in call.shapes.items():
            step = call.outputs[item]
            operation = kind_of_module(module) is not None and step is not None
            key = "" if operation or len(call.shapes) == 1 else item
            if self.read == "post" and step is not None and self.steps[step].kind not in ("pool", "other"):
                block = self.blocks.block(step)
                if block.passed:
                    found[key] = self._of_step(step, name + key)
                    continue
            read: Read = "module" if step is None and self.read == "post" and not operation else self.read
            found[key] = self._checked(name + key, read, (), (call.left, item), shape)
        return found

    def _of_step(self, start: int, name: str) -> LayerPlace | Unread:
        passed, end = (), start
        if self.read == "post":
            block = self.blocks.block(start)
            passed, end = block.passed, block.end
        step = self.steps[end]
        after = tuple(one.name if one.function else one.module for one in (self.steps[number] for number in passed))
        # Where its first dimension is not that of the stimuli, it may be so once it is transposed.
        event, item, shape = next((one for one in step.places if one[2][:1] == (self.stimuli,)), step.places[0])
        return self._checked(name, self.read, after, (event, item), shape)

    def _checked(
        self, name: str, read: Read, after: tuple[str, ...], event: tuple[int, str], shape: tuple[int, ...]
    ) -> LayerPlace | Unread:
        if shape[:1] != (self.stimuli,):
            return Unread(name, f"its output has no dimension of stimuli in the first place: {list(shape)}")
        return LayerPlace(name, read, after, event)

    def _starts(self) -> list[int]:
        """A step of each block, in the order of their ends: the one that names it."""
        of: dict[int, list[int]] = {}
        between: set[int] = set()
        for number, step in enumerate(self.steps):
            # A nonlinearity on the way of a block, such as the sigmoid in x * sigmoid(x), has none of its own.
            alone = step.kind == "nonlinear" and step.name in ACTIVATIONS.split() and number not in between
            if step.kind in ("weighted", "norm") or alone or self._is_nonlinear_module(number):
                block = self.blocks.block(number)
                between.update(block.passed)
                if step.kind == "weighted" or block.nonlinear:
                    of.setdefault(block.end, []).append(number)
        found = []
        for end in sorted(of):
            # The last nonlinearity that is a module, else the deepest layer with weights that leads to it.
            acts = [one for one in of[end] if self._is_nonlinear_module(one)]
            weighted = [one for one in of[end] if self.steps[one].kind == "weighted"]
            deepest = max(weighted or of[end], key=lambda one: (self.blocks.depths[one], -one))
            found.append(acts[-1] if acts else deepest)
        return found

    def _is_nonlinear_module(self, number: int) -> bool:
        return self.steps[number].kind == "nonlinear" and not self.steps[number].function

    def _never_called(self) -> list[Unread]:
        """Modules that would be read if they were called; those inside of one operation are not."""
        found = []
        for name, module in self.modules.items():
            above = [name[: at.start()] for at in re.finditer(r"\.", name)]
            inside = any(kind_of_module(self.modules[one]) for one in above) or "parametrizations" in name.split(".")
            if name not in self.calls and not inside and kind_of_module(module) in ("weighted", "nonlinear"):
                found.append(Unread(name, self._why_never(name)))
        return found

    def _why_never(self, name: str) -> str:
        scripted = isinstance(self.modules[name], torch.jit.ScriptModule)
        return "it runs out of sight, as a ScriptModule" if scripted else "it is called 0 times in a forward pass"

    def _name(self, module: str, call: int) -> str:
        return f"{module}:{call}" if len(self.calls.get(module, ())) > 1 else module

    def _functions(self) -> dict[str, int]:
        """Functions by name: by that of their module where it has no other weights and no modules, else by their own.

        A function of the name F in a module is called MODULE.F(), with its number where there are several.
        """
        of: dict[tuple[str, str], list[int]] = {}
        for number, step in enumerate(self.steps):
            if step.function and step.kind in ("weighted", "norm", "nonlinear"):
                of.setdefault((step.module, step.name), []).append(number)
        found = {}
        for (module, name), numbers in of.items():
            weighted = [key for key in of if key[0] == module and self.steps[of[key][0]].kind == "weighted"]
            calls = [self.steps[one].call for one in numbers]
            alone = weighted == [(module, name)] and len(set(calls)) == len(calls)
            own = alone and module in self.modules and not any(self.modules[module].children())
            for place, number in enumerate(numbers, start=1):
                many = f":{place}" if len(numbers) > 1 else ""
                found[
                    self._name(module, self.steps[number].call) if own else f"{module}.{name}()".lstrip(".") + many
                ] = number
        return found


def _apart(found: Sequence[LayerPlace | Unread]) -> tuple[list[LayerPlace], list[Unread]]:
    """Those that are read, each once, and the others."""
    places = {one.name: one for one in found if isinstance(one, LayerPlace)}
    return list(places.values()), [one for one in dict.fromkeys(found) if isinstance(one, Unread)]
