"""What tests share: every option of every group, experiments built from configurations, runs that are stopped."""

from __future__ import annotations

import copy
import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

from conftest import command, keep_configurations, read_once
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

import orthotrace.results
from orthotrace.cli.train import assemble
from orthotrace.config.conf import conf_folder, group_folders
from orthotrace.config.keys import known_keys
from orthotrace.results.run_folder import Run
from orthotrace.training.tracking import Tracker

keep_configurations()
GROUPS = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in group_folders()}


class Keys(dict[str, list[str]]):
    """The keys of each method, looked up when they are asked for: a few milliseconds each."""

    def __missing__(self, method: str) -> list[str]:
        return self.setdefault(method, list(known_keys("train", {"method": method})["method"]))


KEYS = Keys()
SCHEMA = json.loads((Path(orthotrace.results.__file__).parent / "scores.schema.json").read_text())
# Made once: looking whether the schema is one takes longer than looking at the scores.
check_scores = Draft202012Validator(SCHEMA).validate
# Methods that need adapters, and a network that has some.
ADAPTERS = ("eblora", "inflora", "splitlora")
ADAPTED = ("weights=lora", "model.weights.rank=2")
MEMORY = ("er", "er_ace", "derpp", "agem", "icarl")
# Models whose class, or that of what is inside, the user names.
NAMED = ("custom", "outside")
FIVE = ("cifar10", "mnist", "svhn", "fashion_mnist", "notmnist")


def composed(*overrides: str, name: str = "train"):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose(name, list(overrides))


@functools.cache
def _of_options(*overrides: str):
    return composed(*overrides)


def configured(*overrides: str):
    # Composing takes as long as training a tiny run: once for each choice of options, whose keys are then set.
    keys = [one for one in overrides if "." in one.partition("=")[0] and not one.startswith("+")]
    config = copy.deepcopy(_of_options(*(one for one in overrides if one not in keys)))
    for key in OverridesParser.create().parse_overrides(keys):
        assert not (key.is_add() or key.is_delete())
        OmegaConf.update(config, key.key_or_group, key.value(), force_add=False)
    return config


def built(run: Run, *overrides: str, tracker: Tracker | None = None):
    read_once()
    config = configured(*overrides)
    choices = {key: value for key, _, value in (one.partition("=") for one in overrides) if "." not in key}
    hydra = SimpleNamespace(runtime=SimpleNamespace(choices=SimpleNamespace(**choices)))
    return assemble(config, run, hydra, tracker=tracker)[0]


def five(folder):
    # Imports what takes a second.
    from images import write_tables

    for classes, name in enumerate(FIVE, start=2):
        write_tables(folder / name, classes, per_class=4, image="img" if name == "cifar10" else "image")
    return folder


class StopError(Exception):
    pass


class Stopping(Tracker):
    """Stops a run when a row is reported, before its epoch is saved."""

    def __init__(self, task: int, epoch: int):
        self.place = (task, epoch)

    def epoch(self, row, number):
        if (row["task"], row["epoch"]) == self.place:
            raise StopError


class Copying(Tracker):
    """Copies a run's folder whenever an epoch of a task is reported, before it is saved: what a kill would leave then."""

    def __init__(self, run: Run, copy: Run, task: int):
        self.run = run
        self.copy = copy
        self.number = task

    def epoch(self, row, number):
        if row["task"] == self.number:
            shutil.rmtree(self.copy.folder, ignore_errors=True)
            shutil.copytree(self.run.folder, self.copy.folder)


def inspect(file: Path) -> dict:
    """Read an offline run of Weights & Biases back, by its own tool."""
    done = command("wandb", "leet", "inspect", "--json", str(file), cwd=file.parent)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.strip().split("\n")]
    (run,) = [record["run"] for record in records if record["type"] == "run"]
    return {
        "id": run["run_id"], "group": run["run_group"], "job_type": run["job_type"], "name": run["display_name"],
        "tags": run.get("tags", []), "config": run["config"]["update"],
        "history": [record["history"]["item"] for record in records if record["type"] == "history"],
    }  # fmt: skip
