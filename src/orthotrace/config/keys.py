"""The keys that the files of conf/ have, and a hint for one that they do not."""

import copy
import difflib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from orthotrace.config.conf import conf_folder, group_folders
from orthotrace.core.errors import nearest, short

# Keys below which users name their own.
OPEN = ("measures", "references")
# Groups of options that an analysis has too.
IN_ANALYSES = ["logger", "dataset"]


def known_keys(config_name: str, choices: Mapping[str, str], folders: Sequence[Path] = ()) -> dict[str, Any]:
    """The keys of a configuration with the chosen options, as the files have them, without a user's own.

    Read from the files: Hydra takes some .3 s to compose them.
    """
    top = conf_folder() / f"{config_name}.yaml"
    found, options, chosen = _load(top), _defaults(top), dict(choices)
    if experiment := _option(f"experiment/{chosen.get('experiment')}", folders):
        chosen = _defaults(experiment) | chosen
    # A stream may choose its method, where nobody else does.
    stream = _option(f"stream/{(options | chosen).get('stream')}", folders)
    options |= (_defaults(stream) if stream else {}) | chosen
    for group, option in options.items():
        file = _option(f"{group}/{option}", folders)
        # An experiment's keys are those of the groups.
        if file and group != "experiment":
            header = re.match(r"# @package (\S+)", file.read_text(encoding="utf-8"))
            package = header[1] if header else group
            if package != "_global_":
                part = _whole(file)
                for name in reversed(package.split(".")):
                    part = {name: part}
                found = _merged(found, part)
    return {key: copy.deepcopy(value) for key, value in found.items() if key not in ("defaults", "hydra")}


def groups(config_name: str = "train") -> list[str]:
    """The groups of options; an analysis has some of them."""
    return [path.name for path in group_folders()] if config_name == "train" else IN_ANALYSES


def at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a path; None where there is none."""
    found: Any = values
    for key in path.split(".") if path else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def plain_file(file: Path) -> dict[str, Any]:
    """What a file of conf/ says, as it stands there."""
    return copy.deepcopy(_load(file))


def write_keys(name: str, keys: Mapping[str, Any]) -> str:
    """What to write instead of a value for what has keys.

    Example:
        >>> write_keys("seeds", {"init": 0, "order": 0})
        'has keys of its own: write seeds.KEY=..., where KEY is one of init, order'
    """
    names = ", ".join(key for key in keys if key != "_target_")
    if names:
        return f"has keys of its own: write {name}.KEY=..., where KEY is one of {names}"
    return f"has keys of its own, which are yours to name: write +{name}.NAME=..."


def one_option(given: str) -> str:
    """What is said of a list in the place of an option."""
    return f"one option only (got {short(given)}); set the keys of others beside it"


def hint(name: str, known: Mapping[str, Any], options: Sequence[str]) -> str:
    """The nearest of the keys beside one that is wrong: all keys would not fit on a line.

    Args:
        name: the path that is wrong.
        known: the keys there are.
        options: groups, which are keys too.

    Example:
        >>> known = {"spikes": {"windows": None, "tau": 2}, "seed": 0, "seeds": {"init": 0}, "measures": {}}
        >>> hint("spike.windows", known, [])
        "did you mean 'spikes.windows'?"
        >>> hint("seed.init", known, [])
        "did you mean 'seeds.init'?"
        >>> hint("spikes.windws", known, [])
        "did you mean 'spikes.windows'? There are: spikes.tau, spikes.windows"
        >>> hint("measure.mine", known, [])
        "did you mean '+measures.mine'?"
    """
    keys = sorted({*options, *_paths(known)})
    deeper = [key for key in keys if key.endswith(f".{name}")]
    if deeper:
        return f"did you mean '{deeper[0]}'?"
    parent = name.rpartition(".")[0]
    # Of a path that is wrong above its last part the first part that exists counts.
    while parent and parent not in keys:
        parent = parent.rpartition(".")[0]
    beside = [key for key in keys if parent and key.rpartition(".")[0] == parent]
    if name.startswith("model.weights.") and "model.weights" not in keys:
        return "the chosen weights has no keys"
    if not beside and parent in OPEN:
        return f"it is yours to name: write +{name}=..."
    if "." in name and (other := _in_nearest(name.split("."), known)):
        return f"did you mean '{other}'?"
    if not beside and _chosen_by_user(known, parent):
        return f"an argument of your own class is written +{name}=..."
    if not beside and parent in keys:
        return f"the chosen {parent} has no keys"
    return nearest(name, beside or [key for key in keys if "." not in key])


def _in_nearest(parts: Sequence[str], known: Any) -> str | None:
    """The key that a path leads to where a part of it above the last is misspelt; None where there is none."""
    node, found = known, []
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        names = [key for key, value in node.items() if key != "_target_" and (last or isinstance(value, Mapping))]
        if found and found[0] in OPEN:
            return "+" + ".".join([*found, *parts[place:]]) if found != list(parts[:place]) else None
        # Of "seed.init" no part is misspelt, and yet seed has no keys.
        match = [part] if part in names else difflib.get_close_matches(part, names, n=1)
        if not match:
            return None
        found.append(match[0])
        node = node[match[0]]
    return ".".join(found) if found[:-1] != list(parts[:-1]) else None


def _chosen_by_user(known: Mapping[str, Any], path: str) -> bool:
    """Whether a node has no keys but the name of what it configures, which the user is to give."""
    return isinstance(node := known.get(path), Mapping) and dict(node) == {"_target_": "???"}


def _paths(node: Any, path: str = "") -> Iterator[str]:
    for key, value in node.items() if isinstance(node, Mapping) else ():
        if key != "_target_":
            yield f"{path}{key}"
            yield from _paths(value, f"{path}{key}.")


def _load(file: Path) -> dict[str, Any]:
    """What a file says; not to be changed."""
    about = file.stat()
    return _read(file, about.st_mtime_ns, about.st_size)


# A command looks at the same files several times, and reading one takes as long as all that is done with it.
@functools.lru_cache(maxsize=512)
def _read(file: Path, changed: int, size: int) -> dict[str, Any]:
    loaded: Any = OmegaConf.to_container(OmegaConf.load(file))
    return loaded if isinstance(loaded, dict) else {}


def _merged(values: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Values with others over them, key by key, as OmegaConf merges them: what is missing replaces nothing."""
    found = dict(values)
    for key, value in others.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = _merged(found[key], value)
        elif value != "???" or key not in found:
            found[key] = value
    return found


def _option(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of an option; None where there is none."""
    return next((file for folder in (conf_folder(), *folders) if (file := folder / f"{name}.yaml").is_file()), None)


def _defaults(file: Path) -> dict[str, str]:
    """Group -> option of a defaults list, with those of the files beside it that it names."""
    found: dict[str, str] = {}
    for entry in _load(file).get("defaults", []):
        if isinstance(entry, dict):
            found |= {str(key).split("@")[0].split("/")[-1].split(" ")[-1]: str(one) for key, one in entry.items()}
        elif "/" not in str(entry) and (base := file.with_name(f"{entry}.yaml")).is_file():
            found |= _defaults(base)
    return found


def _whole(file: Path) -> dict[str, Any]:
    """An option with the files that its defaults list names: beside it, or /FILE@PACKAGE at the top of conf/."""
    content, found = dict(_load(file)), dict[str, Any]()
    for entry in content.pop("defaults", []):
        if isinstance(entry, dict):
            # Chooses an option of another group.
            continue
        name, _, package = str(entry).partition("@")
        base = conf_folder() / f"{name[1:]}.yaml" if name.startswith("/") else file.with_name(f"{name}.yaml")
        if base.is_file():
            part = _whole(base)
            found = _merged(found, {package: part} if package not in ("", "_here_") else part)
    return _merged(found, content)
