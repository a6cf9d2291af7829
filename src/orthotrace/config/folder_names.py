"""The name of a run's folder, and what differs between two configurations."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.build import plain
from orthotrace.config.keys import known_keys
from orthotrace.config.renamed import in_original_names

# What may change without changing a run's results.
IRRELEVANT = ("hydra", "objective", "overwrite", "on_failure", "estimate", "pruning", "logger", "init_from")

# Characters of a name before its hash.
LONGEST = 96


def relevant(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration, as far as results depend on it, in the names of version 0.1.

    Those names make the folder names and comparisons of old and new runs the same.
    """
    # Key by key: what is irrelevant may not be resolvable yet, as the name of the folder is.
    nodes = {str(key): config._get_node(key) for key in config if key not in IRRELEVANT}
    found = {key: plain(node) if OmegaConf.is_config(node) else config[key] for key, node in nodes.items()}
    return in_original_names(found)


def hash_of(found: Mapping[str, Any]) -> str:
    """The hash at the end of a folder's name, of what is relevant."""
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()[:8]


def run_name(
    overrides: list[str],
    config: DictConfig,
    swept: Sequence[str] = (),
    beside: Path | None = None,
    init_digest: str | None = None,
) -> str:
    """A folder's name: the overrides, made safe and short, and a hash of the whole configuration.

    Overrides are sorted and those without effect on the results left out, so the same configuration gets the same
    name in a single run and in a multirun. A name that is too long is cut: in a multirun what varies comes first then,
    and a run that is there under another name keeps it.

    Args:
        overrides: as they were given.
        config: of the run.
        swept: the keys in which the jobs of a multirun differ.
        beside: the folder in which runs may be already.
        init_digest: of the weights that the network starts from; None where it starts from drawn ones.

    Example:
        >>> config = OmegaConf.create({"seed": 0, "path": "/data/a b"})
        >>> run_name(["seed=0", "path='/data/a b'", "hydra.job.chdir=false"], config)
        'path=data-a-b,seed=0-3c8a8aec'
        >>> run_name(["seed=0", *(f"layer{number}.width=100" for number in range(9))], config, ["seed"])
        'seed=0,layer0.width=100,layer1.width=100,layer2.width=100,layer3.width=100,layer4.width=100,laye-3c8a8aec'
    """
    names: list[tuple[str, str]] = []
    for override in sorted(as_written_once(override, config) for override in overrides):
        key, _, value = override.lstrip("+~").partition("=")
        if key.split(".")[0].split("/")[0] in (*IRRELEVANT, "init_digest", "experiment", "name"):
            continue
        # A minus belongs to its number.
        minus = "-" if re.match(r"-\d", value) else ""
        safe = minus + re.sub(r"[^A-Za-z0-9._+-]+", "-", value).strip("-")
        names.append((key, f"{key.rsplit('/', 1)[-1]}={safe[:24]}" if value else key))
    digest = hash_of(relevant(config) | ({} if init_digest is None else {"init_digest": init_digest}))
    label = ",".join(name for _, name in names)
    if len(label) > LONGEST:
        if beside is not None and (there := sorted(beside.glob(f"*-{digest}"))):
            return there[0].name
        order = {key: place for place, key in enumerate(dict.fromkeys(swept))}
        label = ",".join(name for _, name in sorted(names, key=lambda one: order.get(one[0], len(order))))
    label = label[:LONGEST].rstrip(",-.")
    return f"{label}-{digest}" if label else digest


def name_of(config: DictConfig, swept: Sequence[str] = (), init_digest: str | None = None) -> str:
    """The name of the folder of a composed run, as it is in the folder of its multirun; see run_name."""
    # As it stands there: one that holds this very name cannot be looked into.
    where = str(config.hydra.sweep._get_node("dir"))
    beside = None if "run_name" in where else Path(str(config.hydra.sweep.dir))
    return run_name(list(config.hydra.overrides.task), config, swept, beside, init_digest)


def varied(overrides: Sequence[str], swept: Sequence[str]) -> list[str]:
    """What differs between the jobs of a multirun: the overrides of its swept keys, in their order.

    Example:
        >>> varied(["method=gpm", "seed=0", "+model.width=2"], ["seed", "model.width"])
        ['seed=0', 'model.width=2']
    """
    bare = [one.lstrip("+~") for one in overrides]
    told = {one.partition("=")[0]: one for one in bare}
    return [told[key] for key in dict.fromkeys(swept) if key in told]


def as_written_once(override: str, config: DictConfig) -> str:
    """An override with the prefix that its key needs: ``++key=value`` is ``key=value``, or ``+key=value`` of a new key.

    Example:
        >>> as_written_once("++seed=0", OmegaConf.create()), as_written_once("++model.mine=1", OmegaConf.create())
        ('seed=0', '+model.mine=1')
    """
    if not override.startswith("++"):
        return override
    node: Any = known_keys("train", OmegaConf.select(config, "hydra.runtime.choices") or {})
    bare = override[2:]
    for part in bare.partition("=")[0].split("."):
        if not isinstance(node, Mapping) or part not in node:
            return f"+{bare}"
        node = node[part]
    return bare


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two configurations, one line a key.

    Example:
        >>> differences({"a": {"b": 1}}, {"a": {"b": 2}, "c": 3})
        ['a.b: 1 -> 2', 'c: (none) -> 3']
    """
    left, right = dict(leaves(old)), dict(leaves(new))
    none = "(none)"
    return [
        f"{key}: {left.get(key, none)} -> {right.get(key, none)}"
        for key in dict.fromkeys([*left, *right])
        if left.get(key, none) != right.get(key, none)
    ]


def leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested mapping, under its keys joined by dots."""
    for key, item in value.items():
        place = f"{path}.{key}" if path else str(key)
        if isinstance(item, Mapping) and item:
            yield from leaves(item, place)
        else:
            yield place, item
