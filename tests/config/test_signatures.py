"""What signatures say. Types and ranges of whole configurations are tested in test_schema.py."""

from __future__ import annotations

import types
from typing import Annotated, Any

import pytest
from pydantic import Field

from orthotrace.config.outside import TOP
from orthotrace.config.signatures import NOTHING, Argument, signature
from orthotrace.core.errors import UserError


def foreign(function: Any) -> Any:
    """The same function, as if another package had it."""
    function.__module__ = "elsewhere"
    return function


def test_a_foreign_default_of_null_may_be_given():
    def theirs(size: int = None, name: str = "a"):  # noqa: RUF013
        """Written before PEP 484 asked for it."""

    found = signature(foreign(theirs)).arguments
    found["size"].check(None, "size")
    with pytest.raises(UserError, match=r"^size: input should be a valid integer"):
        found["size"].check("x", "size")
    with pytest.raises(UserError, match=r"^name: input should be a valid string"):
        found["name"].check(None, "name")


def test_other_names_are_open_in_foreign_functions_and_closed_in_ours():
    def theirs(size: int, **options: Any):
        """Takes whatever it hands on."""

    assert signature(foreign(theirs)).others
    ours = types.FunctionType(theirs.__code__, {}, "ours")
    ours.__module__ = "orthotrace.models.mlp"
    assert not signature(ours).others


def test_a_class_has_the_arguments_of_those_it_hands_its_options_to():
    class Base:
        def __init__(self, given: int, rate: float = 0.5):
            """One that the class below gives, and one that a user may."""

    class Below(Base):
        def __init__(self, size: int, **options: Any):
            super().__init__(size, **options)

    found = signature(Below)
    assert list(found.arguments) == ["size", "rate"] and not found.others
    assert found.arguments["size"].default is NOTHING and found.arguments["rate"].default == 0.5


def test_without_names():
    def mine(width: int, depth: int = 2):
        """Two."""

    assert list(signature(mine).without("width").arguments) == ["depth"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite_where_it_is_asked(value):
    Argument(float, finite=False).check(value, "rate")
    with pytest.raises(UserError, match=r"^rate: input should be a finite number"):
        Argument(float).check(value, "rate")


# Keys of a list at the top -> one plain value. A list of networks is of mappings, and tasks takes one number too.
LISTS = {
    "groups": "method", "epochs": 3, "layers": "fc1", "factors": "method", "trust": "mine", "formats": "png",
    "figures": "rdms", "order": "gpm",
}  # fmt: skip


def test_every_list_is_in_the_table():
    assert {name for name, one in TOP["analyze"].items() if "list[" in str(one.annotation)} == {
        *LISTS,
        "networks",
        "tasks",
    }


@pytest.mark.parametrize("name", LISTS)
def test_one_value_in_the_place_of_a_list_gets_the_list_proposed(name):
    with pytest.raises(UserError, match=rf"^{name}: .*; write {name}=\[{LISTS[name]}\]$"):
        TOP["analyze"][name].check(LISTS[name], name)


@pytest.mark.parametrize("value", [{"a": 1}, None, [-1], -1, "-"])
def test_what_no_list_would_mend_gets_none_proposed(value):
    with pytest.raises(UserError) as error:
        Argument(list[Annotated[int, Field(ge=0)]]).check(value, "epochs")
    assert "write" not in str(error.value)
