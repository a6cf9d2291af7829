"""The type and range of every key of a configuration, and the check of all of them."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from omegaconf import DictConfig

from orthotrace.config.dataset import SEVERAL
from orthotrace.config.keys import at, groups, write_keys
from orthotrace.config.network import concept_layers_of
from orthotrace.config.outside import FEEDBACK, LAYER, OPTIMIZER, ROWS_FROM, TOP, TRAINER, WEIGHTED, WHERE
from orthotrace.config.renamed import current
from orthotrace.config.signatures import NOTHING, Argument, Signature, signature
from orthotrace.config.values import FINITE, MISSING, checked_values, is_missing
from orthotrace.core.errors import UserError, import_fault, nearest, short

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
# The same in words, where a user's own is called with it.
MEANT = {"model": "shape, that of one input, and classes, the number of outputs"}
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
        "dropout": "orthotrace.analysis.cli.DropoutOptions",
        "interval": "orthotrace.analysis.cli.IntervalOptions",
        "parallel": "orthotrace.analysis.cli.ParallelOptions",
        "spikes": "orthotrace.analysis.cli.SpikeOptions",
    },
}
# Keys of what Hydra instantiates.
HYDRAS = {
    "_target_": Argument(str), "_partial_": Argument(bool, False), "_recursive_": Argument(bool, True),
    "_convert_": Argument(Literal["none", "partial", "object", "all"], "none"),
}  # fmt: skip
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


def check(config: DictConfig, name: str, whole: bool = True) -> None:
    """Check every value of a composed configuration: types, ranges, what is missing, what nobody reads.

    Nothing is built, read or written. What depends on several keys, or on data, is checked where it is used.

    Args:
        config: of one job.
        name: "train" or "analyze".
        whole: also what only the classes say that are configured. They are imported, which takes seconds; without it,
            it is some milliseconds.

    Raises:
        UserError: names the first key at fault.
    """
    values = checked_values(config)
    _check_section(top(values, name), values)
    for group in _wanted(name):
        if values.get(group) is None:
            raise UserError(f"is missing; write {group}=OPTION", group)
    for section in sections(values, name) if whole else ():
        node = at(values, section.path)
        if not isinstance(node, Mapping) and section.path in groups(name):
            raise UserError(f"has keys of its own; write {section.path}=OPTION", section.path)
        if not isinstance(node, Mapping):
            raise UserError(write_keys(section.path, section.keys), section.path)
        if section.path == "concepts" and name == "train":
            if "sets" not in node:
                raise UserError("has no keys; write concepts=OPTION to choose one that has", "concepts")
            if node["sets"] is None:
                raise UserError("has keys of its own; write concepts=OPTION", "concepts.sets")
            concept_layers_of(config)
        _check_section(section, node)


def top(values: Mapping[str, Any], name: str) -> Section:
    """The keys at the top; weights are below a model."""
    places = {path.split(".")[0] for path in PLACES[name]} | {group for group in groups(name) if group != "weights"}
    nodes = sorted(place for place in places if place in values or place not in _optional(name))
    return Section("", {**TOP[name], **dict.fromkeys(nodes, NODE)})


def sections(values: Mapping[str, Any], name: str) -> Iterator[Section]:
    """The nodes of a configuration below its top, with the types of their keys.

    Raises:
        UserError: a _target_ that cannot be found, or a node that should have keys.
    """
    for path, target in PLACES[name].items():
        if at(values, path.split(".")[0]) is None and path.split(".")[0] in OPTIONAL and name == "train":
            continue
        keys, given = _named(target).without(*GIVEN.get(path, ())).arguments, GIVEN.get(path, ())
        if path == "trainer":
            keys, given = trainer_keys()
        if path == "concepts" and name == "train":
            keys = {"layer": LAYER, **keys, "sets": NODE, "whitening": NODE}
        if path in READ:
            keys = {key: one if one is NODE else dataclasses.replace(one, default=NOTHING) for key, one in keys.items()}
        yield Section(path, keys, set=given)
    if name == "train":
        # First: without its kind it would be taken for an argument of the model.
        yield from _weights(values)
    chosen = [group for group in groups(name) if group not in OPTIONAL and group != "trainer"]
    for path in (*chosen, "concepts.sets"):
        node = at(values, path)
        if node is None:
            continue
        yield from targeted(node, path)
    if name != "train":
        yield from _named_by_users(values)


def _optional(name: str) -> tuple[str, ...]:
    """Groups that may be left out: runs say what their data are."""
    return OPTIONAL if name == "train" else (*OPTIONAL, "dataset")


def _wanted(name: str) -> list[str]:
    """The groups of which one option must be chosen."""
    return [group for group in groups(name) if group not in _optional(name)]


def targeted(node: Any, path: str) -> Iterator[Section]:
    """A node that names what it configures, and the nodes with keys inside it."""
    found = Section(path, {"_target_": Argument(str)}, others=True)
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str) or node["_target_"] == MISSING:
        yield found
        return
    said = _located(node["_target_"], f"{path}._target_")
    # A measure is called with two activations.
    given = tuple(said.arguments)[:2] if path.startswith("measures.") else GIVEN.get(path, ())
    if lacking := [one for one in given if one not in said.arguments and not said.others]:
        raise UserError(
            f"'{short(node['_target_'])}' takes no {' and no '.join(lacking)}: it is called with "
            f"{MEANT.get(path, ' and '.join(given))}, so give it arguments of these names",
            f"{path}._target_",
        )
    if current(node["_target_"]) == SEVERAL:
        given = (*given, "only")
    keys = dict(said.without(*given).arguments)
    if current(node["_target_"]).startswith(FINITE):
        given = (*given, "_args_")
    # What else a user's own is called with is not known here.
    keys = {
        key: dataclasses.replace(one, default=None) if one.default is NOTHING and not one.finite else one
        for key, one in keys.items()
    }
    if node["_target_"].startswith("torch.optim."):
        keys = {key: _of_optimizer(key, one) for key, one in keys.items()}
    if path == "method" and "rows_from" in keys:
        keys["rows_from"] = ROWS_FROM
    nested = {key: one for key, one in keys.items() if dataclasses.is_dataclass(one.annotation)}
    made = [key for key, one in keys.items() if one.finite and _is_module(one.annotation)]
    keys |= dict.fromkeys([*nested, *made], NODE)
    called = [key for key, one in keys.items() if one.finite and _is_function(one.annotation)]
    keys |= {key: dataclasses.replace(keys[key], annotation=dict[str, Any] | None) for key in called}
    if path == "model" and not said.others:
        keys.setdefault("feedback", FEEDBACK)
    if path == "model" and isinstance(node.get("weights"), Mapping) and "kind" in node["weights"]:
        keys["weights"] = NODE
    # Of what is not partial nothing would be made.
    own = {**HYDRAS, "_partial_": Argument(Literal[True] if path == "optimizer" else Literal[False], False)}
    yield Section(path, {**(HYDRAS if path.startswith("measures.") else own), **keys}, said.others, given)
    for key, one in nested.items():
        if key in node:
            yield Section(f"{path}.{key}", signature(one.annotation).arguments)
    for key in (*made, *called):
        if key in node and (key in made or "_target_" in (node[key] or ())):
            yield from targeted(node[key], f"{path}.{key}")
    if "sources" in keys and path == "dataset" and isinstance(node.get("sources"), Mapping):
        for name in node["sources"]:
            yield Section(f"{path}.sources.{name}", _named("orthotrace.data.sources.table.table").arguments)


def trainer_keys() -> tuple[dict[str, Argument], tuple[str, ...]]:
    """The keys of the trainer: ours, and those of Lightning without what orthotrace sets itself."""
    ours = _named("orthotrace.training.settings.Training").arguments
    own = tuple(_object("orthotrace.training.trainer.OWN"))
    theirs = _named("pytorch_lightning.Trainer").without(*own).arguments
    found = {key: dataclasses.replace(TRAINER.get(key, one), of=one.of) for key, one in theirs.items()}
    return {**ours, **found}, tuple(key for key in own if key not in ours)


def _of_optimizer(key: str, said: Argument) -> Argument:
    known = OPTIMIZER.get(key, dataclasses.replace(said, finite=True))
    return dataclasses.replace(known, default=said.default, of=said.of)


def _weights(values: Mapping[str, Any]) -> Iterator[Section]:
    """Weights of a kind; a model of the user's own may have an argument of this name."""
    node = at(values, "model.weights")
    kinds = _object("orthotrace.layers.weights.KINDS") if isinstance(node, Mapping) else {}
    # Ours have no such argument.
    if isinstance(node, Mapping) and "kind" not in node and str(at(values, "model._target_")).startswith("orthotrace."):
        raise UserError(f"is missing; there are: {', '.join(kinds)}", "model.weights.kind")
    if isinstance(node, Mapping) and "kind" in node:
        kind = str(node["kind"])
        if kind not in kinds:
            raise UserError(f"there is no kind '{short(kind)}'; {nearest(short(kind), kinds)}", "model.weights.kind")
        keys = _named(kinds[kind]).without("shape", "groups", "layer", "model", "layers", "images", "seed").arguments
        yield Section(
            "model.weights",
            {"kind": Argument(str, meaning="of the weights: the option's name"), "layers": WEIGHTED, **keys},
        )


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
            raise UserError(_object("orthotrace.training.trainer.set_here")(key), path(key))
        if key not in section.keys:
            if section.others or str(key).startswith("_"):
                continue
            what = "no such option" if section.path else "no such key"
            names = [name for name in section.keys if name[0] != "_"]
            hint = nearest(short(str(key)), names) if names else f"{section.path} has none"
            raise UserError(f"{what}; {hint}", path(key))
        known = section.keys[key]
        if isinstance(value, (str, int, float, bool)) and _is_mapping(known):
            raise UserError(write_keys(path(key), {}), path(key))
        if known is NODE:
            continue
        known.check(value, path(key))
    for key, one in section.keys.items():
        if one.default is NOTHING and key not in node:
            raise is_missing(path(key))


def _is_module(annotation: Any) -> bool:
    """Whether an argument is a network, which has a _target_ of its own."""
    return any(
        f"{one.__module__}.{one.__name__}" == "torch.nn.modules.module.Module"
        for one in getattr(annotation, "__mro__", ())
    )


def _is_function(annotation: Any) -> bool:
    """Whether an argument is a function or None, such as an object that is called; it has a _target_ of its own."""
    return any(get_origin(one) is Callable for one in get_args(annotation))


def _is_mapping(known: Argument) -> bool:
    parts = (known.annotation, *get_args(known.annotation)[:1])
    return any(get_origin(one) is dict for one in parts)


def _object(name: str) -> Any:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def _named(name: str) -> Signature:
    return signature(_object(name))


def _located(name: str, key: str) -> Signature:
    """The signature of what a configuration names."""
    if "." not in current(name):
        raise UserError(f"'{short(name)}' names no module; write MODULE.{short(name)}, with the file's name", key)
    try:
        found = _as_instantiated(current(name))
    except Exception as error:  # the user's module may raise anything
        raise UserError(f"'{short(name)}' cannot be found: {import_fault(error)}", key) from error
    if not callable(found):
        raise UserError(f"{short(name)} is no class or function", key)
    return signature(found)


def _as_instantiated(name: str) -> Any:
    """What Hydra finds by a name: what a package holds comes before its module of the same name."""
    first, *rest = name.split(".")
    found, path = importlib.import_module(first), first
    for part in rest:
        path = f"{path}.{part}"
        if not hasattr(found, part) and hasattr(found, "__path__"):
            importlib.import_module(path)
        found = getattr(found, part)
    return found
