"""Lists of networks that orthotrace did not train: from YAML, a configuration or Python to networks and groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import OmegaConf
from torch import Tensor, nn

from orthotrace.analysis.networks.activations import FEW
from orthotrace.analysis.networks.given import BuiltNetwork, GivenGroup, GivenNetwork, SavedNetwork, Value
from orthotrace.analysis.networks.saved import SavedLayers
from orthotrace.config.targets import LAYER, shipped, targets
from orthotrace.core.errors import UserError, refuse_unknown, short
from orthotrace.core.files import read

if TYPE_CHECKING:
    from orthotrace.analysis.networks.kept import KeptRdms
    from orthotrace.analysis.networks.places import Read
    from orthotrace.analysis.networks.runs import Stimuli
    from orthotrace.analysis.networks.windows import TimeReading

KEYS = ("name", "model", "weights", "activations", "layers", "columns")
# The column of the tasks, or epochs, after which one network is known.
TASK = "task"
# Where a file's name has the value of a column.
FIELD = re.compile(r"\{(\w+)\}")


def is_seed(column: str) -> bool:
    """Whether a column tells networks of one group apart.

    Example:
        >>> [name for name in ("seed", "order_seed", "width", "task") if is_seed(name)]
        ['seed', 'order_seed']
    """
    return column == "seed" or column.endswith("_seed")


def networks_of(given: Any, trust: Sequence[str] = ()) -> list[GivenNetwork]:
    """The networks of a list.

    Args:
        given: entries, or name -> entry, or a YAML file of either, whose paths are relative to its folder. An entry is
            a mapping with ``model`` (a node with _target_ and arguments, the name of a callable, a module, a function)
            and ``weights`` (a file), or ``activations`` (a file, an array, or layer -> array); beside it ``columns``,
            ``layers`` and ``name``. A module, a function, or an array is an entry too. {column} in the name of a file
            stands for any text: each file that matches is a network, and the text its column.
        trust: callables, modules or packages of your own that a file may name: it can come from somebody else.

    Raises:
        UserError: an entry that does not fit, a callable that nobody named, a file that is missing, or two networks
            that nothing tells apart; names the entry.

    Example:
        >>> found = networks_of([{"model": nn.Linear(3, 2), "columns": {"kind": "plain", "seed": s}} for s in (0, 1)])
        >>> [one.name for one in found]
        ['plain-0', 'plain-1']
    """
    folder, trusted = Path(), True
    if isinstance(given, (str, Path)):
        path = Path(given)
        if path.suffix in (".pkl", ".pickle", ".pt", ".npy"):
            raise UserError(f"{path} is no list of networks: write a YAML file that names it", "networks")
        try:
            given = read(path, lambda file: OmegaConf.to_container(OmegaConf.load(file), resolve=True), "mend the YAML")
        except UserError as error:
            raise UserError(error.message, "networks") from error
        folder, trusted = path.parent, False
    if not isinstance(given, (Mapping, Sequence)) or isinstance(given, str) or not given:
        raise UserError("a list of networks, name -> network, or a YAML file of either", "networks")
    named = given.items() if isinstance(given, Mapping) else [(None, one) for one in given]
    entries = []
    for number, (name, one) in enumerate(named):
        where = f"networks.{number if name is None else name}"
        entry = _entry(one, name, where)
        if not trusted:
            _check_trust(entry.get("model"), trust, where)
        entries += _expanded(entry, folder, where)
    return _merged([_stage(entry, where) for entry, where in entries])


def grouped_networks(networks: Sequence[GivenNetwork], by: Sequence[str] | None = None) -> list[GivenGroup]:
    """Networks in groups, whose networks differ in their seeds only.

    Args:
        networks: networks.
        by: the columns that make groups; None for all that are no seeds. Without any column each network is a group.

    Raises:
        UserError: a column that there is not, that a network lacks, or in which the networks do not differ.
    """
    columns = list(dict.fromkeys(name for one in networks for name in one.columns))
    if by is not None:
        refuse_unknown(by, columns, "no network has the column", "groups")
    factors = [name for name in columns if not is_seed(name)] if by is None else list(by)
    for name in factors:
        if lacking := next((one for one in networks if name not in one.columns), None):
            raise UserError(f"is missing, which other networks have: '{name}'", f"networks.{lacking.name}.columns")
        values = {one.columns[name] for one in networks}
        if by is not None and len(values) == 1:
            (only,) = values
            raise UserError(f"'{name}' is {only} for all networks: a factor has two values or more", "groups")
    if not columns:
        return [GivenGroup(one.name, (one,), (("name", one.name),)) for one in networks]
    varied = [name for name in factors if len({str(one.columns[name]) for one in networks}) > 1]
    found: dict[tuple[Value, ...], list[GivenNetwork]] = {}
    for one in networks:
        found.setdefault(tuple(one.columns[name] for name in factors), []).append(one)
    groups = []
    for values, same in found.items():
        own = dict(zip(factors, values, strict=True))
        parts = tuple((name, _text(name, own[name])) for name in varied or factors) or (("name", "networks"),)
        groups.append(GivenGroup(", ".join(text for _, text in parts), tuple(same), parts, own))
    return groups


def check_networks(networks: Sequence[GivenNetwork]) -> int | None:
    """Check what can be checked before anything is read: weights by their names, numbers of stimuli.

    Returns:
        The number of stimuli of activations; None where there are none.

    Raises:
        UserError: weights that do not fit, or activations of different numbers of stimuli; names the network.
    """
    made: dict[str, nn.Module] = {}
    counts: dict[str, int] = {}
    for network in networks:
        for stage in network.stages.values():
            if isinstance(stage, SavedNetwork):
                counts[network.name] = stage.saved.stimuli
                continue
            try:
                stage.check(made)
            except UserError as error:
                raise error.below(f"networks.{network.name}") from error
    first = next(iter(counts), "")
    if other := next((name for name, count in counts.items() if count != counts[first]), None):
        raise UserError(
            f"activations of {counts[other]} stimuli, where those of {first} are of {counts[first]}: all networks must "
            "see the same stimuli",
            f"networks.{other}",
        )
    return counts[first] if counts else None


def check_layers(
    networks: Sequence[GivenNetwork],
    stimuli: Stimuli,
    layers: Sequence[str] | None,
    read: Read,
    kept: KeptRdms | None = None,
    time: TimeReading | None = None,
) -> None:
    """Check that one network of each kind takes the stimuli and has the layers, by a few stimuli.

    Raises:
        UserError: it does not, or a name or pattern of a layer matches nothing; names the network.
    """
    few = replace(stimuli, images=stimuli.images[:FEW])
    known: set[str] = set()
    for network in networks:
        for task, stage in network.stages.items():
            own = f"{network.name}: " if stage.layers is None else ""
            try:
                if isinstance(stage, SavedNetwork):
                    stage.chosen(layers)
                    continue
                # Of a network whose RDMs are kept it is known.
                path = None if kept is None else kept.path(network, task)
                kind = f"{stage.model if isinstance(stage.model, Mapping) else id(stage.model)} {stage.layers}"
                if kind not in known and not (path is not None and path.is_file()):
                    stage.read(few, layers, read, time=time)
                known.add(kind)
            except UserError as error:
                if error.key not in ("layers", "images"):
                    raise error.below(f"networks.{network.name}") from error
                raise UserError(
                    f"{own}{error.message}", error.key if own else f"networks.{network.name}.layers"
                ) from error


def _text(name: str, value: Value) -> str:
    """A value in a label: as it is where it is text, else with its column."""
    return value if isinstance(value, str) else f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def _entry(one: Any, name: str | None, where: str) -> dict[str, Any]:
    if isinstance(one, (nn.Module, Callable)) and not isinstance(one, Mapping):
        entry: dict[str, Any] = {"model": one}
    elif isinstance(one, (np.ndarray, Tensor)):
        entry = {"activations": {"activations": one}}
    elif isinstance(one, Mapping):
        refuse_unknown(one, KEYS, "an entry has no key", where)
        entry = dict(one)
    else:
        raise UserError(f"write the keys model and weights, or activations (got {short(repr(one))})", where)
    if ("model" in entry) == ("activations" in entry):
        raise UserError("one of model and activations is needed", where)
    if "activations" in entry and "weights" in entry:
        raise UserError("activations need no weights", where)
    model = entry.get("model")
    if isinstance(model, str):
        entry["model"] = model = {"_target_": model}
    if isinstance(model, Mapping) and not isinstance(model.get("_target_"), str):
        raise UserError("write model: {_target_: package.Class, and its arguments}", where)
    columns = entry.setdefault("columns", {}) or {}
    if not isinstance(columns, Mapping) or not all(isinstance(value, Value) for value in columns.values()):
        raise UserError("column: value, which is text, a number, true or false", f"{where}.columns")
    layers = entry.get("layers")
    if isinstance(layers, (list, tuple)):
        entry["layers"] = [str(layer) for layer in layers]
    elif isinstance(layers, Mapping):
        entry["layers"] = {str(common): str(own) for common, own in layers.items()}
    elif layers is not None:
        raise UserError("a list of names or patterns, or common name: own name", f"{where}.layers")
    entry["columns"] = {str(key): value for key, value in columns.items()}
    return entry if name is None else {"name": str(name), **entry}


def _check_trust(model: Any, trust: Sequence[str], where: str) -> None:
    for path, name in targets({"model": model} if isinstance(model, Mapping) else {}):
        named = any(name == one or name.startswith(f"{one}.") for one in trust)
        if not named and name not in shipped() and not LAYER.fullmatch(name):
            raise UserError(
                f"this file would call '{short(name)}', which you have not named; if you know what it does, give "
                f'trust=["{name.split(".")[0]}"]',
                f"{where}.{path}",
            )


def _expanded(entry: dict[str, Any], folder: Path, where: str) -> list[tuple[dict[str, Any], str]]:
    """An entry for each file that the pattern of its name matches, with the columns of the name."""
    key = "activations" if "activations" in entry else "weights"
    given = entry.get(key)
    if given is None or not isinstance(given, (str, Path)):
        return [(entry, where)]
    path = folder / given
    if not FIELD.search(str(given)):
        return [({**entry, key: path}, where)]
    fields = FIELD.findall(str(given))
    if len(set(fields)) < len(fields):
        raise UserError(f"{given} names a column twice", f"{where}.{key}")
    pieces = FIELD.split(str(path))
    pattern = re.compile("".join("([^/]+?)" if place % 2 else re.escape(text) for place, text in enumerate(pieces)))
    glob = FIELD.sub("*", str(given))
    base = Path(path.anchor) if path.is_absolute() else Path()
    whole = FIELD.sub("*", str(path))
    files = sorted(base.glob(whole[len(path.anchor) :] if path.is_absolute() else whole))
    found = []
    for file in files:
        if match := pattern.fullmatch(str(file)):
            columns = dict(zip(fields, map(_value, match.groups()), strict=True))
            found.append(({**entry, key: file, "columns": {**entry["columns"], **columns}}, where))
    if not found:
        raise UserError(f"no file matches {folder / glob}", f"{where}.{key}")
    return found


def _value(text: str) -> Value:
    """What a name says: a number where it is one."""
    try:
        return int(text)
    except ValueError:
        return text


def _stage(entry: dict[str, Any], where: str) -> tuple[dict[str, Any], BuiltNetwork | SavedNetwork]:
    columns = entry["columns"]
    try:
        if "activations" in entry:
            return entry, SavedNetwork(SavedLayers(_arrays(entry["activations"])), entry.get("layers"))
    except UserError as error:
        raise UserError(error.message, where) from error
    model, weights = entry["model"], entry.get("weights")
    if not isinstance(model, (Mapping, nn.Module)) and not callable(model):
        raise UserError(f"no module or function (got {type(model).__name__})", f"{where}.model")
    if weights is not None and not Path(weights).is_file():
        raise UserError(f"there is no file {weights}", f"{where}.weights")
    seed = columns.get("seed", 0)
    seed = seed if isinstance(seed, int) else 0
    return entry, BuiltNetwork(model, None if weights is None else Path(weights), entry.get("layers"), seed)


def _arrays(given: Any) -> Any:
    return {"activations": given} if isinstance(given, (np.ndarray, Tensor)) else given


def _merged(stages: Sequence[tuple[dict[str, Any], BuiltNetwork | SavedNetwork]]) -> list[GivenNetwork]:
    """Entries that differ in their task alone are one network."""
    found: list[tuple[str, dict[str, Value], dict[int, BuiltNetwork | SavedNetwork]]] = []
    for entry, stage in stages:
        columns = dict(entry["columns"])
        task = columns.pop(TASK, None)
        name = re.sub(r"[/\\\0]", "_", str(entry.get("name") or _called(columns, stage)))
        if task is None:
            found.append((name, columns, {1: stage}))
            continue
        if not isinstance(task, int) or isinstance(task, bool) or task < 0:
            raise UserError(f"'{TASK}' is a whole number from 0 (got {task})", f"networks.{name}.columns")
        same = next((one for one in found if one[1] == columns and task not in one[2]), None)
        if same is None:
            found.append((name, columns, {task: stage}))
        else:
            same[2][task] = stage
    taken: dict[str, int] = {}
    networks = []
    for name, columns, of in found:
        taken[name] = taken.get(name, 0) + 1
        networks.append(GivenNetwork(f"{name}-{taken[name]}" if taken[name] > 1 else name, columns, of))
    names = [one.name for one in networks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two networks would be called '{twice}': give each a name", "networks")
    return networks


def _called(columns: Mapping[str, Value], stage: BuiltNetwork | SavedNetwork) -> str:
    if columns:
        return "-".join(str(value) for value in columns.values())
    return stage.weights.stem if stage.weights is not None else stage.called.rpartition(".")[2]


def given_rows(grouped: Sequence[Any]) -> list[dict[str, Any]]:
    """What networks were given: by name, with their columns, what makes them, and the digest of their file."""
    rows = []
    for group in grouped:
        for run in group.runs:
            assert isinstance(run, GivenNetwork)
            for task, stage in run.stages.items():
                rows.append(
                    {
                        "group": group.label,
                        "network": run.name,
                        "task": task,
                        "columns": dict(run.columns),
                        "made by": stage.called,
                        "file": None if stage.weights is None else str(stage.weights),
                        "digest": stage.digest,
                    }
                )
    return rows
