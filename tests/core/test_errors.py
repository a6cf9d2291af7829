import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import orthotrace
from orthotrace.core.errors import UserError, checked, import_fault, nearest, one_line


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


@checked
@dataclass(frozen=True)
class Inner:
    number: int = 0


@pytest.mark.parametrize(
    ("given", "line"),
    [
        # Of the alternatives that one counts whose range the value is out of.
        ({"size": 0}, "size: input should be greater than or equal to 1 (got 0)"),
        ({"size": "b" * 5000}, f"size: input should be 'a' or a valid integer (got '{'b' * 76}...)"),
        ({"inner": {"number": "x"}}, "inner.number: input should be a valid integer (got 'x')"),
        ({"inner": {"number": True}}, "inner.number: input should be a valid integer (got True)"),
    ],
)
def test_the_fault_is_where_it_is(given, line):
    @checked
    def inside(size: Literal["a"] | Annotated[int, Field(ge=1)] = 1, inner: Inner | None = None) -> None: ...

    inside(size=1, inner={"number": 1})
    with pytest.raises(UserError) as error:
        inside(**given)
    assert str(error.value) == line


def test_lines_are_never_empty_and_keys_never_none():
    assert str(UserError("is wrong").below("stream")) == "stream: is wrong"
    assert one_line(ValueError()) == "ValueError"
    inside = ModuleNotFoundError("No module named 'numpy.mine'", name="numpy.mine")
    assert import_fault(inside) == "No module named 'numpy.mine'"


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("hlpo", ["hlop", "gpm"], "did you mean 'hlop'?"),
        ("tsks", ["stream.tasks", "seed"], "did you mean 'stream.tasks'?"),
        ("gmp", ["sgp", "gpm"], "did you mean 'gpm'?"),
        ("zzz", ["hlop"], "there are: hlop"),
        ("zzz", [], "there are: none"),
    ],
)
def test_nearest(name, names, hint):
    assert nearest(name, names).startswith(hint)


# Folders whose functions users call from Python.
PUBLIC = ("analysis", "data", "layers", "methods", "protection", "subspace")


def test_messages_of_public_functions_are_right_in_python_too():
    """Hydra reads True and quoted texts as Python does; Python does not read true."""
    package = Path(orthotrace.__file__).parent
    files = [file for name in PUBLIC for file in (package / name).rglob("*.py") if file.name != "cli.py"]
    assert len(files) > 100
    for file in [*files, package / "config" / "targets.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\w=(true|false|\[[a-z{])|trust=\[$", node.value), f"{file}:{node.lineno}"
