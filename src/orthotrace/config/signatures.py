"""What a signature says of its arguments: names, types, ranges, defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from orthotrace.core.errors import UserError, fault_of, short
from orthotrace.core.strict import strict

NOTHING = inspect.Parameter.empty


@dataclass(frozen=True)
class Argument:
    """An argument, or another key of a configuration.

    Attributes:
        annotation: its type and range, as pydantic reads it.
        default: where it is not given; NOTHING where it must be.
        meaning: in words, where no docstring says it.
        finite: whether NaN and infinity are refused.
        of: what has it, whose docstring says what it means.
    """

    annotation: Any
    default: Any = NOTHING
    meaning: str = ""
    finite: bool = True
    of: Any = None

    def check(self, value: Any, path: str) -> None:
        """Refuse a value of another type or out of its range.

        Raises:
            UserError: names the path, or a key below it; for one value in the place of a list also the list.

        Example:
            >>> Argument(int).check("x", "seed")
            Traceback (most recent call last):
            ...
            orthotrace.core.errors.UserError: seed: input should be a valid integer (got 'x')
        """
        try:
            _adapter(self.annotation, self.finite).validate_python(value)
        except ValidationError as error:
            fault = fault_of(error, path, value)
            if fault.key == path and isinstance(value, (str, int, float)) and self._takes([value]):
                fault = UserError(f"{fault.message}; write {path}=[{short(str(value))}]", path)
            raise fault from error

    def _takes(self, value: Any) -> bool:
        try:
            _adapter(self.annotation, self.finite).validate_python(value)
        except ValidationError:
            return False
        return True


@functools.cache
def _adapter(annotation: Any, finite: bool) -> TypeAdapter[Any]:
    # A dataclass has a configuration of its own.
    plain = isinstance(annotation, type) and annotation.__module__ != "builtins"
    config = None if plain else ConfigDict(arbitrary_types_allowed=True)
    return TypeAdapter(strict(annotation, finite), config=config)


@dataclass(frozen=True)
class Signature:
    """The arguments of a function or a class.

    Attributes:
        arguments: by name.
        others: whether it takes arguments by other names too.
    """

    arguments: Mapping[str, Argument]
    others: bool = False

    def without(self, *names: str) -> Signature:
        """The same without some arguments."""
        return Signature({name: one for name, one in self.arguments.items() if name not in names}, self.others)


@functools.cache
def signature(target: Callable[..., Any]) -> Signature:
    """The arguments of a function; of a class also those of the classes to which it hands its options on.

    Of what is not ours names count, and types that are made of numbers, texts, lists and mappings.

    Example:
        >>> def mine(width: int = 4, seed=0): ...
        >>> width = signature(mine).arguments["width"]
        >>> width.annotation, width.default, width.finite
        (<class 'int'>, 4, True)
    """
    found: dict[str, Argument] = {}
    others = False
    # torch's Module takes any name, and refuses it.
    chain = [one for one in target.__mro__[:-1] if "__init__" in vars(one)] if inspect.isclass(target) else [target]
    for number, one in enumerate(chain):
        if one.__module__ == "torch.nn.modules.module":
            others = False
            break
        own, others = _own(one)
        # A base's arguments without a default are given by the class above it.
        found |= {
            name: argument
            for name, argument in own.items()
            if name not in found and (number == 0 or argument.default is not NOTHING)
        }
        if not others:
            break
    return Signature(found, others and not _ours(target))


def _ours(target: Any) -> bool:
    return str(target.__module__).split(".")[0] == "orthotrace"


def _own(target: Any) -> tuple[dict[str, Argument], bool]:
    """The arguments of one function or constructor alone, and whether it takes others."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        parameters = list(inspect.signature(function).parameters.values())[1 if inspect.isclass(target) else 0 :]
    except (TypeError, ValueError):  # what is written in C may not say
        return {}, True
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # a user's annotations may be anything
        hints = {}
    ours, found = _ours(target), {}
    for one in parameters:
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL, one.POSITIONAL_ONLY):
            continue
        annotation = hints.get(one.name, Any)
        if not ours:
            annotation = simple(annotation)
            if one.default is None and annotation is not Any:
                annotation = annotation | None
        found[one.name] = Argument(annotation, one.default, finite=ours, of=target)
    return found, any(one.kind is one.VAR_KEYWORD for one in parameters)


def simple(annotation: Any) -> Any:
    """The part of an annotation that a configuration can give: numbers, texts, lists and mappings; else anything.

    Example:
        >>> simple(int | Callable[..., int] | None), simple(list[int]), simple(Callable)
        (int | None, list[int], typing.Any)
    """
    if annotation in (bool, int, float, str, NoneType, None):
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return annotation if simple(arguments[0]) is arguments[0] else Any
    if origin is Literal:
        return annotation
    if origin in (Union, UnionType):
        parts = [one for one in map(simple, arguments) if one is not Any]
        return functools.reduce(lambda one, other: one | other, parts) if parts else Any
    if origin in (list, tuple, dict) and all(one is ... or simple(one) is not Any for one in arguments):
        return annotation
    return Any
