"""Which figures of scores are drawn, and what their captions say."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest
from omegaconf import OmegaConf

from orthotrace.analysis.figures.facets import Facets
from orthotrace.analysis.figures.scores import drawings_of_scores, paths_of
from orthotrace.analysis.studies.group_names import facet_key, panels_of
from orthotrace.results.groups import Group


def group(tmp_path, method: str, scenario: str = "class", lr: float = 0.1, seeds: int = 2, repeats: int = 1) -> Group:
    scores = {
        "method": method, "stream": "split", "scenario": scenario, "capacity": None, "acc": 0.5, "bwt": -0.2,
        "forgetting": 0.3, "learning_accuracy": 0.85,
        "accuracy": [[0.9, None if scenario == "task" else 0.0], [0.6, 0.8]],
    }  # fmt: skip
    stream = {"scenario": scenario, "repeats": repeats, "blur": 0.0}
    run = SimpleNamespace(
        scores=scores, config=OmegaConf.create({"stream": stream, "optimizer": {"lr": lr}}),
        overrides=[f"stream.scenario={scenario}", f"optimizer.lr={lr}"], inside_file=tmp_path / "inside.csv",
        range_file=tmp_path / "range_test.json",
    )  # fmt: skip
    parts = (("method", method), ("stream.scenario", f"scenario={scenario}"), ("optimizer.lr", f"lr={lr}"))
    return Group(", ".join(text for _, text in parts), (run,) * seeds, parts)


def drawings(grouped: list[Group], level: float = 0.95):
    return drawings_of_scores(grouped, Facets(panels_of(grouped, facet_key(grouped))), level)


@pytest.mark.parametrize(
    ("options", "blank"), [({}, 1), ({"scenario": "task"}, 1), ({"scenario": "domain"}, 0), ({"repeats": 2}, 0)]
)
def test_untaught_tasks_are_blank_and_the_caption_says_so(tmp_path, options, blank):
    caption, make = drawings([group(tmp_path, "gpm", **options)])["matrices"]
    assert ("Blank cells are tasks whose classes were not taught yet" in caption) == bool(blank)
    figure, rows = make()
    assert [row["accuracy"] for row in rows].count(None) == blank == 4 - len(figure.axes[0].texts)
    plt.close(figure)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_a_key_with_three_numbers_has_a_figure_with_a_line_for_each_group_of_the_others(tmp_path, level):
    grouped = [group(tmp_path, method, lr=lr) for method in ("gpm", "hlop") for lr in (1e-3, 1e-2, 1.0)]
    caption, make = drawings(grouped, level)["sweep-optimizer.lr"]
    assert f"bars {100 * level:g} % intervals by Student's t" in caption
    figure, rows = make()
    assert {row["line"] for row in rows} == {"gpm, scenario=class", "hlop, scenario=class"} and len(rows) == 12
    assert figure.axes[0].get_xscale() == "log"
    plt.close(figure)
    assert not [name for name in drawings(grouped[:2]) if name.startswith("sweep")]


def test_the_tradeoff_joins_groups_that_differ_in_one_number_alone(tmp_path):
    grouped = [group(tmp_path, method, lr=lr) for method in ("gpm", "hlop") for lr in (1.0, 1e-3, 1e-2)]
    assert paths_of(grouped) == {
        "optimizer.lr": [
            [f"{method}, scenario=class, lr={lr}" for lr in (1e-3, 1e-2, 1.0)] for method in ("gpm", "hlop")
        ]
    }
    assert paths_of(grouped[:2]) == {}
    # With more groups the rates have a panel each in other figures; here all are in one, or no line could be drawn.
    many = [group(tmp_path, method, lr=lr) for method in ("gpm", "hlop", "sgp") for lr in (1.0, 1e-3, 1e-2)]
    assert len(panels_of(many, facet_key(many))) == 3
    caption, make = drawings(many)["tradeoff"]
    assert "Grey lines join groups that differ in optimizer.lr alone, in its order." in caption
    figure, _ = make()
    assert len(figure.axes) == 1 and len([one for one in figure.axes[0].lines if one.get_color() == "0.6"]) == 3
    plt.close(figure)


def test_panels_have_letters_that_the_caption_explains(tmp_path):
    grouped = [group(tmp_path, method, scenario) for method in ("gpm", "hlop") for scenario in ("class", "domain")]
    caption, make = drawings(grouped)["accuracy"]
    assert "a, c, mean test accuracy" in caption and "b, d, test accuracy on the first task" in caption
    assert "Each panel has the groups of one setting" in caption and "bars ± 1 s.d." in caption
    figure, _ = make()
    assert [axes.get_title() for axes in figure.axes] == ["class-incremental"] * 2 + ["domain-incremental"] * 2
    plt.close(figure)


def test_without_several_seeds_no_bars_are_told_of(tmp_path):
    caption, _ = drawings([group(tmp_path, "gpm", seeds=1)])["accuracy"]
    assert "bars" not in caption and "of one seed" in caption


def test_runs_that_were_tested_inside_tasks_have_their_figure(tmp_path):
    grouped = [group(tmp_path, "gpm")]
    assert "inside" not in drawings(grouped)
    (tmp_path / "inside.csv").write_text("task,step,accuracy_task1,accuracy_task2\n1,1,0.4,\n2,1,0.3,0.5\n")
    (tmp_path / "metrics.csv").write_text("task,epoch,step\n1,1,2\n2,1,4\n")
    grouped[0].runs[0].metrics_file = tmp_path / "metrics.csv"
    caption, make = drawings(grouped)["inside"]
    assert "a, mean on the tasks so far; b, on the first task" in caption and "± 1 s.d." in caption
    figure, rows = make()
    assert len(rows) == 8
    plt.close(figure)


def test_spiking_networks_have_a_figure_of_what_their_neurons_do(tmp_path):
    grouped = [group(tmp_path, "gpm"), group(tmp_path, "hlop")]
    assert "activity" not in drawings(grouped)
    activity = {
        "relu1": {"firing_rate": [0.1, 0.2]},
        "fc1": {"synaptic_operations": [9.0, 8], "multiply_adds": [5.0, 5]},
    }
    grouped[1].runs[0].scores["activity"] = activity
    caption, make = drawings(grouped)["activity"]
    assert "beside the multiply-adds of the layers of an ordinary network" in caption and "bars ± 1 s.d." in caption
    figure, rows = make()
    assert {row["method"] for row in rows} == {grouped[1].label} and len(rows) == 4
    plt.close(figure)
