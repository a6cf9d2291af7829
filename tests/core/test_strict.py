"""What each type takes, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from orthotrace.core.strict import strict

NAN, INFINITE = math.nan, math.inf
# Type -> (values that fit, values that do not).
CASES = [
    (bool, [True, False], [0, 1, 1.0, "true", "no", None]),
    (int, [0, -3, 2.0], [True, False, "1", 1.5, NAN, INFINITE, None, [1]]),
    (float, [0, 0.5, -2], [True, "1", "nan", NAN, INFINITE, -INFINITE, None]),
    (str, ["", "a"], [1, True, None, ["a"]]),
    (Annotated[float, Field(ge=0)], [0, 0.5], [-1, NAN, INFINITE, True, "1"]),
    (Annotated[int, Field(ge=1)], [1, 2.0], [0, True, "2", 1.5]),
    (float | None, [0.5, None], [True, "x", NAN]),
    (list[int], [[1, 2.0], []], [[True], ["1"], [NAN], 1, "12"]),
    (Sequence[float] | None, [[0.5], None], [[True], [NAN], "1"]),
    (tuple[int, float], [[1, 0.5]], [[1], [True, 0.5], [1, NAN]]),
    (tuple[int, ...], [[1, 2]], [[True], ["1"]]),
    (Mapping[str, float], [{"a": 1}], [{"a": True}, {"a": NAN}, {1: 1}, [1]]),
    (Annotated[list[int], Field(min_length=1)], [[1]], [[], [True]]),
    (Literal[1, 3], [1, 3], [True, 2, "1"]),
    (Literal[True], [True], [1, 1.0, "true", False]),
    (Literal[False], [False], [0, True]),
    (Literal["a", "b"], ["a"], ["c", True, 1, None]),
    (bool | Literal["warn"], [True, "warn"], [1, 0, "no"]),
]


@pytest.mark.parametrize(("annotation", "fits", "not_fits"), CASES, ids=lambda value: str(value)[:40])
def test_a_type_takes_what_it_says(annotation, fits, not_fits):
    adapter = TypeAdapter(strict(annotation))
    for value in fits:
        assert adapter.validate_python(value) == (tuple(value) if str(annotation).startswith("tuple") else value)
    for value in not_fits:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_a_user_s_own_takes_infinite_numbers():
    assert TypeAdapter(strict(float, finite=False)).validate_python(INFINITE) == INFINITE
