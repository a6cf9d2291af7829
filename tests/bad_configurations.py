"""Bad values for every key of every option: a wrong type, no number, nothing, too much."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

from composed import GROUPS
from omegaconf import DictConfig, OmegaConf

from orthotrace.config.keys import at, known_keys
from orthotrace.config.schema import sections

# Kind -> value.
BAD = {
    "text": "abc", "boolean": True, "fraction": 0.5, "negative": -1, "nan": float("nan"), "infinite": float("inf"),
    "null": None, "missing": "???", "empty": "", "list": [], "nested": [["x"]], "dict": {}, "of keys": {"a": "b"},
    "huge": 10**30, "long": "a" * 5000, "unicode": "\u00e4\u2603\ud800", "interpolation": "${nothing}",
}  # fmt: skip
# What options need to be whole.
NEEDED = {"model": {"_target_": "orthotrace.models.mlp.MLP"}, "dataset": {"path": "x"}, "sets": {"path": "x"}}
ALL = [(group, option) for group in GROUPS if group != "experiment" for option in GROUPS[group]]


def whole(group: str, option: str) -> dict[str, Any]:
    """A configuration with one option, without its gaps; read from the files, which takes no composing."""
    values = known_keys("train", {group: option})
    for path, needed in (("model", "model"), ("dataset", "dataset"), ("concepts.sets", "sets")):
        node = at(values, path)
        for key, value in NEEDED[needed].items():
            if isinstance(node, dict) and node.get(key) == "???":
                node[key] = value
    if at(values, "dataset.name") == "???":
        values["dataset"]["name"] = "x"
    if at(values, "concepts.layer"):
        values["concepts"]["layer"] = "bn1"
    return values


def keys_of(group: str, option: str) -> list[str]:
    """The keys of an option, those of the top for none of them."""
    values = whole(group, option)
    return [
        f"{section.path}.{key}".lstrip(".")
        for section in sections(OmegaConf.to_container(OmegaConf.create(values), resolve=True), "train")
        for key in at(values, section.path) or ()
        if section.path.split(".")[0] in (group, "model" if group == "weights" else group)
    ]


def bad(group: str, option: str, every: int = 1, start: int = 0) -> Iterator[tuple[str, str, DictConfig]]:
    """Key, kind of value, and the configuration in which it has it; each key is deleted, too. Of all every so many."""
    values = whole(group, option)
    cases = itertools.product(keys_of(group, option), {**BAD, "deleted": ...}.items())
    for key, (kind, value) in itertools.islice(cases, start, None, every):
        above, _, last = key.rpartition(".")
        found = copy.deepcopy(values)
        at(found, above).pop(last)
        if value is not ...:
            at(found, above)[last] = value
        yield key, kind, OmegaConf.create(found)
