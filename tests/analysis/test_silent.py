"""Stimuli that a layer does not answer, and dead networks: they are left out by name, the rest is reported."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest
from own_readings import DEAD, SILENT, grouped, stimuli

from orthotrace.analysis.figures.study import draw
from orthotrace.analysis.networks.left_out import left_out_line
from orthotrace.analysis.networks.read import read_networks
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm.compare import METHODS
from orthotrace.analysis.rdm.dissimilarity import MEASURES
from orthotrace.analysis.rdm.rdms import RDMs
from orthotrace.analysis.rdm.triangles import square
from orthotrace.analysis.rdm.undefined import undefined
from orthotrace.analysis.report.report import write_report
from orthotrace.analysis.similarity import linear_cka
from orthotrace.analysis.studies.findings import REPEATED, find, keep_rdms
from orthotrace.analysis.studies.references import Reference
from orthotrace.core.errors import UserError

SHOWN = stimuli()
N = len(SHOWN.labels)
# Which patterns each has no dissimilarity for; all others take any.
UNDEFINED = {"correlation": "constant", "cosine": "zero", "unit_euclidean": "zero", "own": "constant"}
INTERVAL = {"method": "jackknife", "level": 0.95, "resamples": 100, "seed": 0, "stimuli": False}


def own(patterns):
    """As users write it: NaN for a constant pattern, with a warning of numpy."""
    with np.errstate(invalid="ignore"):
        return (1 - np.corrcoef(patterns.numpy()))[np.triu_indices(len(patterns), 1)]


def by_hand(one, layer):
    """Activations of a network of an analysis."""
    x = SHOWN.images
    for name, module in one.run.network(1).named_children():
        x = module(x)
        if name == layer:
            return x.detach()
    raise AssertionError(layer)


def silent_by_hand(values, measure):
    kind = UNDEFINED.get(measure)
    spread = values.std(1).numpy() if kind == "constant" else values.norm(dim=1).numpy()
    return spread <= 1e-12 if kind else np.zeros(len(values), dtype=bool)


@pytest.fixture(scope="module")
def runs():
    return grouped(gpm=5, hlop=2)


@pytest.fixture(scope="module")
def readings(runs):
    return read_networks(runs, SHOWN, "last", None, MEASURES["correlation"])


@pytest.mark.parametrize("name", [*MEASURES, "own"])
def test_every_dissimilarity_is_that_of_the_stimuli_that_have_one(runs, name):
    measure = own if name == "own" else MEASURES[name]
    found = read_networks(runs, SHOWN, "last", None, measure)
    assert found.layers == ["relu1", "relu2", "head"] and len(found.networks) == 7
    said = {(one.run, one.layer): one.stimuli for one in found.left_out if one.what == "RDM"}
    for one in found.networks:
        for layer in found.layers:
            values = by_hand(one, layer)
            silent = silent_by_hand(values, name)
            key = (one.run.folder.name, layer)
            if layer not in one.rdms:
                # Dead: all silent, or all the same.
                assert one.run.folder.name == "gpm-3" and said[key] is None
                continue
            assert np.array_equal(undefined(one.rdms[layer]), silent)
            assert said.get(key) == (int(silent.sum()) or None)
            whole = square(one.rdms[layer])[np.ix_(~silent, ~silent)]
            expected = np.asarray(measure(values[~silent]))
            assert np.allclose(whole[np.triu_indices(len(whole), 1)], expected, atol=1e-12)
    dead = [one for one in found.networks if one.run.folder.name == "gpm-3"]
    assert [list(one.rdms) for one in dead] == [[]]
    # Named by the numbers that were made silent.
    if UNDEFINED.get(name):
        for method, seeds in SILENT.items():
            assert {seed: said[f"{method}-{seed}", "relu1"] for seed in seeds} == {
                s: len(of) for s, of in seeds.items()
            }


def test_dead_networks_alone_have_nothing_to_report():
    (group,) = grouped(gpm=4)
    dead = [type(group)("gpm", (group.runs[DEAD["gpm"]],))]
    with pytest.raises(
        UserError, match=r"rdm: no layer has an RDM; gpm-3, after task 1, layer relu1: 12 of 12 patterns have no"
    ):
        read_networks(dead, SHOWN, "last", None, MEASURES["correlation"])


def found_by(readings, interval=INTERVAL, measures=None, references=None):
    given = references or {}
    compared = {name: Reference("brain.npy", method=name) for name in given}
    return find(readings, SHOWN, measures or {}, compared, given, "correlation", **interval)


def test_consistency_is_over_the_stimuli_that_both_of_a_pair_have(readings):
    found = found_by(readings)
    for method, seeds in (("gpm", [0, 1, 2, 4]), ("hlop", [0, 1])):
        for layer in readings.layers:
            have = [one for one in readings.networks if one.method == method and layer in one.rdms]
            assert [int(one.run.folder.name[-1]) for one in have] == seeds
            pairs = []
            for a, b in itertools.combinations(have, 2):
                both = ~np.isnan(a.rdms[layer]) & ~np.isnan(b.rdms[layer])
                pairs.append(np.corrcoef(a.rdms[layer][both], b.rdms[layer][both])[0, 1] ** 2)
            one = found.consistency[method, 1][layer]
            assert one.pairs == pytest.approx(pairs, abs=1e-12) and one.networks == len(seeds)
            assert one.mean == pytest.approx(np.mean(pairs))
    assert found.clustering["gpm", 1].keys() == set(readings.layers)
    assert len(found.clustering["gpm", 1]["relu1"]) == 4 and len(found.centroids["gpm", 1]["relu1"].pairs) == 6
    assert np.allclose(np.sum(found.correspondence["gpm", 1].frequency, axis=1), 1)
    assert {(one.run, one.what) for one in found.left_out} == {("gpm-3", "correspondence")}


def test_resampled_stimuli_are_those_that_all_networks_have(readings):
    plain, resampled = found_by(readings), found_by(readings, {**INTERVAL, "stimuli": True})
    for layer in readings.layers:
        narrow, wide = (one.consistency["gpm", 1][layer] for one in (plain, resampled))
        assert wide.stimuli and wide.pairs == narrow.pairs and wide.high - wide.low > narrow.high - narrow.low


@pytest.mark.parametrize("method", METHODS)
def test_references_are_compared_on_the_stimuli_of_each_network(readings, method):
    rng = np.random.default_rng(0)
    brain = RDMs.of([rng.standard_normal((N, 5)) for _ in range(3)])
    found = found_by(readings, references={method: brain}).references[method]
    for layer in readings.layers:
        expected = []
        for one in readings.networks:
            if one.method == "gpm" and layer in one.rdms:
                there = ~np.isnan(one.rdms[layer])
                value = METHODS[method](one.rdms[layer][None, there], brain.dissimilarities[:, there]).mean()
                # A distance is that of as many entries as there are.
                expected.append(value * (there.size / there.sum()) ** 0.5 if method == "norm_difference" else value)
        assert found["gpm", 1][layer].values == pytest.approx(expected, abs=1e-10) and len(expected) == 4


def test_measures_of_activations_take_all_stimuli_where_they_can(readings):
    def strict(x, y):
        """Undefined where a stimulus has no answer, as a mean of cosines is."""
        return (
            float(((x * y).sum(1) / (x[:, :1].abs() + x.norm(dim=1)) / y.norm(dim=1)).mean())
            if x.shape == y.shape
            else 0.0
        )

    found = found_by(readings, measures={"cka": linear_cka, "strict": strict})
    have = [by_hand(one, "relu1") for one in readings.networks if one.method == "gpm" and "relu1" in one.rdms]
    pairs = list(itertools.combinations(have, 2))
    assert found.similarity["cka"]["gpm", 1]["relu1"].pairs == pytest.approx([linear_cka(a, b) for a, b in pairs])
    own_pairs = []
    for a, b in pairs:
        there = (a.std(1) > 1e-12) & (b.std(1) > 1e-12)
        own_pairs.append((strict(a[there], b[there]) + strict(b[there], a[there])) / 2)
    assert found.similarity["strict"]["gpm", 1]["relu1"].pairs == pytest.approx(own_pairs)
    assert ("gpm-3", "similarity cka") in {(one.run, one.what) for one in found.left_out}


def test_a_measure_that_fails_for_whole_networks_is_an_error_still(readings):
    with pytest.raises(UserError, match="measures.mine: layer relu1: the measure gives nan"):
        found_by(readings, measures={"mine": lambda x, y: float("nan")})


# Which networks are there: three silent and dead ones among them; one, beside a method that has no layer left.
SITUATIONS = {"silent and dead": {"gpm": 4, "hlop": 2}, "alone, beside a dead one": {"hlop": 1}}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_figures_and_the_report_show_what_is_left(tmp_path, situation):
    groups = grouped(**SITUATIONS[situation])
    if situation == "alone, beside a dead one":
        dead = grouped(gpm=4)[0].runs[3]
        groups = [type(groups[0])("gpm", (dead,)), *groups]
    shown = read_networks(groups, SHOWN, "last", None, MEASURES["correlation"])
    rng = np.random.default_rng(0)
    found = found_by(
        shown, measures={"cka": linear_cka}, references={"pearson": RDMs.of([rng.standard_normal((N, 5))] * 2)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures, plane = draw(tmp_path / "figures", groups, SHOWN, shown, found, formats=["png"])
    names = {path.stem for path in pictures.values()}
    assert {"accuracy", "matrices", "rdms", "mds", "clustering", "reference-pearson"} <= names
    assert ({"consistency", "centroids", "correspondence", "similarity-cka"} <= names) == (
        situation == "silent and dead"
    )
    assert all("Layers are read after their norm" in caption for caption in pictures if "RDMs after" in caption)
    results = found.as_json(groups, SHOWN, shown, dict.fromkeys(REPEATED))
    results |= {"mds": plane, "networks": len(shown.networks), "concepts": []}
    json.dumps(results, allow_nan=False)
    page = write_report(tmp_path, groups, results, pictures).read_text()
    assert "read after their normalisation, residual sum and nonlinearity (read=post)" in page
    said = {(one["run"], one["layer"], one["what"], one["stimuli"]) for one in results["left_out"]}
    assert ("hlop-0", "relu1", "RDM", 1) in said and "1 of 12 stimuli have no dissimilarity there" in page
    if situation == "silent and dead":
        assert {("gpm-1", "relu1", "RDM", 3), ("gpm-2", "relu1", "RDM", 1), ("gpm-3", "head", "RDM", None)} <= said
    line = left_out_line([*shown.left_out, *found.left_out])
    assert line.startswith("left out: stimuli of ") and "\n" not in line
    keep_rdms(tmp_path / "rdms", shown.networks, SHOWN, "correlation")
    kept = read_rdms(tmp_path / "rdms" / "hlop-0-task1.safetensors")
    assert undefined(kept.subset(name="relu1").dissimilarities[0]).nonzero()[0].tolist() == [11]
    assert not (tmp_path / "rdms" / "gpm-3-task1.safetensors").exists()
