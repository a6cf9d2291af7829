"""What comparisons leave out is said, and the others are found."""

import json

import numpy as np
from given_networks import activations, images, saved

from orthotrace.analysis import compare_networks
from orthotrace.analysis.rdm import correlation
from orthotrace.analysis.similarity import linear_cka, procrustes


def test_dissimilarities_below_0_have_no_clustering_index_and_all_else(tmp_path):
    found = compare_networks(
        saved(tmp_path), images(), [number % 3 for number in range(12)], rdm=lambda x: correlation(x) - 1
    )
    assert not found.findings.clustering and len(found.results["consistency"]) == 2
    left = [one for one in found.results["left_out"] if one["what"] == "clustering"]
    assert len(left) == 4 and all("dissimilarities of at least 0 are needed" in one["why"] for one in left)


def test_runs_that_end_before_others_are_said_not_to_be_in_the_figures(train, analyze, tmp_path):
    small = ("trainer.max_epochs=1", "model.hidden=[8]", "trainer.batch_size=256")
    for tasks in (1, 2):
        assert train(*small, f"stream.tasks={tasks}", f"hydra.run.dir=runs/{tasks}").code == 0
    answer = analyze("runs=runs", "out=out", "layers=[head]", "stimuli.per_class=2")
    assert answer.code == 0 and "left out: 1 figures" in answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (left,) = results["left_out"]
    assert (left["run"], left["task"], left["what"]) == ("1", 1, "figures") and "after task 2" in left["why"]
    # Without the shorter one there is nothing to say.
    assert analyze("runs=runs/2", "out=alone", "layers=[head]", "stimuli.per_class=2").code == 0
    assert json.loads((tmp_path / "alone" / "results.json").read_text())["left_out"] == []


def test_a_distance_is_drawn_as_one(tmp_path):
    """Between groups, as minus the distance."""
    entries = [
        {"activations": activations(seed=seed), "columns": {"kind": kind, "seed": seed}}
        for kind, seeds in (("a", (0, 1)), ("b", (2, 3, 4)), ("c", (5,)))
        for seed in seeds
    ]
    found = compare_networks(
        entries,
        out=tmp_path / "out",
        formats=["png"],
        measures={"far": procrustes, "cka": linear_cka},
        figures=["layers*"],
    )
    captions = {path.stem: caption for caption, path in found.pictures.items()}
    assert "by minus the distance far" in captions["layers-far"] and "by cka" in captions["layers-cka"]
    assert "over 2 to 6 pairs of networks" in captions["layers"]
    values = [np.array(one["similarity"]) for one in found.results["between"] if one["measure"] == "far"]
    assert all((one < 0).all() for one in values)
