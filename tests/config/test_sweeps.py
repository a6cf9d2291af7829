"""The files of conf/sweep, which W&B's agent turns into commands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from composed import composed
from omegaconf import OmegaConf

from orthotrace.cli.composed import check_composed
from orthotrace.config.conf import conf_folder
from orthotrace.config.keys import groups
from orthotrace.training.tracking import WandbTracker

FILES = sorted((conf_folder() / "sweep").glob("*.yaml"))


def of_agent(content: dict, values: dict) -> list[str]:
    """The words of the command that the agent starts, by its own functions."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    told = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    told["program"] = [content["program"]]
    words: list[str] = []
    for word in create_sweep_command(list(content["command"])):
        words += told[word[2:-1]] if word.startswith("${") else [word]
    return words


def ends(parameter: dict) -> list:
    """Each value of a parameter, or the least and the largest."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_value_of_a_sweep_is_a_command_that_composes(file):
    content = yaml.safe_load(file.read_text())
    assert content["metric"] == {"name": "cl/val_acc", "goal": "maximize"}
    assert content["method"] in ("bayes", "grid") and content["program"] == "orthotrace-train"
    parameters = content["parameters"]
    first = {key: ends(of)[0] for key, of in parameters.items()}
    for key, of in parameters.items():
        for value in ends(of):
            program, *overrides = of_agent(content, {**first, key: value})
            assert program == "orthotrace-train" and f"{key}={value}" in overrides
            config = composed(*overrides)
            check_composed(config, SimpleNamespace(overrides=OmegaConf.create({"task": overrides})), "train")
            assert config.stream.get("validation", 0) > 0 and "WandbTracker" in config.logger._target_


def test_the_files_are_no_options():
    assert len(FILES) == 3 and "sweep" not in groups()


def test_a_run_of_an_agent_has_the_id_that_the_agent_gave(tmp_path, monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "given1")
    wandb.teardown()
    tracker = WandbTracker(mode="offline")
    tracker.start(tmp_path, "train", "g", "n", [], {})
    tracker.finish()
    wandb.teardown()
    assert (tmp_path / "wandb" / "run_id").read_text() == "given1"
    assert list(Path(tmp_path).glob("wandb/offline-run-*-given1"))


def test_an_accepted_command_logs_the_metric(train, monkeypatch):
    """The metric is logged by a run as an agent starts it."""
    logged: dict = {}
    content = yaml.safe_load(FILES[0].read_text())
    values = {key: ends(of)[0] for key, of in content["parameters"].items()}
    small = ["logger=wandb_offline", "trainer.max_epochs=1", "dataset.limit=20", "model.hidden=[8]", "stream.tasks=1"]
    log = WandbTracker._log

    def noted(self, row, place):
        logged.update(row)
        log(self, row, place)

    monkeypatch.setattr(WandbTracker, "_log", noted)
    overrides = {one.partition("=")[0]: one for one in [*of_agent(content, values)[1:], *small]}
    assert train(*overrides.values()).code == 0
    assert content["metric"]["name"] in logged
