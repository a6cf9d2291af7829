"""Generated command lines: bad values for every key of every option, and valid ones.

What is bad is decided by the JSON schema of a key's type, which jsonschema reads: not by what the commands check with.
As a script: ``python bad_configurations.py BAD VALID`` composes and checks so many, and prints how they fared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import random
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from composed import GROUPS
from hydra import compose, initialize_config_dir
from jsonschema import Draft202012Validator
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, TypeAdapter

from orthotrace.cli.composed import check_composed
from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.config.conf import conf_folder
from orthotrace.config.keys import at, known_keys
from orthotrace.config.schema import NODE, NOTHING, sections, top
from orthotrace.config.signatures import Argument

# Kind -> value.
BAD: dict[str, Any] = {
    "text": "abc", "no": "no", "off": "off", "n": "n", "quoted": "false", "true": True, "false": False,
    "zero": 0, "one": 1, "fraction": 0.5, "more": 1.5, "negative": -1, "number as text": "1",
    "nan": math.nan, "infinite": math.inf, "minus infinite": -math.inf, "huge": 10**30, "huge real": 1e300,
    "null": None, "missing": "???", "empty": "", "list": [], "nested": [["x"]], "nan in list": [math.nan],
    "dict": {}, "of keys": {"a": "b"}, "long": "a" * 5000, "unicode": "\u00e4\u2603", "no unicode": "a\udcff",
    "interpolation": "${nothing}", "deleted": ...,
}  # fmt: skip
# Bad for every key, whatever its type says.
NEVER = ("nan", "infinite", "minus infinite", "huge", "huge real", "missing", "nan in list", "no unicode", "interpolation")  # fmt: skip
# What cannot be the option of a group.
NO_OPTION = (
    "text", "true", "zero", "fraction", "nan", "null", "missing", "empty", "list", "nested", "long", "interpolation",
)  # fmt: skip
OPTIONAL = ("concepts", "weights", "experiment")
# What options need to be whole.
NEEDED = {
    "model=custom": ("model._target_=orthotrace.models.mlp.MLP",),
    "model=outside": ("model.network._target_=torch.nn.Identity",),
    "dataset=events": ("dataset.path=x",),
    "dataset=tensors": ("dataset.path=x",),
    "dataset=parquet": ("dataset.path=x",), "dataset=arrays": ("dataset.path=x",), "dataset=folder": ("dataset.path=x",),
    **{f"concepts={name}": ("concepts.layer=bn1",) for name in GROUPS["concepts"] if name != "none"},
    "concepts=folder": ("concepts.layer=bn1", "concepts.sets.path=x"),
}  # fmt: skip
OF_ANALYSIS = (
    "runs=x",
    "+measures.mine._target_=orthotrace.analysis.similarity.svcca",
    "+references.brain.path=x.npy",
    "+where.model.width=1",
)
# Every option of every group, in as few commands as the largest group has options.
CHOICES = [
    tuple(
        word
        for group, options in sorted(GROUPS.items())
        if group != "experiment"
        for option in [f"{group}={options[number % len(options)]}"]
        for word in (option, *NEEDED.get(option, ()))
    )
    for number in range(max(len(options) for group, options in GROUPS.items() if group != "experiment"))
]


@dataclass(frozen=True)
class Case:
    """A command line, and what it is to come to.

    Attributes:
        name: "train" or "analyze".
        base: overrides that are right.
        key: that is set beside them.
        kind: of its value.
        value: that it is set to; ... deletes it.
        there: whether the configuration has the key already.
    """

    name: str
    base: tuple[str, ...]
    key: str
    kind: str
    value: Any
    there: bool = True

    @property
    def words(self) -> list[str]:
        """The overrides of the command."""
        mine = [word for word in self.base if word.lstrip("+").split("=")[0] != self.key]
        new = "+" if not self.there or (len(mine) < len(self.base) and f"+{self.key}=" in " ".join(self.base)) else ""
        return [*mine, f"~{self.key}" if self.value is ... else f"{new}{self.key}={written(self.value)}"]


def written(value: Any) -> str:
    """A value as the command line has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(written, value)) + "]"
    return str(value)


@functools.cache
def whole(name: str, base: tuple[str, ...]) -> dict[str, Any]:
    """What a command without a fault composes, from the files alone, which takes a tenth of composing; resolved."""
    choices = dict(word.split("=") for word in base if word.split("=")[0] in GROUPS)
    values = OmegaConf.create(known_keys(name, choices))
    for word in base:
        key, _, value = word.lstrip("+").partition("=")
        if key not in GROUPS:
            OmegaConf.update(values, key, int(value) if value.isdigit() else value, force_add=True)
    found: Any = OmegaConf.to_container(values, resolve=True)
    return found


@functools.cache
def schema_of(argument: Argument) -> Draft202012Validator | None:
    """The JSON schema of a key's type; None where it says nothing."""
    annotation = argument.annotation
    plain = isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
    config = None if plain else ConfigDict(arbitrary_types_allowed=True)
    found = TypeAdapter(annotation, config=config).json_schema()
    return Draft202012Validator(found) if found else None


@functools.cache
def typed_keys(name: str, base: tuple[str, ...]) -> dict[str, tuple[Argument, bool]]:
    """Every key that a command can set: its type, and whether the composed configuration has it."""
    values = whole(name, base)
    found = {}
    for section in (top(values, name), *sections(values, name)):
        node = at(values, section.path)
        for key, argument in section.keys.items():
            found[f"{section.path}.{key}".lstrip(".")] = argument, key in node
    return found


@functools.cache
def is_bad(argument: Argument, kind: str, there: bool) -> bool:
    """Whether a kind of value is none that a key can have."""
    if kind == "deleted":
        return there and argument.default is NOTHING
    if kind in NEVER:
        return True
    if argument is NODE:
        # Keys can be merged into a node.
        return kind != "dict"
    schema = schema_of(argument)
    return schema is not None and not schema.is_valid(BAD[kind])


def bad_cases() -> Iterator[Case]:
    """Every kind of bad value for every key of every option of both commands."""
    for name, bases in (("train", CHOICES), ("analyze", [OF_ANALYSIS])):
        for base in bases:
            for key, (argument, there) in typed_keys(name, base).items():
                group = key in GROUPS or (key == "logger" and name == "analyze")
                for kind, value in BAD.items():
                    if kind in NO_OPTION if group else is_bad(argument, kind, there):
                        yield Case(name, base, key, kind, value, there)
            for group in GROUPS if name == "train" else ():
                if group not in OPTIONAL:
                    yield Case(name, base, group, "deleted", ...)


def valid_cases(rng: random.Random) -> Iterator[Case]:
    """Values that fit, without end: a key of any option, and a value drawn from its type."""
    while True:
        name, base = ("analyze", OF_ANALYSIS) if rng.random() < 0.1 else ("train", rng.choice(CHOICES))
        keys = typed_keys(name, base)
        key, (argument, there) = rng.choice(sorted(keys.items()))
        schema = None if argument is NODE else schema_of(argument)
        # What is below some keys has types of its own; what a user names, no type says.
        if (
            any(one.startswith(f"{key}.") for one in keys)
            or schema is None
            or key.endswith(("._target_", "._partial_", "weights.kind"))
            # A file that must be there, and what is told of it.
            or key in ("init_from", "init_digest")
        ):
            continue
        value = drawn(schema.schema, rng)
        # Hydra merges a mapping into one that is there, and refuses names that are new in it.
        merged = isinstance(value, Mapping) and isinstance(at(whole(name, base), key), Mapping)
        if schema.is_valid(value) and not merged:
            yield Case(name, base, key, "valid", value, there)


def drawn(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """A value of a JSON schema, of those that pydantic makes of the types of keys."""
    if "const" in schema or "enum" in schema:
        return rng.choice(schema["enum"]) if "enum" in schema else schema["const"]
    if "anyOf" in schema:
        return drawn(rng.choice(schema["anyOf"]), rng)
    kind = schema.get("type")
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -5))
        high = min(schema.get("maximum", schema.get("exclusiveMaximum", low + 10)), low + 10)
        edges = [schema[edge] for edge in ("minimum", "maximum") if edge in schema and abs(schema[edge]) < 2**62]
        if edges and rng.random() < 0.3:
            return rng.choice(edges)
        if kind == "integer":
            return rng.randint(math.floor(low) + 1, max(math.floor(high) - 1, math.floor(low) + 1))
        return round(low + (high - low) * rng.uniform(0.05, 0.95), 6)
    if kind == "string":
        return "00:01:00:00" if "{2}" in schema.get("pattern", "") else rng.choice(["1", "2"]) if "pattern" in schema else rng.choice(["fc1", "with space", "\u00e4", "it's"])  # fmt: skip
    if kind == "array":
        if "prefixItems" in schema:
            return [drawn(one, rng) for one in schema["prefixItems"]]
        return [drawn(schema.get("items", {}), rng) for _ in range(rng.randint(max(1, schema.get("minItems", 0)), 3))]
    if kind == "object":
        names = schema.get("propertyNames", {}).get("enum", ["fc1", "head"])
        inside = schema.get("additionalProperties", {})
        return {rng.choice(names): drawn(inside if isinstance(inside, Mapping) else {}, rng)}
    return {"boolean": rng.random() < 0.5, "null": None}.get(str(kind), 1)


@dataclass
class Tally:
    """How generated configurations fared.

    Attributes:
        tries: bad and valid ones.
        refused: bad ones, with one line that names the key.
        taken: valid ones.
        wrong: bad ones that were accepted, valid ones that were refused, and lines that name no key or are not one.
        tracebacks: other exceptions.
    """

    tries: int = 0
    refused: int = 0
    taken: int = 0
    wrong: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    def count(self, case: Case, line: str | None) -> None:
        """Count one that was refused by a line, or accepted."""
        self.tries += 1
        what = f"{case.name} {' '.join(case.words)[:300]} ({case.kind}): {line}"
        if line is not None and "Traceback" in line:
            self.tracebacks.append(what)
        elif case.kind == "valid":
            self.taken += line is None
            self.wrong += [what] if line is not None else []
        elif line is not None and names(line, case.key):
            self.refused += 1
        else:
            self.wrong.append(what)


def names(line: str, key: str) -> bool:
    """Whether a message is one short line about a key."""
    head = re.split(r"[:=]", line.removeprefix("error: "))[0]
    about = head == key or head.startswith(f"{key}.") or f"'{key}'" in line or f"+{key}=" in line
    return about and "\n" not in line.strip() and len(line) < 1000


def answer(case: Case) -> str | None:
    """What the command says of a case when it composes and checks it; None where it would go on."""
    said = io.StringIO()
    given = sys.argv
    sys.argv = ["orthotrace", *case.words]
    try:
        with contextlib.redirect_stderr(said), mistakes_on_one_line(case.name):
            with initialize_config_dir(str(conf_folder()), version_base="1.3"):
                config = compose(case.name, case.words, return_hydra_config=True)
            check_composed(config, config.hydra, case.name)
    except SystemExit:
        return said.getvalue()
    except Exception:
        return traceback.format_exc()
    finally:
        sys.argv = given
    return None


def changed(case: Case) -> DictConfig:
    """The configuration of a case, made without composing it."""
    found: Any = OmegaConf.create(whole(case.name, case.base))
    above, _, last = case.key.rpartition(".")
    node = OmegaConf.select(found, above) if above else found
    if case.value is ...:
        node.pop(last)
    else:
        node[last] = case.value
    return found


def sampled(bad: int, valid: int, seed: int) -> list[Case]:
    """So many bad and valid cases."""
    rng = random.Random(seed)
    every = list(bad_cases())
    chosen = rng.sample(every, min(bad, len(every)))
    stream = valid_cases(rng)
    return [*chosen, *(next(stream) for _ in range(valid))]


def tally(bad: int, valid: int, seed: int = 0) -> Tally:
    """Compose and check so many bad and valid configurations in this process."""
    found = Tally()
    for case in sampled(bad, valid, seed):
        found.count(case, answer(case))
    return found


def command_lines(count: int, seed: int = 0) -> Iterator[tuple[Case, list[str]]]:
    """So many bad command lines with their programs, to be run as they are: each must end with 2 and one line."""
    for case in sampled(count, 0, seed):
        yield case, [f"orthotrace-{case.name}", *case.words]


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    result = tally(*numbers)
    print(f"tries {result.tries}, refused with a line that names the key {result.refused}, accepted {result.taken}, "
          f"wrong {len(result.wrong)}, tracebacks {len(result.tracebacks)}")  # fmt: skip
    print(*result.wrong, *result.tracebacks, sep="\n")
    sys.exit(bool(result.wrong or result.tracebacks))
