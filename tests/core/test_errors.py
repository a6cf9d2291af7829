from typing import Annotated

import pytest
from pydantic import Field

from orthotrace.core.errors import UserError, checked, nearest


@checked
def function(count: Annotated[int, Field(ge=1)], names: list[str] | None = None, *, flag: bool = False) -> str:
    return f"{count}{names}{flag}"


CASES = [
    ({"count": "abc"}, "count: input should be a valid integer (got 'abc')"),
    ({"count": 0}, "count: input should be greater than or equal to 1 (got 0)"),
    ({"count": 1.5}, "count: input should be a valid integer, got a number with a fractional part (got 1.5)"),
    ({"count": 1, "wrong": 2}, "wrong: no such option"),
    ({}, "count: is missing"),
    ({"count": 1, "names": "x"}, "names: input should be a valid list (got 'x')"),
]


@pytest.mark.parametrize(("arguments", "line"), CASES)
def test_the_first_fault_on_one_line(arguments, line):
    with pytest.raises(UserError) as error:
        function(**arguments)
    assert str(error.value) == line


def test_what_fits_passes():
    assert function(2, ["a"], flag=True) == "2['a']True"


def test_errors_inside_the_function_pass_unchanged():
    @checked
    def inner() -> None:
        raise UserError("deep", "key")

    with pytest.raises(UserError, match="^key: deep$"):
        inner()


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("hlpo", ["hlop", "gpm"], "did you mean 'hlop'?"),
        ("tsks", ["stream.tasks", "seed"], "did you mean 'stream.tasks'?"),
        ("zzz", ["hlop"], "there are: hlop"),
        ("zzz", [], "there are: none"),
    ],
)
def test_nearest(name, names, hint):
    assert nearest(name, names).startswith(hint)
