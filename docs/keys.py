"""The keys of both commands as tables, from the code: type and range, default, meaning."""

from __future__ import annotations

import collections.abc
import functools
import html
import inspect
import re
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from orthotrace.config.conf import conf_folder
from orthotrace.config.keys import at, groups, known_keys
from orthotrace.config.outside import WHERE
from orthotrace.config.schema import MISSING, NODE, NOTHING, sections, top
from orthotrace.config.signatures import Argument
from orthotrace.config.values import FLOAT32
from orthotrace.core.errors import short

WORDS = {bool: "true or false", int: "integer", float: "number", str: "text", NoneType: "null", Any: "anything"}
LISTS = (list, tuple, collections.abc.Sequence)


@dataclass
class Row:
    """A key: what each option says of its type and default, and what it means."""

    key: str
    types: dict[str, list[str]] = field(default_factory=dict)
    defaults: dict[str, list[str]] = field(default_factory=dict)
    meaning: str = ""


def described(annotation: Any) -> str:
    """A type and its range in words."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return bounded(described(arguments[0]), arguments[1:])
    if origin is Literal:
        return " or ".join(code(shown(one)) for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(described, arguments)))
    if origin is tuple and ... not in arguments:
        return f"[{', '.join(map(described, arguments))}]"
    if origin in LISTS:
        inside = described(arguments[0])
        return f"list of ({inside})" if " or " in inside else f"list of {inside}"
    if origin in (dict, collections.abc.Mapping):
        return f"{{{'name' if arguments[0] is str else described(arguments[0])}: {described(arguments[1])}}}"
    return getattr(annotation, "__name__", str(annotation))


def bounded(word: str, metadata: tuple[Any, ...]) -> str:
    """A type with its range."""
    said = {}
    for one in (part for whole in metadata for part in getattr(whole, "metadata", [])):
        for name in ("ge", "gt", "le", "lt", "min_length", "pattern"):
            value = getattr(one, name, None)
            # What every number is held to is no range of one.
            if value is not None and not (isinstance(value, (int, float)) and abs(value) in (2**63, FLOAT32)):
                said[name] = value
    low, high = said.get("ge", said.get("gt")), said.get("le", said.get("lt"))
    if low is not None and high is not None:
        return f"{word} in {'[' if 'ge' in said else '('}{low}, {high}{']' if 'le' in said else ')'}"
    if low is not None:
        return f"{word} {'≥' if 'ge' in said else '>'} {low}"
    if high is not None:
        return f"{word} {'≤' if 'le' in said else '<'} {high}"
    if "pattern" in said:
        return f"{word} like {code(said['pattern'])}"
    return f"{word} (not empty)" if "min_length" in said else word


def code(text: str) -> str:
    """As code in a cell of a table, where a bar would end the cell."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def shown(value: Any) -> str:
    """A value as YAML has it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(one)}' for key, one in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


@functools.cache
def meanings(target: Any) -> dict[str, str]:
    """What the docstrings of a class, and of those above it, say of each argument: the first sentence."""
    found: dict[str, str] = {}
    for one in target.__mro__ if inspect.isclass(target) else [target]:
        for text in (one.__doc__, vars(one).get("__init__", one).__doc__ if inspect.isclass(one) else ""):
            for match in re.finditer(
                r"^( *)(\w+)(?: \([^\n]*?\))?: +(.*(?:\n\1 +\S.*)*)", inspect.cleandoc(text or ""), re.MULTILINE
            ):
                words = re.sub(r":\w+:|`", "", " ".join(match[3].split()))
                sentence = re.split(r"(?<=\w\w)\. |\.? ?\(default|\.? Default", words)[0]
                found.setdefault(match[2], sentence.strip().rstrip("."))
    return found


@functools.cache
def comments() -> dict[tuple[str, str], str]:
    """What the files of conf/ say beside each key: group, or name of the file beside train.yaml, and the key."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(conf_folder().rglob("*.yaml")):
        above: list[tuple[int, str]] = []
        for match in re.finditer(r"^( *)(\w+):(?:[^#\n]* # +(.*))?", path.read_text(), re.MULTILINE):
            above = [*(one for one in above if one[0] < len(match[1])), (len(match[1]), match[2])]
            key = ".".join(name for _, name in above)
            if match[3]:
                found.setdefault((path.stem if path.parent == conf_folder() else path.parent.name, key), match[3])
    return found


def meaning(key: str, argument: Argument, place: str) -> str:
    """What a key means: by its table, by its docstring, or by a file that has it."""
    last = key.rpartition(".")[2]
    said = argument.meaning or (meanings(argument.of).get(last, "") if argument.of else "")
    below = key.removeprefix(f"{place}.").removeprefix("model.weights.")
    shared = [(name, path) for name, path in comments() if name.startswith("_") and path == below]
    return said or next((comments()[one] for one in [(place, below), *shared] if one in comments()), "")


@functools.cache
def rows(name: str) -> dict[str, list[Row]]:
    """The keys of a command: group, or "" for the top -> its keys in their order."""
    options = {group: sorted(one.stem for one in (conf_folder() / group).glob("*.yaml")) for group in groups()}
    own = ("logger",) if name == "analyze" else [group for group in options if group != "experiment"]
    options = {group: options[group] for group in own}
    found: dict[str, dict[str, Row]] = {"": {}, **{group: {} for group in options}}
    for number in range(max(map(len, options.values()))):
        chosen = {group: names[number % len(names)] for group, names in options.items()}
        values = known_keys(name, chosen)
        for section in (top(values, name), *sections(values, name)):
            first = "weights" if section.path == "model.weights" else section.path.split(".")[0]
            group = first if first in options else ""
            for key, argument in section.keys.items():
                if argument is NODE or key.startswith("_"):
                    continue
                node = at(values, section.path)
                path = re.sub(r"(\.sources)\.\w+", r"\1.NAME", f"{section.path}.{key}".lstrip("."))
                row = found[group].setdefault(path, Row(path if key in node else f"+{path}"))
                option = chosen.get(group, "")
                default = node.get(key, argument.default)
                required = default is NOTHING or default == MISSING
                for said, what in (
                    (row.types, "any value" if argument is WHERE else described(argument.annotation)),
                    (row.defaults, "required" if required else code(short(shown(default), 120))),
                ):
                    if option not in said.setdefault(what, []):
                        said[what].append(option)
                row.meaning = row.meaning or meaning(path, argument, group or name)
    return {group: list(found[group].values()) for group in found}


def table(name: str, group: str) -> str:
    """The keys of a group, or of what is in none, as a table in Markdown."""
    found = rows(name).get(group)
    if not found:
        return ""
    count = len({one for row in found for said in row.types.values() for one in said})
    lines = ["| key | type and range | default | meaning |", "|---|---|---|---|"]
    for row in found:
        options = list(dict.fromkeys(one for said in row.types.values() for one in said))
        few = f" ({', '.join(options)})" if len(options) < count and len(options) <= 4 else ""
        types = [f"{what} ({', '.join(of)})" if len(row.types) > 1 else what for what, of in row.types.items()]
        defaults = list(row.defaults) if len(row.defaults) <= 3 else ["by option"]
        cells = [f"`{row.key}`{few}", "; ".join(types), " or ".join(defaults), row.meaning.replace("|", "&#124;")]
        # Braces would be read as attributes of the cell.
        escaped = [cell.replace("{", "&#123;").replace("}", "&#125;") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines) + "\n"
