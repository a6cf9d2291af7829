"""Errors of users: one line that says what is wrong, where, and what to do."""

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, ValidationError, validate_call

from orthotrace.core.strict import strict

Function = TypeVar("Function", bound=Callable[..., Any])


class UserError(Exception):
    """A mistake of the user: one line that says what is wrong, where, and what to do.

    The commands print the message and exit with code 2, without a traceback.

    Args:
        message: the line.
        key: the argument or configuration key at fault, if one is.

    Example:
        >>> str(UserError("must be positive", key="tasks"))
        'tasks: must be positive'
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message, key)
        self.message = message
        self.key = key

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message

    def below(self, path: str) -> "UserError":
        """The same error with its key placed below a path of the configuration.

        Example:
            >>> str(UserError("must be positive", key="tasks").below("stream"))
            'stream.tasks: must be positive'
        """
        return UserError(self.message, f"{path}.{self.key}" if self.key else path)


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint with the nearest right name, and all names where none is near.

    Example:
        >>> nearest("hlpo", ["hlop", "gpm"])
        "did you mean 'hlop'? There are: gpm, hlop"
        >>> nearest("gmp", ["gpm", "sgp"])
        "did you mean 'gpm'? There are: gpm, sgp"
        >>> nearest("xyz", ["hlop", "gpm"])
        'there are: gpm, hlop'
    """
    choices = sorted(set(names))
    listed = ", ".join(choices) if choices else "none"
    # The mistake may be in the last part of a dotted name, or anywhere in it.
    last = {choice.rsplit(".", 1)[-1]: choice for choice in reversed(choices)}
    # Swapped letters first: "gmp" is nearer to "gpm" than to "sgp".
    swapped = [choice for choice in choices if sorted(choice) == sorted(name)]
    match = (
        swapped
        or difflib.get_close_matches(name, choices, n=1)
        or [last[part] for part in difflib.get_close_matches(name.rsplit(".", 1)[-1], last, n=1)]
    )
    if match:
        return f"did you mean '{match[0]}'? There are: {listed}"
    return f"there are: {listed}"


def refuse_unknown(names: Iterable[Any], known: Collection[str], what: str, key: str | None = None) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        UserError: says what the first of them is, and names the nearest.
    """
    for name in names:
        if name not in known:
            raise UserError(f"{what} '{short(str(name))}'; {nearest(str(name), known)}", key)


def short(text: str, length: int = 80) -> str:
    """A text of at most so many characters, cut where it is longer.

    Example:
        >>> len(short("a" * 5000)), short("abc")
        (80, 'abc')
    """
    return text if len(text) <= length else text[: length - 3] + "..."


def folder_at(path: str) -> Path:
    """The folder of a path; where there is none the message says where a relative path was looked for."""
    if not (folder := Path(path)).is_dir():
        where = "" if folder.is_absolute() else f" (looked for in {Path.cwd()})"
        raise UserError(f"there is no folder {short(path, 300)}{where}", "path")
    return folder


def import_fault(error: BaseException) -> str:
    """Why something could not be imported, on one line; of a module that is not there also where it was looked for.

    Example:
        >>> import_fault(ModuleNotFoundError("No module named 'mine'", name="mine")).partition(" (")[0]
        "there is no module 'mine'"
    """
    found: BaseException | None = error
    while found is not None and not (isinstance(found, ModuleNotFoundError) and found.name):
        found = found.__cause__ or found.__context__
    # Of a package that is there Python says what it lacks.
    if found is None or "." in str(found.name):
        return one_line(error)
    return (
        f"there is no module '{found.name}' (looked for in {Path.cwd()}, on PYTHONPATH and among what is installed); "
        "start this in the folder that has it, or put that folder on PYTHONPATH"
    )


def one_line(error: BaseException) -> str:
    r"""The message of a library's error on one line of at most 300 characters.

    Example:
        >>> one_line(ValueError("it broke:\n\n   here"))
        'it broke: here'
    """
    return " ".join(str(error).split())[:300] or type(error).__name__


def checked(function: Function) -> Function:
    """Check a call, or the making of a dataclass, against the types and ranges of the signature, as a user's input.

    The annotations are read by pydantic: ``Annotated[int, Field(ge=1)]`` states a range once,
    for Python and for the command line.

    true is no number, a text is no number, and a float is finite, see strict. So it is in dataclasses among the
    arguments that are checked themselves.

    Raises:
        UserError: names the first argument that does not fit, and what was given.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import Field
        >>> @checked
        ... def stream(tasks: Annotated[int, Field(ge=1)]) -> int:
        ...     return tasks
        >>> stream(tasks=-3)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: tasks: input should be greater than or equal to 1 (got -3)
    """
    if isinstance(function, type):
        if dataclasses.is_dataclass(function):
            # Where it is an argument pydantic fills it by its fields.
            hints = get_type_hints(function, include_extras=True)
            for field in dataclasses.fields(cast(Any, function)):
                field.type = strict(hints[field.name])
        cast(Any, function).__init__ = checked(function.__init__)
        return cast(Function, function)
    annotations = dict(function.__annotations__)
    # The return type is not checked, and may be a class that is still being defined.
    function.__annotations__.pop("return", None)
    hints = get_type_hints(function, include_extras=True)
    function.__annotations__ = {name: strict(hint) for name, hint in hints.items()}
    validated = validate_call(config=ConfigDict(arbitrary_types_allowed=True, extra="forbid"))(function)
    parameters = list(inspect.signature(function).parameters)
    function.__annotations__ = annotations

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            raise _translate(error, kwargs, parameters) from error

    return cast(Function, call)


def _translate(error: ValidationError, given: Mapping[str, Any], parameters: Sequence[str]) -> UserError:
    """Names the argument; a positional one has its index."""
    first = error.errors(include_url=False)[0]["loc"][0]
    name = parameters[first] if isinstance(first, int) and first < len(parameters) else str(first)
    return _fault(error, first, short(name), given.get(name))


def fault_of(error: ValidationError, path: str, value: Any) -> UserError:
    """What is wrong with one value, under its path in a configuration."""
    return _fault(error, None, path, value)


# What pydantic says of these is about classes, patterns, and how it reads 1e30: type -> what is right.
UNREADABLE = {
    "int_parsing_size": "Input should be an integer of 64 bits",
    "is_instance_of": "Input should be a valid list",
    "string_pattern_mismatch": "Input should be a text of another form",
}


def _fault(error: ValidationError, first: int | str | None, path: str, value: Any) -> UserError:
    # Of the alternatives of a union pydantic reports each: one that names a bound is about the value's own type.
    faults: list[Any] = [one for one in error.errors(include_url=False) if first is None or one["loc"][0] == first]
    for one in faults:
        if one["type"] in UNREADABLE and one.get("ctx", {}).get("class", "Sequence") == "Sequence":
            one |= {"msg": UNREADABLE[one["type"]], "ctx": {}}
    fault = next((fault for fault in faults if fault.get("ctx", {}).keys() - {"expected"}), faults[0])
    # Of a key that is misspelt another is missing.
    fault = next((one for one in faults if one["type"] == "unexpected_keyword_argument"), fault)
    key = ".".join([path, *_below(fault["loc"][first is not None :], value)])
    if fault["type"] == "unexpected_keyword_argument":
        return UserError("no such option", key)
    if fault["type"] in ("missing_argument", "missing_keyword_only_argument"):
        return UserError("is missing", key)
    message = fault["msg"][0].lower() + fault["msg"][1:]
    start = "Input should be "
    if (
        len(fault["loc"]) > (first is not None)
        and fault["msg"].startswith(start)
        and not fault.get("ctx", {}).keys() - {"expected"}
    ):
        # None is as specific as another: what would be right is any of them.
        same = [one["msg"] for one in faults if one["input"] is fault["input"] and one["msg"].startswith(start)]
        message = start.lower() + " or ".join(dict.fromkeys(one.removeprefix(start) for one in same))
    # An object of the user's may say what it is on several lines.
    given = " ".join(line.strip() for line in repr(fault["input"]).split("\n"))
    return UserError(f"{message} (got {short(given)})", key)


def _below(place: Sequence[int | str], value: Any) -> list[str]:
    """The keys at fault that the user gave below an argument."""
    keys = []
    # Between them are the names of a union's alternatives.
    for part in place:
        if isinstance(value, Mapping) and part in value:
            keys.append(short(str(part)))
            value = value[part]
    return keys
