"""Every configuration that ships: composed, and its keys bound to what they configure."""

from __future__ import annotations

import inspect
import itertools

import pytest
from composed import GROUPS, composed
from omegaconf import OmegaConf

from orthotrace.config.build import build
from orthotrace.config.conf import conf_folder
from orthotrace.config.folder_names import differences, relevant, run_name
from orthotrace.config.renamed import ADDED
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError
from orthotrace.layers.weights import maker_of


@pytest.mark.parametrize("option", GROUPS["weights"])
def test_every_key_of_weights_is_one_of_its_kind(option):
    model = composed(f"weights={option}").model
    if option == "free":
        # Runs from before there was the choice keep their names, and continue.
        assert "weights" not in model
        return
    assert model.weights.kind == option
    found = inspect.signature(maker_of(option)).parameters
    values = {name: model.weights[name] for name in model.weights if name not in ("kind", "layers")}
    given = ("shape", "groups", "layer", "model", "layers", "images", "seed")
    assert values == {name: found[name].default for name in found if name not in given}


@pytest.mark.parametrize(
    ("target", "line"),
    [("fractions.Fraction", "model: fractions.Fraction raised an error: "), ("torch.nn.ReLU6", "model: ReLU6")],
)
def test_an_error_of_the_user_s_own_class_names_it(target, line):
    with pytest.raises(UserError) as error:
        build(OmegaConf.create({"model": {"_target_": target, "numerator": "x"}}), "model")
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_the_analysis_composes():
    assert composed("runs=x", name="analyze").out == "x/analysis"


@pytest.mark.parametrize("experiment", GROUPS["experiment"])
def test_experiments_say_their_command_and_name(experiment):
    first = (conf_folder() / "experiment" / f"{experiment}.yaml").read_text().split("\n")[:3]
    assert any("orthotrace-train" in line and f"experiment={experiment}" in line for line in first)
    config = composed(f"experiment={experiment}")
    assert config.name == experiment
    check(config, "train")


def test_names_are_safe_short_and_distinct():
    overrides = [["seed=0"], ["seed=1"], ["+a=/x/y z"], ["a='[1,2]'"], [f"a={'long' * 50}"], [f"a={'long' * 51}"]]
    names = [run_name(given, composed(*given[:0], f"seed={number}")) for number, given in enumerate(overrides)]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 110 and not set(name) & set("/\\ '\"[]*?$")


def test_the_name_follows_the_configuration_and_nothing_else():
    base = run_name([], composed())
    assert (
        run_name([], composed("logger=wandb", "overwrite=true", "on_failure=stop", "estimate=true", "pruning=50"))
        == base
    )
    for one, two in itertools.combinations(
        [base, run_name([], composed("seed=1")), run_name([], composed("optimizer.lr=1"))], 2
    ):
        assert one != two
    assert run_name(["b=1", "a=2"], composed()) == run_name(["a=2", "b=1"], composed())


@pytest.mark.parametrize("option", GROUPS["dataset"])
def test_keys_that_came_later_count_where_they_are_set(option):
    """Runs from before there were the keys keep their names, and continue."""
    made_here = option in ("digits", "cognitive")
    config = composed(f"dataset={option}", *([] if made_here else ["dataset.path=x"]))
    assert config.dataset.limit is None
    before = config.copy()
    OmegaConf.set_struct(before, False)
    for key in ADDED["dataset"]:
        before.dataset.pop(key, None)
    assert "limit" not in before.dataset and run_name([], config) == run_name([], before)
    config.dataset.limit = 5
    assert run_name([], config) != run_name([], before) and relevant(config)["dataset"]["limit"] == 5


def test_a_key_that_came_to_one_class_is_told_of_others():
    """A class of the user's own may have an argument of that name, and another default."""
    names = []
    for target in ("orthotrace.models.mlp.MLP", "mine.Net"):
        with_key, without = (
            OmegaConf.create({"model": {"_target_": target, "bias": True, **more}})
            for more in ({"nonlinearity": "relu"}, {})
        )
        names.append(differences(relevant(without), relevant(with_key)))
    assert names[0] == [] and len(names[1]) == 1 and "nonlinearity" in names[1][0]


def test_a_name_that_is_cut_shows_what_varies_and_one_that_is_there_is_kept(tmp_path):
    many = [f"model.part{number}=5" for number in range(8)]
    given, config = [*many, "seed=3", "method=gpm"], composed("seed=3", "method=gpm")
    plain = run_name(given, config)
    cut = run_name(given, config, ["seed", "method"], tmp_path)
    assert cut.startswith("seed=3,method=gpm,model") and len(cut) == len(plain) <= 105 and cut[-8:] == plain[-8:]
    assert "seed" not in plain
    # One that is short is the same everywhere.
    assert run_name(["seed=3", "method=gpm"], config, ["seed"], tmp_path) == run_name(["seed=3", "method=gpm"], config)
    (tmp_path / plain).mkdir()
    assert run_name(given, config, ["seed", "method"], tmp_path) == plain
    (tmp_path / plain).rename(tmp_path / cut)
    assert run_name(given, config, (), tmp_path) == cut
    # Of another configuration it is another folder.
    assert run_name(given, composed("seed=4", "method=gpm"), ["seed"], tmp_path) not in (plain, cut)


def test_what_is_irrelevant_is_no_difference():
    assert relevant(composed("logger=wandb")) == relevant(composed())
    assert differences(relevant(composed()), relevant(composed("optimizer=adamw")))[0].startswith("optimizer._target_:")
    assert differences({"a": {}}, {"a": {"b": None}}) == ["a: {} -> (none)", "a.b: (none) -> None"]
