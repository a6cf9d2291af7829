"""Concept layers of several methods, seeds and tasks: nothing is mixed up on the way to rows and figures."""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from orthotrace.analysis.concepts.importance import Importance
from orthotrace.analysis.concepts.layer_outputs import LayerOutputs, axis_purity, evaluate_concepts
from orthotrace.analysis.concepts.study import ConceptNetwork, concept_rows, kinds, layer_rows, over_tasks, same
from orthotrace.analysis.figures.concept_study import concept_drawings

CONCEPTS = ("thick", "slanted left")
CHANNELS, IMAGES = 6, 40


def network(method, seed, task, tasks, layer="bn1", pixels=False, level=0.95) -> ConceptNetwork:
    rng = np.random.default_rng([seed, task, len(method)])
    has = {
        part: np.random.default_rng(number).random((IMAGES, 2)) < 0.4
        for number, part in enumerate(("train", "validation", "test"))
    }
    values = {
        part: rng.standard_normal((IMAGES, CHANNELS)) + np.pad(of, ((0, 0), (0, CHANNELS - 2)))
        for part, of in has.items()
    }
    outputs = LayerOutputs(
        CONCEPTS, values, values, {part: one[:, :2] for part, one in values.items()}, values["test"], 0.25,
        tuple(rng.standard_normal((2, 1, CHANNELS))), has,
    )  # fmt: skip
    purity = axis_purity(outputs, level)
    assert purity is not None
    last = task == tasks
    ratio = np.array([2.0, 3.0]) + seed
    nothing = np.zeros((3, 2))
    importance = Importance(((0,), (1,)), ratio, ratio, (0, 1, 2), nothing + ratio, nothing, 0.1, np.ones(3), 3)
    return ConceptNetwork(
        method, SimpleNamespace(folder=Path(f"runs/{method}-{seed}")), task, layer, outputs, purity,  # pyright: ignore[reportArgumentType]
        evaluate_concepts(outputs, level) if last else None,
        importance if last else None,
        # The second seed's tasks have other classes.
        ("ant", "bee", "cow" if seed else "dog") if last else (),
        rng.random((IMAGES, 5, 5, 1)) if pixels and last else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def networks():
    return [
        network(method, seed, task, tasks=3, pixels=seed == 0)
        for method in ("finetune", "gpm")
        for seed in (0, 1)
        for task in (1, 2, 3)
    ]


def test_kinds_and_their_networks(networks):
    assert kinds(networks) == [("finetune", "bn1"), ("gpm", "bn1")]
    assert [(one.run.folder.name, one.task) for one in same(networks, "gpm", "bn1")] == [
        (f"gpm-{seed}", task) for seed in (0, 1) for task in (1, 2, 3)
    ]


def test_purity_and_angle_over_tasks(networks):
    own = same(networks, "gpm", "bn1")
    purity, angle = over_tasks(own)
    assert purity.shape == angle.shape == (2, 3, 2)
    for place, one in enumerate(own):
        seed, task = divmod(place, 3)
        assert np.array_equal(purity[seed, task], one.purity.auc.value)
        rows, first = np.concatenate(one.axes), np.concatenate(own[3 * seed].axes)
        cosines = (rows * first).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(first, axis=1)
        assert np.allclose(angle[seed, task], np.degrees(np.arccos(np.clip(cosines, -1, 1))), atol=1e-5)


def test_a_row_for_each_concept_of_each_network(networks):
    rows = concept_rows(networks)
    assert len(rows) == 2 * 2 * 3 * 2
    by = {(row["run"], row["task"], row["concept"]): row for row in rows}
    for one in networks:
        for number, concept in enumerate(CONCEPTS):
            row = by[one.run.folder.name, one.task, concept]
            assert row["method"] == one.method and row["layer"] == "bn1"
            auc = one.purity.auc
            assert (row["purity"], row["low"], row["high"]) == (auc.value[number], auc.low[number], auc.high[number])
            if one.evaluation is None or one.importance is None:
                assert row["filter"] is row["probe"] is row["vector"] is row["importance"] is None
            else:
                assert row["filter"] == one.evaluation.filter.auc.value[number]
                assert row["probe"] == one.evaluation.probe.auc.value[number]
                assert row["vector"] == one.evaluation.vector.auc.value[number]
                assert row["importance"] == one.importance.ratio[number]
            if one.task == 1:
                assert row["angle"] == 0


def test_a_row_for_each_network_that_was_evaluated(networks):
    rows = layer_rows(networks)
    assert [(row["method"], row["task"]) for row in rows] == [("finetune", 3)] * 2 + [("gpm", 3)] * 2
    assert rows[0]["whiteness"] == 0.25
    assert rows[0]["inter"] == networks[2].evaluation.separate.inter
    assert rows[0]["similarity"] == networks[2].evaluation.separate.similarity


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_captions_say_the_level_of_the_intervals(level):
    found = concept_drawings([network("gpm", seed, 3, tasks=3, level=level) for seed in (0, 1)], None)
    assert f"bars {100 * level:g} % intervals" in found["concepts-purity-gpm"][0]


def test_figures_of_each_method_and_of_all(networks):
    found = concept_drawings(networks, None)
    each = {
        f"concepts-{what}-{method}" for what in ("purity", "importance", "images") for method in ("finetune", "gpm")
    }
    assert set(found) == each | {f"concepts-{what}" for what in ("separability", "correlations", "drift", "angle")}
    # Which method a figure is of is bound when it is made, not when it is drawn.
    for method in ("finetune", "gpm"):
        caption, draw = found[f"concepts-purity-{method}"]
        figure, rows = draw()
        plt.close(figure)
        assert method in caption and "after task 3" in caption
        own = [one for one in same(networks, method, "bn1") if one.evaluation is not None]
        assert [row["auc"] for row in rows[:2]] == list(own[0].purity.auc.value)
    figure, rows = found["concepts-drift"][1]()
    plt.close(figure)
    # Each method, both concepts and their mean, each task.
    assert len(rows) == 2 * 3 * 3
    purity, _ = over_tasks(same(networks, "gpm", "bn1"))
    (row,) = (row for row in rows if (row["method"], row["concept"], row["after"]) == ("gpm", CONCEPTS[1], 2))
    assert row["mean"] == pytest.approx(purity[:, 1, 1].mean())


def test_two_layers_have_figures_of_their_own_and_one_task_no_drift():
    given = [network("finetune", 0, 1, tasks=1, layer=layer) for layer in ("bn1", "layer4.1.bn2")]
    found = concept_drawings(given, 2)
    # Without pixels no images are shown.
    ends = ("bn1", "layer4.1.bn2")
    assert set(found) == {
        *(f"concepts-{what}-finetune-{end}" for what in ("purity", "importance") for end in ends),
        *(f"concepts-{what}-{end}" for what in ("separability", "correlations") for end in ends),
    }
    assert "as task 2 shows them" in found["concepts-purity-finetune-bn1"][0]
