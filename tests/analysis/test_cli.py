"""The analysis from end to end, and every mistake with it."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
from conftest import called, command, snapshot
from own_measures import MINE

from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm.compare import squared_pearson
from orthotrace.analysis.rdm.dissimilarity import correlation

FIGURES = (
    "accuracy", "capacity", "centroids", "clustering", "consistency", "correspondence", "drift", "exemplars",
    "images-finetune", "images-gpm", "images-hlop", "layer-similarity", "matrices", "mds", "rdms", "second-level",
    "tradeoff",
)  # fmt: skip


def test_a_folder_holds_what_is_promised(analysed):
    found = {str(path.relative_to(analysed)) for path in analysed.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "csv")}
    rest = {name for name in found - figures if not name.startswith(("rdms/", ".kept/"))}
    assert figures <= found
    tables = {f"tables/{name}.tex" for name in ("scores", "consistency", "centroids", "tests")}
    digests = {".sha256", "figures/.sha256", "tables/.sha256"}
    assert rest == {"report.html", "results.json", "stimuli.csv", *tables, *digests}
    of = {part: [name for name in found if name.startswith(part)] for part in ("rdms/", ".kept/")}
    assert len([name for name in of["rdms/"] if name.endswith(".safetensors")]) == 8 * 2
    # What is kept for another analysis takes no more space: each file has two names.
    kept = [analysed / name for name in of[".kept/"] if name.endswith(".safetensors")]
    assert len(kept) == 8 * 2 and all(path.stat().st_nlink == 2 for path in kept)


def test_numbers_are_those_of_the_networks(analysed, study):
    """From the networks to the consistency by another way."""
    import torch

    import orthotrace
    from orthotrace.data.sources import digits

    results = json.loads((analysed / "results.json").read_text())
    test = digits().test
    index = torch.cat([(test.labels == label).nonzero().flatten()[:20] for label in range(10)])
    images = test.inputs(index)
    rdms = []
    for seed in range(3):
        model = orthotrace.load(next(study.glob(f"method=gpm*seed={seed}*")), task=1)
        with torch.no_grad():
            hidden = model.relu1(model.fc1(images.flatten(1)))
        rdms.append(1 - np.corrcoef(hidden.double().numpy())[np.triu_indices(200, 1)])
    (found,) = [
        one for one in results["consistency"] if (one["method"], one["task"], one["layer"]) == ("gpm", 1, "relu1")
    ]
    expected = [np.corrcoef(rdms[i], rdms[j])[0, 1] ** 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found["pairs"] == pytest.approx(expected, abs=1e-6)
    assert found["mean"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found["interval"] == "jackknife" and found["networks"] == 3
    assert results["stimuli"]["count"] == 200


def test_rdms_on_disk_are_what_was_compared(analysed):
    results = json.loads((analysed / "results.json").read_text())
    stacks = []
    for run in results["runs"]["gpm"]:
        rdms = read_rdms(analysed / "rdms" / f"{run}-task2.safetensors")
        about = rdms.descriptors
        assert about["stimuli"] == results["stimuli"]["sha256"] and about["task"] == 2 and about["run"] == run
        assert rdms.measure == "correlation" and rdms.rdm_descriptors["name"].tolist() == results["layers"]
        stacks.append(rdms.subset(name="head").dissimilarities[0])
    (found,) = [
        one for one in results["consistency"] if (one["method"], one["task"], one["layer"]) == ("gpm", 2, "head")
    ]
    assert found["pairs"] == pytest.approx(squared_pearson(stacks)[np.triu_indices(3, 1)].tolist(), abs=1e-12)
    assert correlation(np.eye(3)).shape == (3,)


def test_stimuli_are_told_in_their_order(analysed):
    from orthotrace.data.sources import digits

    with (analysed / "stimuli.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = digits().test.labels
    assert [row["class"] for row in rows] == [str(int(labels[int(row["test_image"])])) for row in rows]
    assert [row["stimulus"] for row in rows] == [str(number) for number in range(200)]


def test_centroids_clustering_and_correspondence_by_another_way(analysed):
    from orthotrace.analysis.rdm.triangles import square

    results = json.loads((analysed / "results.json").read_text())
    rdms = {
        run: read_rdms(analysed / "rdms" / f"{run}-task2.safetensors").subset(name="relu1")
        for run in results["runs"]["gpm"]
    }
    at = lambda key: next(  # noqa: E731
        one for one in results[key] if (one["method"], one["task"], one.get("layer", "relu1")) == ("gpm", 2, "relu1")
    )
    same = np.repeat(np.arange(10), 20)[:, None] == np.repeat(np.arange(10), 20)
    for value, one in zip(at("clustering")["values"], rdms.values(), strict=True):
        whole = square(one.dissimilarities[0])
        within, between = whole[same & ~np.eye(200, dtype=bool)].mean(), whole[~same].mean()
        assert value == pytest.approx((between - within) / (between + within))
    centred = at("centroid_consistency")
    assert len(centred["pairs"]) == 3 and 0 < centred["mean"] <= 1 and centred["pairs"] != at("consistency")["pairs"]
    found = at("correspondence")
    assert np.allclose(np.sum(found["frequency"], axis=1), 1)
    assert found["accuracy"] == pytest.approx(np.trace(found["frequency"]) / 2)


def test_a_measure_is_found_in_the_folder_of_the_command(study, tmp_path):
    (tmp_path / "minehere.py").write_text(MINE)
    done = command(
        "orthotrace-analyze", f"runs={study}", "out=out", "where.method=hlop", "layers=[head]", "formats=[png]", "figures=[similarity-mine]",
        "+measures.mine._target_=minehere.cosine_of_means", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_measures_and_dissimilarities_of_the_users_own(analyze, study, tmp_path, monkeypatch):
    (tmp_path / "minemeasures.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    answer = analyze(
        f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "layers=[relu1]", "rdm=orthotrace.analysis.rdm.dissimilarity.cosine",
        "+measures.mine._target_=minemeasures.cosine_of_means", "interval.stimuli=true",
        "+measures.rbf._target_=orthotrace.analysis.similarity.rbf_cka", "+measures.rbf.fraction=0.8", "formats=[png]",
        "figures=[similarity-*]",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["measure"] == "orthotrace.analysis.rdm.dissimilarity.cosine"
    mine, rbf = results["similarity"]
    assert mine["measure"] == "mine" and mine["invariances"] is None and len(mine["pairs"]) == 3
    assert rbf["invariances"] == ["orthogonal", "permutation", "scaling", "translation"]
    values = activations_of(study, "gpm", "relu1")
    from orthotrace.analysis.similarity import rbf_cka

    assert rbf["pairs"][0] == pytest.approx(rbf_cka(values[0], values[1], fraction=0.8), abs=1e-6)
    means = [one.mean(0).double() for one in values]
    assert mine["pairs"][2] == pytest.approx(float(means[1] @ means[2] / means[1].norm() / means[2].norm()), abs=1e-6)
    assert (tmp_path / "out" / "figures" / "similarity-rbf.png").is_file()
    assert (tmp_path / "out" / "tables" / "similarity-mine.tex").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Similarity between seeds: mine" in page


def activations_of(study, method, layer):
    """Activations of the last networks, from the networks themselves."""
    import torch

    import orthotrace
    from orthotrace.data.sources import digits

    test = digits().test
    images = test.inputs(torch.cat([(test.labels == label).nonzero().flatten()[:20] for label in range(10)]))
    found = []
    for seed in range(3):
        model = orthotrace.load(next(study.glob(f"method={method}*seed={seed}*")))
        with torch.no_grad():
            hidden = model.fc1(images.flatten(1))
            found.append(model.relu1(hidden) if layer == "relu1" else model(images))
    return found


def test_data_from_outside_with_noise_ceilings(analyze, study, tmp_path):
    from orthotrace.analysis.inference.ceilings import ceiling
    from orthotrace.analysis.rdm.compare import spearman

    rng = np.random.default_rng(0)
    first, *_ = activations_of(study, "gpm", "relu1")
    brain = np.stack([correlation(first.double().numpy() + rng.standard_normal(first.shape)) for _ in range(4)])
    np.save(tmp_path / "brain.npy", brain)
    np.save(tmp_path / "units.npy", first.numpy())
    answer = analyze(
        f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "+references.brain.path=brain.npy",
        "+references.brain.method=spearman", "+references.units.path=units.npy", "formats=[png]",
        "figures=[reference-*]",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {(one["reference"], one["layer"]): one for one in results["references"]}
    rdms = [correlation(one) for one in activations_of(study, "gpm", "relu1")]
    assert rows["brain", "relu1"]["values"] == pytest.approx(spearman(rdms, brain).mean(1).tolist(), abs=1e-6)
    limits = ceiling(brain, "spearman")
    assert rows["brain", "head"]["ceiling"] == pytest.approx({"lower": limits.lower, "upper": limits.upper})
    assert (
        rows["units", "relu1"]["values"][0] == pytest.approx(1, abs=1e-6) and rows["units", "relu1"]["ceiling"] is None
    )
    assert {"reference-brain.png", "reference-units.csv"} <= {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    # The same folder again without them: their figures and tables go.
    assert analyze(f"runs={study}", f"out={tmp_path}/out", "where.method=gpm").code == 0
    assert not list((tmp_path / "out").rglob("reference*"))


WITHIN = "Chance (0) lies within the noise ceiling: its lower bound is -0."
ABOVE = "By squared_pearson RDMs that have nothing in common score above 0: 0 is not chance."


@pytest.mark.parametrize(("method", "said", "subjects"), [("pearson", WITHIN, 3), ("squared_pearson", ABOVE, 1)])
def test_chance_is_said_in_figure_report_and_once_on_the_console(analyze, study, tmp_path, method, said, subjects):
    np.save(tmp_path / "noise.npy", np.random.default_rng(0).random((subjects, 19900)))
    answer = analyze(
        f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "where.seed=0", "layers=[head]", "formats=[png]",
        "+references.noise.path=noise.npy", f"+references.noise.method={method}", "figures=[reference-noise]",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert answer.out.count(said) == 1 and f"noise: {said}" in answer.out
    page = (tmp_path / "out" / "report.html").read_text()
    captions = re.findall("<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert [said in one for one in captions].count(True) == 1 and page.count(f"noise: {said}") == 1


def test_groups_by_the_users_labels_and_order_in_figures_tables_and_numbers(analyze, study, tmp_path):
    answer = analyze(
        f"runs={study}", f"out={tmp_path}/out", "layers=[head]", "where.method=[finetune,gpm]",
        "labels={gpm: 'GPM (ours)', finetune: fine-tuning}", "order=[gpm,finetune]", "facets=null", "formats=[svg]",
        "figures=[accuracy]",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["runs"]) == ["GPM (ours)", "fine-tuning"] == list(results["scores"])
    assert results["options"]["labels"] == {"gpm": "GPM (ours)", "finetune": "fine-tuning"}
    drawn = (tmp_path / "out" / "figures" / "accuracy.svg").read_text()
    assert 0 < drawn.index("GPM (ours)") < drawn.index("fine-tuning")
    table = (tmp_path / "out" / "tables" / "scores.tex").read_text()
    assert 0 < table.index("GPM (ours)") < table.index("fine-tuning")


def test_rdms_of_other_networks_are_references_and_their_order_is_checked(analyze, study, analysed, tmp_path):
    # Keys come in an order of their own in names.
    paths = (analysed / "rdms").glob("*method=hlop*-task2.safetensors")
    (path,) = (one for one in paths if "seed=0," in one.name)
    for suffix in (".safetensors", ".json"):
        shutil.copy(path.with_suffix(suffix), tmp_path / f"other{suffix}")
    keys = (f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "+references.other.path=other.safetensors")
    answer = analyze(*keys)
    assert answer.code == 2 and "layers of a network (relu1, head), which are no subjects: choose one" in answer.err
    assert analyze(*keys, "+references.other.name=head").code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all(one["ceiling"] is None and one["path"] == "other.safetensors" for one in results["references"])
    answer = analyze(*keys, "+references.other.name=head", "stimuli.classes=[1,0,2,3,4,5,6,7,8,9]")
    assert answer.code == 2 and "references.other: the RDMs are of other stimuli, or in another order: '" in answer.err
    answer = analyze(*keys, "+references.other.name=hed")
    assert answer.code == 2 and "references.other: nothing matches name=hed" in answer.err


def test_a_measure_that_works_in_place_reaches_no_other(analyze, study, tmp_path, monkeypatch):
    (tmp_path / "minemeasures.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for first in (
        ["formats=[]"],
        ["+measures.a._target_=minemeasures.in_place", "formats=[png]", "figures=[similarity-b]"],
    ):
        keys = (f"runs={study}", f"out={tmp_path}/out", "where.method=gpm", "layers=[head]")
        assert analyze(*keys, *first, "+measures.b._target_=orthotrace.analysis.similarity.procrustes").code == 0
        results = json.loads((tmp_path / "out" / "results.json").read_text())
        found.append(next(one for one in results["similarity"] if one["measure"] == "b"))
    assert (
        found[0] == found[1]
        and found[0]["metric"]
        and found[0]["function"] == "orthotrace.analysis.similarity.procrustes"
    )
    assert "Distance of activations between seeds by b" in (tmp_path / "out" / "report.html").read_text()
    assert results["options"]["measures"]["b"]["_target_"] == "orthotrace.analysis.similarity.procrustes"


def test_another_dissimilarity_and_resampled_stimuli_are_named_everywhere(analyze, study, tmp_path):
    keys = (
        f"runs={study}",
        f"out={tmp_path}/out",
        "where.method=gpm",
        "rdm=squared_euclidean",
        "interval.stimuli=true",
        "formats=[svg]",
        "figures=[rdms,consistency]",
    )
    assert analyze(*keys).code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["measure"] == "squared_euclidean" and all(one["stimuli"] for one in results["consistency"])
    figures = tmp_path / "out" / "figures"
    assert (
        "squared euclidean" in (figures / "rdms.svg").read_text() and "1 − r" not in (figures / "rdms.svg").read_text()
    )
    assert (figures / "rdms.png").is_file() and not list(figures.glob("*.pdf"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "95 % intervals by a jackknife over networks and stimuli" in page
    assert "jackknife and stimuli" in page and "Representational dissimilarity (squared euclidean)" in page


def test_rdms_of_all_networks_are_read_back_and_joined(analysed, tmp_path):
    from orthotrace.analysis.networks.storage import write_rdms
    from orthotrace.analysis.rdm.rdms import joined
    from orthotrace.analysis.studies.consistency import by_descriptors

    parts = [read_rdms(path) for path in sorted((analysed / "rdms").glob("*-task2.safetensors"))]
    whole = joined(parts)
    results = json.loads((analysed / "results.json").read_text())
    found = by_descriptors(whole, "name", "method")
    for one in results["consistency"]:
        if one["task"] == 2:
            assert found[one["layer"], one["method"]].mean == pytest.approx(one["mean"], abs=1e-9)
    write_rdms(tmp_path / "whole.h5", whole)
    seeds = read_rdms(tmp_path / "whole.h5").rdm_descriptors["seed_init"].tolist()
    # Three seeds of two methods and two of one, of two layers each.
    assert sorted(seeds) == [0] * 6 + [1] * 6 + [2] * 4


def test_figures_come_with_their_numbers(analysed):
    with (analysed / "figures" / "accuracy.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = json.loads((analysed / "results.json").read_text())
    (last,) = [row for row in rows if row["method"] == "gpm" and row["task"] == "2" and row["panel"].startswith("Mean")]
    assert float(last["mean"]) == pytest.approx(np.mean(results["scores"]["gpm"]["acc"]))


# Figures of scores, of findings and of images; without the key every one.
FEW = ("where.method=hlop", "figures=[accuracy,consistency,images-hlop]")


@pytest.mark.parametrize("keys", [FEW, pytest.param(("tasks=all",), marks=pytest.mark.whole)], ids=["few", "all"])
def test_an_analysis_is_in_all_formats_and_repeats_byte_for_byte(study, tmp_path, keys):
    from orthotrace.analysis.cli import main

    # Side by side: a report links to its runs from where it stands.
    found = []
    for name in ("one", "two"):
        called(main, f"runs={study}", f"out={tmp_path}/{name}", *keys)
        found.append(snapshot(tmp_path / name))
    # The report says what was typed, and the digests are those of the report too.
    pages = [of.pop("report.html").decode() for of in found]
    assert pages[1].replace("/two", "/one") == pages[0] and found[0].pop(".sha256") != found[1].pop(".sha256")
    assert found[0] == found[1]
    drawn = {name for name in FIGURES if keys is not FEW or name in FEW[1]}
    figures = {name for name in found[0] if name.startswith("figures/") and not name.endswith(".sha256")}
    assert figures == {f"figures/{name}.{kind}" for name in drawn for kind in ("pdf", "svg", "png", "csv")}


def test_two_networks_have_one_pair_and_no_interval(analysed):
    results = json.loads((analysed / "results.json").read_text())
    hlop = [one for one in results["consistency"] if one["method"] == "hlop"]
    assert all(one["interval"] == "none" and one["low"] is None and len(one["pairs"]) == 1 for one in hlop)


def test_filters_and_one_seed_alone(analyze, study, tmp_path):
    answer = analyze(
        f"runs={study}",
        f"out={tmp_path}/out",
        "where.method=hlop",
        "where.seed=0",
        "layers=[head]",
        "formats=[png]",
        "figures=[c*]",
    )
    assert answer.code == 0, answer.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results["runs"]) == ["hlop"] and results["consistency"] == [] and results["layers"] == ["head"]
    assert "nothing to compare" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "figures" / "consistency.png").exists()


def test_an_analysis_goes_to_wandb(analyze, study, tmp_path):
    answer = analyze(
        f"runs={study}",
        f"out={tmp_path}/out",
        "where.method=gpm",
        "logger=wandb_offline",
        "name=mine",
        "formats=[png]",
        "figures=[accuracy]",
    )
    assert answer.code == 0, answer.err
    from composed import inspect

    (file,) = (tmp_path / "out").glob("wandb/offline-run-*/*.wandb")
    content = inspect(file)
    assert content["job_type"] == "analyse" and content["group"] == "mine"
    row = {key: value for told in content["history"] for key, value in told.items()}
    assert row["figures/accuracy._type"] == "image-file"
    assert 0 <= row["consistency/gpm/task2/relu1"] <= 1


def test_runs_that_were_read_are_not_read_again(analysed, analyze, study, tmp_path, monkeypatch):
    """By their checkpoints: no network is made anew, and the numbers are the same."""
    from orthotrace.results.run_folder import Run

    shutil.copytree(analysed, tmp_path / "out")
    made = []
    network = Run.network
    monkeypatch.setattr(Run, "network", lambda self, task=-1: made.append(task) or network(self, task))
    answer = analyze(f"runs={study}", "out=out", "tasks=all")
    assert answer.code == 0, answer.err
    first, again = (json.loads((folder / "results.json").read_text()) for folder in (analysed, tmp_path / "out"))
    assert not made and again == first
