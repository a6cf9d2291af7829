"""A run's configuration calls nothing that nobody named."""

from __future__ import annotations

import shutil

import pytest
from composed import NAMED
from omegaconf import DictConfig, OmegaConf

from orthotrace.config.conf import conf_folder
from orthotrace.config.targets import BUILT, check_targets, targets
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run, load

# Callables of every kind: of the language, of libraries, of ours that conf/ does not name, and near those that it does.
OTHERS = (
    "builtins.print", "os.getcwd", "pathlib.Path.touch", "torch.load", "torch.hub.load", "torch.nn.init.ones_",
    "torch.nn.modules.Linear.forward", "orthotrace.core.files.write_text", "orthotrace.models.mlp.MLP.forward",
    "orthotrace.models.mlp", "mine.Net", "nn.Linear", "",
)  # fmt: skip
PLACES = (
    lambda name: {"model": {"_target_": name}},
    lambda name: {"model": {"_target_": "orthotrace.models.mlp.MLP", "hidden": {"_target_": name}}},
    lambda name: {"dataset": {"parts": [{"deep": [{"_target_": name}]}]}},
    lambda name: {"model": "${other.0}", "other": [{"_target_": name}]},
    lambda name: {"model": {"_target_": "${other}"}, "other": name},
    lambda name: {"model": f"${{oc.create:{{_target_: '{name}'}}}}"},
    lambda name: {"model": "${oc.dict.values:other}", "other": {"a": {"_target_": name}}},
    lambda name: {"concepts": {"sets": {"_target_": name, "_partial_": True}}},
)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_what_nobody_named_is_refused_wherever_it_stands(name, place):
    config = DictConfig(PLACES[place](name))
    with pytest.raises(UserError, match=r"_target_: .*which you have not named.*trust=\[\""):
        check_targets(config)
    if "." in name.strip("."):
        check_targets(config, trust=[name])
        check_targets(config, trust=[name.partition(".")[0]])
        with pytest.raises(UserError):
            check_targets(config, trust=[name[:-1], f"{name}s", f"{name}.more"])


def test_every_option_is_allowed():
    files = [path for path in conf_folder().rglob("*.yaml") if path.stem not in NAMED]
    assert len(files) > 50
    for path in files:
        for _, name in targets(OmegaConf.to_container(OmegaConf.load(path))):
            check_targets(OmegaConf.create({"model": {"_target_": name}}))


def test_names_of_version_0_1_are_allowed():
    check_targets(OmegaConf.create({"stream": {"_target_": "orthotrace.schedules.Step"}}))


@pytest.fixture
def strange(study, tmp_path):
    """A run whose configuration would leave a mark if it were built."""
    run = Run(next(path.parents[1] for path in sorted(study.glob("*/.hydra/config.yaml"))))
    shutil.copytree(run.folder, tmp_path / "runs" / "one")
    copy = Run(tmp_path / "runs" / "one")
    config = copy.config
    mark = tmp_path / "mark"
    OmegaConf.update(config, "model", {"_target_": "pathlib.Path.touch", "self": str(mark)}, merge=False)
    (copy.hydra / "config.yaml").write_text(OmegaConf.to_yaml(config))
    (copy.hydra / ".sha256").unlink()
    return copy.folder, mark


def test_a_stranger_s_run_is_not_built(strange, analyze):
    folder, mark = strange
    with pytest.raises(UserError, match=r"pathlib\.Path\.touch.*model\._target_ in .*config\.yaml"):
        load(folder)
    answer = analyze(f"runs={folder.parent}")
    assert answer.code == 2 and answer.err.count("\n") == 1 and 'trust=["pathlib.Path.touch"]' in answer.err
    assert not mark.exists()


def test_what_is_named_is_built(strange):
    folder, _ = strange
    # It is called, with what a model is called with.
    with pytest.raises(UserError, match="touch"):
        load(folder, trust="pathlib.Path.touch")


@pytest.mark.parametrize("group", BUILT)
def test_a_module_that_is_not_found_is_told_with_the_folder_of_the_run(study, tmp_path, monkeypatch, analyze, group):
    run = next(study.glob("method=gpm*seed=0*"))
    shutil.copytree(run, tmp_path / "runs" / "one")
    copy = Run(tmp_path / "runs" / "one")
    OmegaConf.update(copy.config, group, {"_target_": "notfound.Mine"}, merge=False, force_add=True)
    (copy.hydra / "config.yaml").write_text(OmegaConf.to_yaml(copy.config))
    (copy.hydra / ".sha256").unlink()
    there = OmegaConf.load(copy.hydra / "hydra.yaml").hydra.runtime.cwd
    told = rf"runs/one needs your module 'notfound', which is not found; the run was started in {there}; start .* "
    with pytest.raises(UserError, match=rf"{told}.*sys\.path\.append.*\({group}\._target_ in .*config\.yaml\)"):
        load(copy.folder, trust="notfound")
    # Whether it may be called is asked first.
    with pytest.raises(UserError, match="trust="):
        load(copy.folder)
    if group == "model":
        answer = analyze("runs=runs", "trust=[notfound]")
        assert answer.code == 2 and answer.err.count("\n") == 1 and "needs your module 'notfound'" in answer.err
        # Without what Hydra noted.
        (copy.hydra / "hydra.yaml").unlink()
        with pytest.raises(UserError, match=r"is not found; start .* sys\.path\.append\('FOLDER'\)"):
            load(copy.folder, trust="notfound")
