"""Names that version 0.1 had for today's modules, so that its commands and run folders keep working."""

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override

# Below orthotrace: module of version 0.1, module of now.
_PACKAGE = """
errors:core.errors files:core.files seeds:core.seeds reduce:core.distributed readout:data.active_outputs
configuration:config.build networks:config.network run:results.run_folder scores:results.scores
summary:results.summary comparison:results.statistics latex:results.tables entry.Multirun:cli.multirun.Multirun
entry:cli.launch train:cli.train bar:cli.progress_bar experiment:training.experiment judge:training.evaluation
probe:training.stability_gap progress:training.progress learner:training.learner averaging:training.averaging
schedules:training.schedules regularizer:training.regularizer tracking:training.tracking
alignment:training.concept_alignment
"""
# Below analysis, now orthotrace.analysis.
_ANALYSIS = """
rdm:rdm.dissimilarity rdms:rdm.rdms condensed:rdm.triangles patterns:rdm.patterns noise:rdm.noise
categories:rdm.categories mds:rdm.mds compare:rdm.compare
invariances:similarity.invariances ceilings:inference.ceilings
models:inference.models resampling:inference.resampling samplers:inference.samplers
significance:inference.significance activations:networks.activations networks:networks.read runs:networks.runs
storage:networks.storage outside:networks.outside concepts:concepts.axes purity:concepts.purity
importance:concepts.importance roc:concepts.roc drift:concepts.drift readings:concepts.layer_outputs
concept_study:concepts.study consistency:studies.consistency correspondence:studies.correspondence
references:studies.references results:studies.findings report:report.report analyze:cli
"""
_MOVED = {"analysis": "orthotrace.analysis"}
for _names, _old, _new in ((_PACKAGE, "orthotrace", "orthotrace"), (_ANALYSIS, "analysis", "orthotrace.analysis")):
    _MOVED |= {f"{_old}.{was}": f"{_new}.{now}" for was, now in (pair.split(":") for pair in _names.split())}
# Group -> keys that came after version 0.1, with the values at which all is as it was without them.
ADDED: dict[str, dict[str, Any]] = {
    "dataset": {"classes": None, "limit": None, "preparation": "none"},
    "stream": {"outputs": None},
    "method": {"levels": None, "hold": 1.0, "rank": None, "plasticity": 0.3},
    "model": {"feedback": "backprop"},
    "regularizer": {"bootstrap": None, "bootstrap_beta": None, "restore_best": False},
    "trainer": {"loss": None, "checkpoints": None, "nearest_mean": False, "num_nodes": 1, "batches_at_once": "auto"},
}
# The same, of one class: another may mean something else by the name.
ADDED_TO: dict[str, dict[str, Any]] = {
    "orthotrace.models.convnet.AlexNet": {"statistics": "running"},
    "orthotrace.models.convnet.LeNet": {"initialisation": "torch"},
    "orthotrace.models.mlp.MLP": {"nonlinearity": "relu"},
}
# The same, of no group.
ADDED_ALONE: dict[str, Any] = {"init_digest": None, "seeds_at_once": 1}
_ORIGINAL = {new: old for old, new in _MOVED.items()}


def current(name: str) -> str:
    """The name of now for a dotted name of version 0.1; any other name as it is.

    A module ``analysis`` of the user's own keeps its name.

    Example:
        >>> current("orthotrace.schedules.Step"), current("analysis.rdm.cosine"), current("torch.optim.SGD")
        ('orthotrace.training.schedules.Step', 'orthotrace.analysis.rdm.dissimilarity.cosine', 'torch.optim.SGD')
    """
    return name if name.startswith("analysis.") and _is_users(name) else _replaced(name, _MOVED)


def original(name: str) -> str:
    """The name that version 0.1 had for a dotted name of now; any other name as it is.

    Example:
        >>> original("orthotrace.training.schedules.Step")
        'orthotrace.schedules.Step'
    """
    return _replaced(name, _ORIGINAL)


def in_current_names(node: Any) -> Any:
    """A copy of a node of a configuration whose every ``_target_`` has its name of now.

    Example:
        >>> in_current_names(OmegaConf.create({"a": [{"_target_": "orthotrace.schedules.Step"}]}))
        {'a': [{'_target_': 'orthotrace.training.schedules.Step'}]}
    """
    node = copy.deepcopy(node)
    _translate(node)
    return node


def in_original_names(value: Any) -> Any:
    """The same value, a nested mapping or list, as version 0.1 had it.

    Every ``_target_`` has its name of then, and keys that came later are left out where they change nothing.

    Example:
        >>> in_original_names({"dataset": {"_target_": "orthotrace.data.sources.digits", "limit": None}})
        {'dataset': {'_target_': 'orthotrace.data.sources.digits'}}
    """
    if isinstance(value, Mapping):
        value = _with_rate(value)
        return {
            key: original(item)
            if key == "_target_" and isinstance(item, str)
            else in_original_names(_earlier(key, item))
            for key, item in value.items()
            if key not in ADDED_ALONE or item != ADDED_ALONE[key]
        }
    return [in_original_names(item) for item in value] if isinstance(value, list) else value


def _earlier(key: Any, item: Any) -> Any:
    """What a key holds, without the keys that came later."""
    if key not in ADDED or not isinstance(item, Mapping):
        return item
    added = ADDED[key] | ADDED_TO.get(current(str(item.get("_target_"))), {})
    return {name: one for name, one in item.items() if name not in added or one != added[name]}


def _with_rate(value: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A configuration of TRGP whose scales have the rate that was their default in 0.1, where today's is the same."""
    method, optimizer = value.get("method"), value.get("optimizer")
    if not (isinstance(method, Mapping) and isinstance(optimizer, Mapping)):
        return value
    if method.get("rate", 1.0) is not None or optimizer.get("momentum"):
        return value
    return {**value, "method": {**method, "rate": 1.0}}


def _replaced(name: str, names: Mapping[str, str]) -> str:
    for length in range(name.count(".") + 1, 0, -1):
        parts = name.split(".")
        if (module := ".".join(parts[:length])) in names:
            return ".".join([names[module], *parts[length:]])
    return name


def _is_users(name: str) -> bool:
    """Whether the module of this name is the user's own, or another package's."""
    ours = Path(__file__).parents[1] / "analysis"
    try:
        spec = find_spec(name.rpartition(".")[0])
    except Exception:  # the user's package may raise anything
        return False
    # A mere folder has no origin, and no functions.
    if spec is None or spec.origin is None:
        return False
    return not Path(spec.origin).resolve().is_relative_to(ours.resolve())


def _translate(node: Any) -> None:
    if not isinstance(node, (DictConfig, ListConfig)):
        return
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        if not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key):
            _translate(node[key])
    if isinstance(node, DictConfig) and isinstance(name := OmegaConf.select(node, "_target_"), str):
        with flag_override(node, ["readonly", "struct"], False):
            node["_target_"] = current(name)
