import statistics

import pytest
from conftest import TINY
from scipy import stats

from orthotrace.results.comparisons import against_references, comparisons
from orthotrace.results.groups import failures, groups
from orthotrace.results.run_folder import Run, find
from orthotrace.results.summary import print_summary, score_table, write_summary


def test_groups_are_methods_and_cells_mean_and_deviation_of_the_sample(study):
    found = groups(find(study))
    assert [(group.label, len(group.runs)) for group in found] == [("finetune", 3), ("gpm", 3), ("hlop", 2)]
    values = [run.scores["acc"] for run in found[0].runs]
    mean, sd = (f"{value:.3f}".lstrip("0") for value in (statistics.mean(values), statistics.stdev(values)))
    assert found[0].cell("acc") == f"{mean} ± {sd}"
    assert [run.scores["seeds"]["init"] for run in found[0].runs] == [0, 1, 2]


def test_one_method_with_two_settings_is_two_groups(train, tmp_path):
    assert train("--multirun", *TINY, "method=gpm", "method.rows=2,3", "seed=0,1").code == 0
    labels = [group.label for group in groups(find(tmp_path))]
    assert len(labels) == 2 and labels == ["gpm, rows=2", "gpm, rows=3"]


def test_failures_have_reasons(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "failed.txt").write_text("it broke\n\ntrace")
    runs = [Run(tmp_path / "a"), Run(tmp_path / "b")]
    assert failures(runs) == {"a": "it broke", "b": "not finished"}
    print_summary(runs)
    assert capsys.readouterr().out.split("\n")[:2] == ["failed: a: it broke", "failed: b: not finished"]


def test_methods_are_compared_on_the_seeds_that_both_have(study):
    found = comparisons(groups(find(study)))
    assert [(one.first, one.second, one.paired.count) for one in found] == [
        ("finetune", "gpm", 3),
        ("finetune", "hlop", 2),
        ("gpm", "hlop", 2),
    ]
    acc = {group.label: [run.scores["acc"] for run in group.runs] for group in groups(find(study))}
    test = stats.ttest_rel(acc["finetune"], acc["gpm"])
    assert found[0].paired.p == pytest.approx(test.pvalue, rel=1e-9)
    assert found[0].paired.low == pytest.approx(test.confidence_interval(0.95).low, rel=1e-9)
    assert all(one.corrected >= one.paired.p for one in found)


def test_runs_of_other_streams_are_not_compared(train, tmp_path):
    given = ("stream=split", "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]", "method=finetune,gpm")
    assert train("--multirun", *given, "stream.scenario=task,class", "seed=0,1").code == 0
    found = comparisons(groups(find(tmp_path)))
    assert len(found) == 2
    for one in found:
        assert one.first.split("scenario=")[1] == one.second.split("scenario=")[1]


def test_runs_of_other_data_are_not_compared(train, tmp_path):
    given = ("stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]", "seed=0,1", "hydra.sweep.dir=all")
    assert train("--multirun", *given, "method=finetune").code == 0
    assert train("--multirun", *given, "method=joint", "dataset.scale=2").code == 0
    runs = find(tmp_path)
    assert len(groups(runs)) == 2 and comparisons(groups(runs)) == []
    assert against_references(groups(runs)[0], runs) == {}


def test_references_are_the_runs_of_the_same_seeds(train, tmp_path):
    given = ("stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]", "method=finetune,joint,independent")
    answer = train("--multirun", *given, "seed=0,1", "hydra.sweep.dir=all")
    assert answer.code == 0 and "intransigence" in answer.out and "FWT (single-task)" in answer.out
    runs = find(tmp_path)
    of = {(run.scores["method"], run.scores["seeds"]["init"]): run.scores["accuracy"] for run in runs}
    (finetune,) = [group for group in groups(runs) if group.label == "finetune"]
    found = against_references(finetune, runs)
    for seed in range(2):
        ours, joint, alone = (of[method, seed] for method in ("finetune", "joint", "independent"))
        expected = (joint[1][0] - ours[0][0] + joint[1][1] - ours[1][1]) / 2
        assert found["intransigence"][seed] == pytest.approx(expected)
        assert found["transfer"][seed] == pytest.approx(ours[1][1] - alone[1][1])
    text = (tmp_path / "all" / "summary.tex").read_text()
    assert text.count(r"\begin{tabular}") == 2 and "p (Holm)" in text


def test_tables_for_latex_are_written_whole(study, tmp_path):
    write_summary(tmp_path / "summary.tex", find(study))
    text = (tmp_path / "summary.tex").read_text()
    rows = score_table(groups(find(study)))
    assert [row[0] for row in rows] == ["method", "finetune", "gpm", "hlop"]
    assert rows[1][3].startswith("[") and all(len(row) == len(rows[0]) for row in rows)
    assert r"$\pm$" in text and "finetune & gpm & 3 &" in text
    write_summary(tmp_path / "none.tex", [Run(tmp_path / "no")])
    assert not (tmp_path / "none.tex").exists()
