"""Runs that are one network: equal in all that decides the weights."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from orthotrace.config.folder_names import IRRELEVANT
from orthotrace.config.renamed import in_original_names
from orthotrace.results.run_folder import Run

# What decides no weight. Seeds are those that were drawn from: seed=3 and seeds.init=3 with the others are one.
WITHOUT_EFFECT = (*IRRELEVANT, "name", "seed", "seeds")
OF_TRAINER = ("save_every", "batches_at_once")


def distinct(runs: Sequence[Run]) -> tuple[list[Run], dict[str, str]]:
    """Finished runs, each network once.

    A pilot in another folder, a folder that was copied, and the same job twice in a sweep are no further seeds: they
    would count a network as its own replication.

    Args:
        runs: finished.

    Returns:
        The first of each, in their order, and the folder of every other one with that of the run that it equals.
    """
    first: dict[str, Run] = {}
    others: dict[str, str] = {}
    for run in runs:
        kept = first.setdefault(identity(run), run)
        # The same folder twice is one folder.
        if kept is not run and kept.folder.resolve() != run.folder.resolve():
            others[str(run.folder)] = str(kept.folder)
    return list(first.values()), others


def identity(run: Run) -> str:
    """All that decides a run's weights, as text."""
    config: Any = OmegaConf.to_container(run.config)
    kept = {key: value for key, value in in_original_names(config).items() if key not in WITHOUT_EFFECT}
    if isinstance(kept.get("trainer"), dict):
        kept["trainer"] = {key: value for key, value in kept["trainer"].items() if key not in OF_TRAINER}
    return json.dumps(_numbers([kept, run.scores["method"], run.scores["seeds"]]), sort_keys=True, default=str)


def _numbers(value: Any) -> Any:
    """The same, with whole numbers written as such: 0.0 is 0."""
    if isinstance(value, Mapping):
        return {str(key): _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
