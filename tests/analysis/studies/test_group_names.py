from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from orthotrace.analysis.studies.group_names import facet_key, named, numeric, panels_of, varied
from orthotrace.core.errors import UserError
from orthotrace.results.groups import Group


def group(method: str, **settings) -> Group:
    """A group of one run; settings by the last parts of their keys."""
    keys = {"scenario": "stream.scenario", "lr": "optimizer.lr", "energy": "method.energy", "hidden": "model.hidden"}
    config = OmegaConf.create({})
    for name, value in settings.items():
        OmegaConf.update(config, keys[name], value)
    overrides = [f"{keys[name]}={value}" for name, value in settings.items()]
    scores = {"method": method, "stream": "split", "scenario": settings.get("scenario", "task")}
    parts = (("method", method), *((keys[name], f"{name}={value}") for name, value in settings.items()))
    run = SimpleNamespace(config=config, overrides=overrides, scores=scores)
    return Group(", ".join(text for _, text in parts), (run,), parts)


EIGHT = [group(method, scenario=one) for method in ("er", "finetune", "gpm", "hlop") for one in ("class", "domain")]
RATES = [group(method, lr=lr) for method in ("gpm", "hlop") for lr in (0.001, 0.01, 0.1, 1.0)]
ENERGIES = [group("finetune"), *(group("gpm", energy=energy) for energy in (0.8, 0.9, 0.99))]


def test_a_part_is_called_by_the_users_label_everywhere():
    found = named(
        EIGHT, {"gpm": "GPM", "class": "class-IL", "scenario=domain": "domain-IL", "er, scenario=class": "best"}, []
    )
    labels = [one.label for one in found]
    assert "GPM, class-IL" in labels and "hlop, domain-IL" in labels and "best" in labels and "er, domain-IL" in labels
    assert panels_of(found, "stream.scenario")["class-IL"]["GPM, class-IL"] == "GPM"
    # A whole label is the name in its panel.
    assert panels_of(found, "stream.scenario")["class-incremental"] == {"best": "best"}


ORDERS = {
    "methods": (["gpm", "er"], ["gpm", "gpm", "er", "er", "finetune", "finetune", "hlop", "hlop"]),
    "one label": (["hlop, scenario=domain"], ["hlop", "er", "er", "finetune", "finetune", "gpm", "gpm", "hlop"]),
    "nothing": ([], [one.parts[0][1] for one in EIGHT]),
}


@pytest.mark.parametrize(("order", "methods"), ORDERS.values(), ids=ORDERS)
def test_groups_come_in_the_users_order(order, methods):
    assert [one.parts[0][1] for one in named(EIGHT, {}, order)] == methods


def test_values_are_ordered_within_methods():
    found = named(EIGHT, {}, ["gpm", "domain", "class"])
    assert [one.label for one in found][:3] == ["gpm, scenario=domain", "gpm, scenario=class", "er, scenario=domain"]


@pytest.mark.parametrize(
    ("labels", "order", "line"),
    [
        ({"gmp": "GPM"}, [], "labels: no group has 'gmp'; did you mean 'gpm'?"),
        ({}, ["hlpo"], "order: no group has 'hlpo'; did you mean 'hlop'?"),
        ({"gpm": "x", "er": "x"}, [], "labels: 2 groups would be called 'x, scenario=class'"),
    ],
)
def test_labels_that_do_not_fit(labels, order, line):
    with pytest.raises(UserError) as error:
        named(EIGHT, labels, order)
    assert str(error.value).startswith(line)


FACETS = {
    "eight groups": (EIGHT, "stream.scenario"),
    "a method in two scenarios": (EIGHT[:2], None),
    "rates": (RATES, "optimizer.lr"),
    "few groups": (RATES[:6:2], None),
    "a key that some lack": (ENERGIES * 2, None),
    "five rates": ([group(method, lr=lr) for method in ("gpm", "hlop") for lr in range(5)], None),
    "fewest": ([group("gpm", lr=lr, hidden=n) for lr in (1, 2, 3) for n in (4, 8, 16, 32)], "optimizer.lr"),
}


@pytest.mark.parametrize(("grouped", "key"), FACETS.values(), ids=FACETS)
def test_what_has_a_panel_each(grouped, key):
    assert facet_key(grouped) == key and facet_key(grouped, None) is None


def test_panels_are_of_the_key_that_the_user_names():
    assert facet_key(EIGHT, "method") == "method"
    panels = panels_of(EIGHT, "method")
    assert list(panels) == ["er", "finetune", "gpm", "hlop"]
    assert panels["gpm"] == {"gpm, scenario=class": "scenario=class", "gpm, scenario=domain": "scenario=domain"}
    with pytest.raises(UserError, match=r"facets: the groups do not differ in 'optimizer.lr'"):
        facet_key(EIGHT, "optimizer.lr")


def test_a_panel_says_what_its_groups_share():
    panels = panels_of(EIGHT, "stream.scenario")
    assert list(panels) == ["class-incremental", "domain-incremental"]
    assert list(panels["class-incremental"].values()) == ["er", "finetune", "gpm", "hlop"]
    assert list(panels_of(RATES, "optimizer.lr")) == ["lr=0.001", "lr=0.01", "lr=0.1", "lr=1.0"]
    # Two groups of one panel have two names, whatever their labels leave out.
    twins = [group("gpm", scenario="class"), group("gpm", scenario="domain"), group("gpm")]
    twins[2].runs[0].scores["scenario"] = "domain"
    assert len(set(panels_of(twins, "stream.scenario")["domain-incremental"].values())) == 2


def test_numbers_with_three_values_are_swept():
    assert list(numeric(varied(RATES))) == ["optimizer.lr"]
    assert numeric(varied(ENERGIES)) == {"method.energy": [None, 0.8, 0.9, 0.99]}
    assert numeric(varied(EIGHT)) == {} and numeric({"a": [True, False, True]}) == {}
