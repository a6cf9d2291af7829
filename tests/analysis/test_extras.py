"""What an analysis is asked beside its usual comparisons: numbers, figures, tables and the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import called, made_once, snapshot

from orthotrace.analysis import compare_networks
from orthotrace.analysis.networks.runs import select
from orthotrace.analysis.networks.storage import read_rdms
from orthotrace.analysis.rdm.compare import pearson
from orthotrace.analysis.studies.forgetting import forgetting
from orthotrace.core.errors import UserError


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


APART = ("where.method=[finetune,gpm]", "readout=true", "formats=[svg]")


@pytest.fixture(scope="session")
def taken_apart(study, tmp_path_factory):
    """An analysis of the study with its forgetting taken apart."""

    def make(folder):
        from orthotrace.analysis.cli import main

        called(main, f"runs={study}", f"out={folder}", *APART, "figures=[readout*,clustering]")

    return made_once(tmp_path_factory, "taken_apart", make)


def test_readouts_are_those_of_each_network_in_numbers_figures_table_and_report(taken_apart, study):
    results = results_of(taken_apart)
    rows = {
        (one["method"], one["layer"], one["task"], one["after"], one["quantity"]): one for one in results["readouts"]
    }
    (run,) = (one for one in select(str(study), {"method": "gpm", "seed": 0}) if one.scores["seeds"]["init"] == 0)
    for one in forgetting(run):
        at = ("gpm", one.layer, one.task, one.after)
        assert rows[*at, "kept"]["values"][0] == one.diagnosis.kept
        assert rows[*at, "refitted"]["values"][0] == one.diagnosis.refitted
        assert rows[*at, "trained"]["values"][0] == one.trained and len(rows[*at, "trained"]["values"]) == 3
        if one.drift is not None and one.after > one.task:
            assert rows[*at, "seen"]["values"][0] == one.drift.seen and rows[*at, "seen"]["own"]
    assert ("gpm", "head", 1, 1, "seen") not in rows and ("gpm", "relu1", 1, 2, "seen") not in rows
    own = rows["gpm", "head", 1, 2, "kept"]
    assert own["low"] < own["mean"] < own["high"] and own["classes"] == 10
    assert results["options"]["readout"] is True
    figures = {path.name for path in (taken_apart / "figures").glob("readout*.svg")}
    assert figures == {"readout.svg", "readout-relu1.svg", "readout-drift.svg"}
    said = (taken_apart / "figures" / "readout.csv").read_text().splitlines()
    assert said[0].startswith("panel,readout,task,mean,sd,seeds") and said[1].startswith("finetune,trained,1,")
    assert "head (readout) & " in (taken_apart / "tables" / "readout.tex").read_text()
    page = (taken_apart / "report.html").read_text()
    assert "<h2>Forgetting taken apart</h2>" in page and "the inputs of head, the networks&#39; own readout" in page


def test_only_the_named_figures_are_drawn_and_others_stay_where_the_numbers_do(analyze, study, tmp_path):
    figures = tmp_path / "out" / "figures"
    keys = (f"runs={study}", "out=out", "where.method=finetune", "layers=[head]", "formats=[png]")
    assert analyze(*keys, "figures=[clustering,exem*]").code == 0
    assert {path.stem for path in figures.glob("*.csv")} == {"clustering", "exemplars"}
    written = (figures / "exemplars.png").stat().st_mtime_ns
    assert analyze(*keys, "figures=[consistency]").code == 0
    assert (figures / "exemplars.png").stat().st_mtime_ns == written and (figures / "consistency.png").is_file()
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<figure ") == 3 and page.count("figures=[exemplars]&#39;</pre>") == 1
    # What cannot be drawn is told before anything changes.
    before = snapshot(figures)
    answer = analyze(*keys, "figures=[capacty]")
    assert answer.code == 2 and answer.err.startswith("error: figures: there is no figure 'capacty'; did you mean 'cap")
    answer = analyze(*keys, "figures=[capacity]")
    assert answer.code == 2 and answer.err.startswith("error: figures: of these networks there is no 'capacity' to dra")
    assert snapshot(figures) == before
    # Of other numbers they go.
    assert analyze(*keys, "where.seed=[0,1]", "figures=[clustering]").code == 0
    assert {path.name for path in figures.iterdir()} == {"clustering.png", "clustering.csv", ".sha256"}


def test_factors_of_runs_in_numbers_figure_table_and_report(analyze, study, tmp_path):
    keys = (f"runs={study}", "out=out", "factors=[method,seeds.init]", "figures=[factors]", "formats=[svg]")
    answer = analyze(*keys)
    assert answer.code == 0, answer.err
    results = results_of(tmp_path / "out")
    rows = [one for one in results["factors"] if one["layer"] == "relu1"]
    assert [(one["factor"], one["levels"], one["networks"]) for one in rows] == [
        ("method", 3, 8), ("seeds.init", 3, 8), ("residual", None, 8),
    ]  # fmt: skip
    assert sum(one["share"] for one in rows) == pytest.approx(1) and results["options"]["factors"] == [
        "method",
        "seeds.init",
    ]
    stack = [read_rdms(path) for path in sorted((tmp_path / "out" / "rdms").glob("*.safetensors"))]
    r = pearson([one.subset(name="relu1").dissimilarities[0] for one in stack])
    # Two networks differ by the sum of the variances, about: the design is not balanced.
    assert sum(one["variance"] for one in rows) == pytest.approx(1 - r[np.triu_indices(8, 1)].mean(), rel=0.3)
    assert {path.name for path in (tmp_path / "out" / "figures").glob("*.*v*")} == {"factors.svg", "factors.csv"}
    assert "seeds.init & 3 & 2 & " in (tmp_path / "out" / "tables" / "factors.tex").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Variance explained by factors</h2>" in page and "levels: method 3, seeds.init 3" in page


def test_factors_of_networks_that_were_given_are_their_columns():
    rng = np.random.default_rng(0)
    of = {kind: rng.random((12, 6)) for kind in ("a", "b")}
    networks = [
        {"activations": {"fc": of[kind] + 0.1 * rng.random((12, 6))}, "columns": {"kind": kind, "seed": seed}}
        for kind in of
        for seed in range(3)
    ]
    found = compare_networks(networks, formats=[], factors=["kind"])
    assert [one["factor"] for one in found.results["factors"]] == ["kind", "residual"]
    assert found.results["factors"][0]["share"] > 0.9
    with pytest.raises(UserError, match="factors: no network has 'knd'; did you mean 'kind'?"):
        compare_networks(networks, formats=[], factors=["knd"])


DROPPED = """
- model:
    _target_: torch.nn.Sequential
    _args_:
    - {_target_: torch.nn.Flatten}
    - {_target_: torch.nn.Linear, in_features: 64, out_features: 9}
    - {_target_: torch.nn.ReLU}
    - {_target_: torch.nn.Dropout}
    - {_target_: torch.nn.Linear, in_features: 9, out_features: 5}
  columns: {seed: SEED}
"""


def test_dropout_at_test_by_the_command(analyze, tmp_path):
    (tmp_path / "nets.yaml").write_text("".join(DROPPED.replace("SEED", str(seed)) for seed in (0, 1)))
    keys = ("networks=nets.yaml", "dataset=digits", "stimuli.per_class=2", "dropout.samples=2", "dropout.average=rdms")
    assert analyze(*keys).code == 0
    results = results_of(tmp_path / "nets")
    assert [(one["layer"], one["samples"]) for one in results["dropout"]] == [("2", 1), ("4", 1), ("2", 2), ("4", 2)]
    assert results["options"]["dropout"] == {"samples": 2, "average": "rdms", "seed": 0}


MISTAKES = {
    ("runs=EPOCHS/single", "readout=true"): "readout: all runs have one task",
    ("runs=EPOCHS/single", "readout=true", "epochs=all"): "readout: is of tasks, not of epochs: leave out epochs",
    ("runs=STUDY", "factors=[seeds.inti]"): "factors: no network has 'seeds.inti'; did you mean 'seeds.init'?",
    (
        "runs=STUDY",
        "factors=[method,stream]",
    ): "factors['stream']: has one level (permuted): a factor needs two or more",
    ("runs=STUDY", "factors=[seeds.init,seeds.order]"): "factors['seeds.order']: has the levels of 'seeds.init'",
    (
        "runs=STUDY",
        "where.method=gpm",
        "factors=[seed]",
    ): "factors['seed']: has as many levels as there are observations",
    ("runs=STUDY", "factors=method"): "factors: input should be a valid list",
    ("runs=STUDY", "dropout.samples=2"): "dropout.samples: no network has dropout (nn.Dropout and the like, or",
    ("runs=STUDY", "dropout.samples=0"): "dropout.samples: input should be greater than or equal to 1",
    ("runs=STUDY", "dropout.average=both"): "dropout.average: input should be 'activations' or 'rdms' (got 'both')",
    ("runs=STUDY", "readout=3"): "readout: input should be a valid boolean",
    ("networks=[{model:torch.nn.Flatten,name:a},{model:torch.nn.Flatten,name:b}]", "dataset=digits", "readout=true"): (
        "readout: networks that were given have no tasks"
    ),
}


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_what_cannot_be_asked_is_one_line_before_anything_is_read(analyze, study, epochs, tmp_path, words):
    given = [word.replace("STUDY", str(study)).replace("EPOCHS", str(epochs)) for word in words]
    answer = analyze(*given, f"out={tmp_path}/out")
    assert answer.code == 2 and answer.err.startswith(f"error: {MISTAKES[words]}"), answer.err
    assert len(answer.err.strip().split("\n")) == 1 and not list(tmp_path.iterdir())
