"""Jobs that differ in values only are composed once, to what Hydra composes."""

from __future__ import annotations

import pickle

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from orthotrace.cli import launch, loader
from orthotrace.cli.loader import JobLoader
from orthotrace.config.conf import conf_folder


@pytest.fixture
def hydra(monkeypatch):
    """Hydra with the configurations of this package."""
    assert launch.name_of is not None
    monkeypatch.setattr(loader, "_composed", {})
    yield Hydra.create_main_hydra2("orthotrace-train", create_config_search_path(str(conf_folder())))
    GlobalHydra.instance().clear()


def master_of(hydra, *words):
    """The configuration of a multirun."""
    return hydra.compose_config("train", list(words), RunMode.MULTIRUN)


def composed(of, master, job):
    """A configuration as text, or the error that it gives."""
    try:
        return OmegaConf.to_yaml(of.load_sweep_config(master, list(job)))
    except Exception as error:
        return repr(error)


JOBS = {
    "values": ("seed=1", "method=gpm", "optimizer.lr=.1", "name=a"),
    "another choice": ("seed=2", "method=hlop", "name=b"),
    "a list": ("model.hidden=[3,4]", "method=gpm"),
    "none": (),
    "an experiment": ("experiment=digits", "optimizer.lr=1e-3", "name=${method.name}"),
    "a key that is added": ("+trainer.more=3", "seed=3", "++name=x"),
    "a key that is left out": ("~trainer.precision", "seed=3"),
    "a choice that is left out": ("~model", "seed=3"),
    "one key within another": ("model={hidden:[5]}", "model.hidden=[6]"),
    "the same key twice": ("seed=3", "seed=4"),
    "a section for a value": ("model.hidden={a:1}", "seed=1"),
    "a value for a section": ("trainer=3", "seed=1"),
    "a section for none": ("trainer.limit_train_batches={a:1}", "seed=1"),
    "no such key": ("nokey=3", "seed=1"),
    "no such choice": ("method=none_such", "seed=1"),
    "a section by its name": ("logger=wandb", "logger.project=p"),
    "no override": ("seed=a=b",),
    "a value that is not of the type": ("hydra.job.num=x",),
    "a value before one that is forced": ("seed=3", "++seed=4"),
    "a value before one that is added": ("model.hidden=[1]", "+model.hidden=[2]"),
    "a value before its section": ("trainer.max_epochs=2", "++trainer={max_epochs:3}"),
}


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_job_is_what_hydra_composes(hydra, job):
    master = master_of(hydra, "seed=1,2", "hydra.job.chdir=false")
    expected = composed(hydra.config_loader, master, job)
    own = JobLoader(hydra.config_loader.get_search_path())
    assert composed(own, master, job) == expected
    # Launchers hand it to their workers.
    assert composed(pickle.loads(pickle.dumps(own)), master, job) == expected


def test_jobs_that_differ_in_values_are_composed_once(hydra, monkeypatch):
    calls: list[list[str]] = []
    whole = ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_sweep_config", lambda self, master, job: calls.append(job) or whole(self, master, job)
    )
    master, own = master_of(hydra, "seed=1,2"), JobLoader(hydra.config_loader.get_search_path())
    found = [
        pickle.loads(pickle.dumps(own)).load_sweep_config(master, [f"method={method}", f"seed={seed}"])
        for method in ("gpm", "hlop") for seed in range(3)
    ]  # fmt: skip
    assert calls == [["method=gpm"], ["method=hlop"]]
    assert [one.seed for one in found] == [0, 1, 2] * 2
    assert [one.hydra.overrides.task[1] for one in found[:3]] == ["seed=0", "seed=1", "seed=2"]


def test_a_group_in_a_folder_of_the_user_is_composed(hydra, tmp_path):
    (tmp_path / "extra").mkdir()
    for name in ("a", "b"):
        (tmp_path / "extra" / f"{name}.yaml").write_text(f"which: {name}\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\ndefaults:\n  - /extra: a\n")
    master = master_of(hydra, f"hydra.searchpath=[{tmp_path}]", "seed=1,2")
    own = JobLoader(hydra.config_loader.get_search_path())
    for extra in ("a", "b"):
        job = ["experiment=own", f"extra={extra}"]
        assert composed(own, master, job) == composed(hydra.config_loader, master, job)
        assert own.load_sweep_config(master, job).extra.which == extra


def test_a_group_that_is_only_searched_for_is_none_of_the_values(hydra, tmp_path):
    (tmp_path / "rates").mkdir()
    (tmp_path / "rates" / "slow.yaml").write_text("fc1.weight: 0.1\n")
    master = master_of(hydra, f"hydra.searchpath=[{tmp_path}]", "seed=1,2")
    own = JobLoader(hydra.config_loader.get_search_path())
    for job in (["rates=slow"], ["+rates=slow"]):
        assert composed(own, master, job) == composed(hydra.config_loader, master, job)


def test_what_a_job_changes_is_not_in_the_next_one(hydra):
    master, own = master_of(hydra, "seed=1,2"), JobLoader(hydra.config_loader.get_search_path())
    first = own.load_sweep_config(master, ["seed=1"])
    OmegaConf.update(first, "model.hidden", [7])
    assert own.load_sweep_config(master, ["seed=2"]).model.hidden != [7]
