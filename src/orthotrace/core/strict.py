"""Types as a configuration means them: true is no number, a text is no number, and a number is finite."""

from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AllowInfNan, BeforeValidator, StrictBool
from pydantic_core import PydanticCustomError

FINITE = AllowInfNan(False)


def _no_number(kind: str, what: str) -> BeforeValidator:
    def refuse(value: Any) -> Any:
        if isinstance(value, (bool, str, bytes)):
            raise PydanticCustomError(kind, what)  # pyright: ignore[reportArgumentType]
        return value

    return BeforeValidator(refuse)


def _same_kind(choices: tuple[Any, ...]) -> BeforeValidator:
    def refuse(value: Any) -> Any:
        # 1 == True, and 0 == False.
        if any(one == value and isinstance(one, bool) != isinstance(value, bool) for one in choices):
            expected = " or ".join(map(repr, choices))
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return value

    return BeforeValidator(refuse)


NUMBERS = {int: _no_number("int_type", "Input should be a valid integer"),
           float: _no_number("float_type", "Input should be a valid number")}  # fmt: skip


def strict(annotation: Any, finite: bool = True) -> Any:
    """An annotation that pydantic reads strictly: 1 is no boolean, true and "1" are no numbers, NaN is refused.

    Whole numbers still do for int as 2.0 and for float as 2; lists still do for tuples and sequences. A range that says
    allow_inf_nan itself keeps what it says.

    Args:
        annotation: of an argument; unions, lists, mappings and Annotated are followed.
        finite: refuse NaN and infinity.

    Example:
        >>> from pydantic import TypeAdapter
        >>> TypeAdapter(strict(list[int] | None)).validate_python([2.0])
        [2]
        >>> [TypeAdapter(strict(float)).validator.isinstance_python(one) for one in (1, 0.5, True, "1", float("nan"))]
        [True, True, False, False, False]
    """
    if annotation is bool:
        return StrictBool
    if annotation is int or annotation is float:
        return _number(annotation, (), finite)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        base, *metadata = arguments
        if base is int or base is float:
            return _number(base, metadata, finite)
        return Annotated[(strict(base, finite), *metadata)]
    if origin is Literal:
        return Annotated[annotation, _same_kind(arguments)]
    if origin in (Union, UnionType):
        return Union[tuple(strict(one, finite) for one in arguments)]  # noqa: UP007 (made of a tuple)
    if not arguments or origin in (Callable, type):
        return annotation
    return origin[tuple(one if one is ... else strict(one, finite) for one in arguments)]


def _number(base: Any, metadata: Any, finite: bool) -> Any:
    bounds = [FINITE] if finite and base is float else []
    return Annotated[(base, *bounds, *metadata, NUMBERS[base])]
