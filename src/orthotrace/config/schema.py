"""The type and range of every key of a configuration, and the check of all of them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from orthotrace.config.keys import at, groups, write_keys
from orthotrace.config.network import concept_layers_of
from orthotrace.config.outside import FLOAT32, LAYER, OPTIMIZER, ROWS_FROM, TOP, TRAINER, WEIGHTED, WHERE
from orthotrace.config.renamed import current
from orthotrace.config.signatures import NOTHING, Argument, Signature, signature
from orthotrace.core.errors import UserError, nearest, one_line, short

MISSING = "???"
# A node with keys of its own.
NODE = Argument(Any, None)
# Groups that may be left out.
OPTIONAL = ("concepts", "weights", "experiment")
# What a node is given beside its keys.
GIVEN = {
    "stream": ("source", "seed"), "model": ("shape", "classes"), "optimizer": ("params",),
    "concepts": ("sets", "stream", "seed"), "concepts.sets": ("source",),
    "concepts.whitening": ("channels", "concepts", "groups"),
}  # fmt: skip
# What has keys without a _target_: by name, since the configuration lies below what it configures.
PLACES = {
    "train": {
        "seeds": "orthotrace.core.seeds.Seeds",
        "trainer": "orthotrace.training.settings.Training",
        "concepts": "orthotrace.training.concept_alignment.Alignment",
        "concepts.whitening": "orthotrace.layers.concept_whitening.ConceptWhitening",
    },
    "analyze": {
        "stimuli": "orthotrace.analysis.cli.StimulusOptions",
        "concepts": "orthotrace.analysis.cli.ConceptOptions",
        "interval": "orthotrace.analysis.cli.IntervalOptions",
    },
}
# Keys that the commands read, default or not.
READ = ("seeds", "concepts")


@dataclass(frozen=True)
class Section:
    """A node of a configuration that has keys.

    Attributes:
        path: of the node; empty at the top.
        keys: their types, ranges and defaults.
        others: whether other keys are the user's to name.
        set: keys that orthotrace sets itself.
    """

    path: str
    keys: Mapping[str, Argument]
    others: bool = False
    set: tuple[str, ...] = ()


def check(config: DictConfig, name: str) -> None:
    """Check every value of a composed configuration: types, ranges, what is missing, what nobody reads.

    Nothing is built, read or written. What depends on several keys, or on data, is checked where it is used.

    Args:
        config: of one job.
        name: "train" or "analyze".

    Raises:
        UserError: names the first key at fault.
    """
    if absent := next(missing(config), None):
        raise UserError(f"is missing; write {absent}=VALUE", absent)
    values = resolved(config)
    for section in sections(values, name):
        node = at(values, section.path)
        if not isinstance(node, Mapping):
            raise UserError(write_keys(section.path, section.keys), section.path)
        if section.path == "concepts" and name == "train":
            concept_layers_of(config)
        _check_section(section, node)


def sections(values: Mapping[str, Any], name: str) -> Iterator[Section]:
    """The nodes of a configuration with the types of their keys, as far as it has them.

    Raises:
        UserError: a group is missing, or a _target_ that cannot be found.
    """
    own = groups() if name == "train" else ["logger"]
    wanted = [group for group in own if group not in OPTIONAL and f"{group}." not in values]
    yield Section("", {**TOP[name], **dict.fromkeys(_top(values, name, own), NODE)})
    for group in wanted:
        if values.get(group) is None:
            raise UserError(f"is missing; write {group}=OPTION", group)
    for path, target in PLACES[name].items():
        if at(values, path) is None and path.split(".")[0] in OPTIONAL and name == "train":
            continue
        keys, given = _named(target).without(*GIVEN.get(path, ())).arguments, GIVEN.get(path, ())
        if path == "trainer":
            keys, given = trainer_keys()
        if path == "concepts" and name == "train":
            keys = {"layer": LAYER, **keys, "sets": NODE, "whitening": NODE}
        if path in READ:
            keys = {key: one if one is NODE else dataclasses.replace(one, default=NOTHING) for key, one in keys.items()}
        yield Section(path, keys, set=given)
    for path in (*(group for group in wanted if group != "trainer"), "concepts.sets"):
        node = at(values, path)
        if node is None:
            continue
        yield from targeted(node, path)
    if name == "train":
        yield from _weights(values)
    else:
        yield from _named_by_users(values)


def _top(values: Mapping[str, Any], name: str, own: list[str]) -> list[str]:
    """Keys at the top that have keys of their own; the keys of weights are those of a model."""
    places = {path.split(".")[0] for path in PLACES[name]} | {group for group in own if group != "weights"}
    return sorted(place for place in places if place in values or place not in OPTIONAL)


def targeted(node: Any, path: str) -> Iterator[Section]:
    """A node that names what it configures, and the nodes with keys inside it."""
    found = Section(path, {"_target_": Argument(str)}, others=True)
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str) or node["_target_"] == MISSING:
        yield found
        return
    said = _located(node["_target_"], f"{path}._target_")
    given = GIVEN.get(path, ())
    keys = dict(said.without(*given).arguments)
    # What else a user's own is called with is not known here; a measure is called with two activations.
    keys = {
        key: one if one.finite and not path.startswith("measures.") else dataclasses.replace(one, default=None)
        for key, one in keys.items()
    }
    if node["_target_"].startswith("torch.optim."):
        keys = {key: _of_optimizer(key, one) for key, one in keys.items()}
    if path == "method" and "rows_from" in keys:
        keys["rows_from"] = ROWS_FROM
    nested = {key: one for key, one in keys.items() if dataclasses.is_dataclass(one.annotation)}
    keys |= dict.fromkeys(nested, NODE)
    if path == "model" and isinstance(node.get("weights"), Mapping) and "kind" in node["weights"]:
        keys["weights"] = NODE
    yield Section(path, {"_target_": Argument(str), "_partial_": Argument(bool, False), **keys}, said.others, given)
    for key, one in nested.items():
        if key in node:
            yield Section(f"{path}.{key}", signature(one.annotation).arguments)
    if "sources" in keys and path == "dataset" and isinstance(node.get("sources"), Mapping):
        for name in node["sources"]:
            yield Section(f"{path}.sources.{name}", _named("orthotrace.data.sources.table.table").arguments)


def trainer_keys() -> tuple[dict[str, Argument], tuple[str, ...]]:
    """The keys of the trainer: ours, and those of Lightning without what orthotrace sets itself."""
    ours = _named("orthotrace.training.settings.Training").arguments
    own = tuple(_object("orthotrace.training.trainer.OWN"))
    theirs = _named("pytorch_lightning.Trainer").without(*own).arguments
    found = {key: TRAINER.get(key, one) for key, one in theirs.items()}
    precision = dataclasses.replace(theirs["precision"], meaning=TRAINER["precision"].meaning)
    return {**ours, **found, "precision": precision}, tuple(key for key in own if key not in ours)


def _of_optimizer(key: str, said: Argument) -> Argument:
    known = OPTIMIZER.get(key, dataclasses.replace(said, finite=True))
    return dataclasses.replace(known, default=said.default)


def _weights(values: Mapping[str, Any]) -> Iterator[Section]:
    """Orthogonal weights; a model of the user's own may have an argument of this name."""
    node = at(values, "model.weights")
    if isinstance(node, Mapping) and "kind" in node:
        kinds = _object("orthotrace.layers.orthogonalise.KINDS")
        kind = str(node["kind"])
        if kind not in kinds:
            raise UserError(f"there is no kind '{short(kind)}'; {nearest(short(kind), kinds)}", "model.weights.kind")
        keys = signature(kinds[kind]).without("shape", "groups", "layer").arguments
        yield Section("model.weights", {"kind": Argument(str), "layers": WEIGHTED, **keys})


def _named_by_users(values: Mapping[str, Any]) -> Iterator[Section]:
    """What users name in an analysis: which runs, measures, references."""
    if isinstance(values.get("where"), Mapping):
        yield Section("where", dict.fromkeys(values["where"], WHERE))
    for key in ("measures", "references"):
        for name, node in values[key].items() if isinstance(values.get(key), Mapping) else ():
            path = f"{key}.{name}"
            needed = "_target_=package.function" if key == "measures" else "path=FILE"
            if not isinstance(node, Mapping) or needed.split("=")[0] not in node:
                raise UserError(f"write +{path}.{needed}", path)
            if key == "measures":
                yield from targeted(node, path)
            else:
                yield Section(path, _named("orthotrace.analysis.studies.references.reference").arguments)


def _check_section(section: Section, node: Mapping[str, Any]) -> None:
    def path(key: Any) -> str:
        return f"{section.path}.{short(str(key))}" if section.path else short(str(key))

    for key, value in node.items():
        if key in section.set and key not in section.keys:
            raise UserError("is set by orthotrace itself", path(key))
        if key not in section.keys:
            if section.others or str(key).startswith("_"):
                continue
            what = "no such option" if section.path else "no such key"
            names = [name for name in section.keys if name[0] != "_"]
            hint = nearest(short(str(key)), names) if names else f"{section.path} has none"
            raise UserError(f"{what}; {hint}", path(key))
        if value == MISSING:
            raise UserError(f"is missing; write {path(key)}=VALUE", path(key))
        known = section.keys[key]
        if isinstance(value, (str, int, float, bool)) and _is_mapping(known):
            raise UserError(write_keys(path(key), {}), path(key))
        if known is NODE:
            continue
        known.check(value, path(key))
        _check_leaves(value, path(key), known.finite)
    for key, one in section.keys.items():
        if one.default is NOTHING and key not in node:
            raise UserError(f"is missing; write {path(key)}=VALUE", path(key))


def _is_mapping(known: Argument) -> bool:
    return str(known.annotation).startswith("dict[")


def _check_leaves(value: Any, path: str, finite: bool) -> None:
    """Refuse what is missing further down, and what fits into no tensor or file."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _check_leaves(key, path, finite)
            _check_leaves(one, f"{path}.{short(str(key))}", finite)
    elif isinstance(value, list):
        for one in value:
            _check_leaves(one, path, finite)
    elif value == MISSING:
        raise UserError(f"is missing; write {path}=VALUE", path)
    elif isinstance(value, float) and finite and FLOAT32 < abs(value) < float("inf"):
        raise UserError(f"is too large for a float32 (got {value})", path)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError("is too large for 64 bits", path)
    elif isinstance(value, str) and (value.encode(errors="replace") != value.encode(errors="backslashreplace")
                                     or "\0" in value):  # fmt: skip
        raise UserError(f"is no text in UTF-8 (got {short(repr(value))})", path)


def missing(config: DictConfig, path: str = "") -> Iterator[str]:
    """The keys whose value is "???"; without that of a concept layer, which has a line of its own."""
    for key in map(str, config):
        place = f"{path}.{key}" if path else str(key)
        node = config._get_node(key)
        if place == "hydra" or place == "concepts.layer":
            continue
        if OmegaConf.is_interpolation(config, key):
            continue
        if OmegaConf.is_missing(config, key):
            yield place
        elif isinstance(node, DictConfig) and not node._is_none():
            yield from missing(node, place)


def resolved(config: DictConfig) -> dict[str, Any]:
    """The values of a configuration without Hydra's own; "???" where one is missing.

    Raises:
        UserError: an interpolation that cannot be resolved; names its key.
    """
    found: dict[str, Any] = {}
    for key in map(str, config):
        if key != "hydra":
            try:
                node = config._get_node(key)
                if OmegaConf.is_config(node) and not OmegaConf.is_interpolation(config, key):
                    found[key] = _plain(node)
                else:
                    found[key] = MISSING if OmegaConf.is_missing(config, key) else _plain(config[key])
            except OmegaConfBaseException as error:
                place = error.full_key or key
                raise UserError(f"cannot be resolved: {short(str(error).splitlines()[0], 200)}", place) from error
    return found


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _object(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def _named(name: str) -> Signature:
    return signature(_object(name))


def _located(name: str, key: str) -> Signature:
    """The signature of what a configuration names."""
    # As instantiate finds it, without what get_object prints.
    from hydra._internal.utils import _locate

    try:
        found = _locate(current(name))
    except Exception as error:  # the user's module may raise anything
        raise UserError(f"'{short(name)}' cannot be found: {one_line(error)}", key) from error
    if not callable(found):
        raise UserError(f"{short(name)} is no class or function", key)
    return signature(found)
