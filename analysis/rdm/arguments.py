"""Numbers among the arguments of a function: checked, and refused by one line that names the argument."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from orthotrace.core.errors import UserError


def whole(value: Any, name: str, least: int, needed: str = "") -> int:
    """A whole number of at least so much; the error says what is needed, where that says more.

    Raises:
        UserError: another number, or none.

    Example:
        >>> whole(0, "iterations", 1)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: iterations: a whole number of at least 1 is needed (got 0)
    """
    fits = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not fits or value < least:
        raise UserError(f"{needed or f'a whole number of at least {least} is needed'} (got {_short(value)})", name)
    return int(value)


def number(value: Any, name: str, needed: str, fits: Callable[[float], bool]) -> float:
    """A finite number that fits, such as "a level in (0, 1)".

    Raises:
        UserError: another, or none; says what is needed.

    Example:
        >>> number(2, "level", "a level in (0, 1)", lambda one: 0 < one < 1)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: level: a level in (0, 1) is needed (got 2)
    """
    known = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not known or not math.isfinite(value) or not fits(float(value)):
        raise UserError(f"{needed} is needed (got {_short(value)})", name)
    return float(value)


def level_of(value: Any) -> float:
    """The level of an interval."""
    return number(value, "level", "a level in (0, 1)", lambda one: 0 < one < 1)


def generator(seed: Any) -> np.random.Generator:
    """Draws from a seed.

    Raises:
        UserError: no seed of numpy.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise UserError(f"a whole number of at least 0 is needed (got {_short(seed)})", "seed") from error


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def in_turn(given: Any) -> Any:
    """What an iterator gives: pairs of a name and a value, as networks.activations does, or values alone; else itself.

    Example:
        >>> in_turn(iter([("fc1", 1), ("fc2", 2)])), in_turn(iter([1, 2]))
        ({'fc1': 1, 'fc2': 2}, [1, 2])
    """
    if not isinstance(given, Iterator):
        return given
    found = list(given)
    named = all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) for one in found)
    return dict(found) if named else found
