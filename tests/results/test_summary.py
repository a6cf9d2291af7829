import statistics
from itertools import product

import numpy as np
import pytest
from made_runs import written
from scipy import stats

from orthotrace.core.folders import held
from orthotrace.results.columns import COLUMNS
from orthotrace.results.comparisons import against_references, comparisons
from orthotrace.results.groups import failures, groups
from orthotrace.results.run_folder import Run, find
from orthotrace.results.summary import best_by_validation, print_summary, score_latex, score_table, write_summary


def test_groups_are_methods_and_cells_mean_and_deviation_of_the_sample(study):
    found = groups(find(study))
    assert [(group.label, len(group.runs)) for group in found] == [("finetune", 3), ("gpm", 3), ("hlop", 2)]
    values = [run.scores["acc"] for run in found[0].runs]
    mean, sd = (f"{value:.3f}".lstrip("0") for value in (statistics.mean(values), statistics.stdev(values)))
    assert found[0].cell("acc") == f"{mean} ± {sd}"
    assert [run.scores["seeds"]["init"] for run in found[0].runs] == [0, 1, 2]


def test_one_method_with_two_settings_is_two_groups(tmp_path):
    for rows, seed in product((3, 2), range(2)):
        written(tmp_path, "gpm", seed, overrides=(f"method.rows={rows}", "trainer.max_epochs=1"))
    labels = [group.label for group in groups(find(tmp_path))]
    assert len(labels) == 2 and labels == ["gpm, rows=2", "gpm, rows=3"]


def test_failures_have_reasons(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "failed.txt").write_text("it broke\n\ntrace")
    runs = [Run(tmp_path / "a"), Run(tmp_path / "b")]
    assert failures(runs) == {"a": "it broke", "b": "not finished"}
    print_summary(runs)
    assert capsys.readouterr().out.split("\n")[:2] == ["failed: a: it broke", "failed: b: not finished"]
    # By whom is no matter: where the command was killed, its jobs may go on.
    with held(tmp_path / "b"):
        assert failures(runs) == {"a": "it broke", "b": "another process is writing to it"}
        print_summary(runs)
    assert capsys.readouterr().out.split("\n")[1] == "running: b: another process is writing to it"


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


def test_runs_of_other_streams_are_not_compared(tmp_path):
    for method, scenario, seed in product(("finetune", "gpm"), ("task", "class"), range(2)):
        written(tmp_path, method, seed, overrides=(f"stream.scenario={scenario}",))
    found = comparisons(groups(find(tmp_path)))
    assert len(found) == 2
    for one in found:
        assert one.first.split("scenario=")[1] == one.second.split("scenario=")[1]


def test_runs_of_other_data_are_not_compared(tmp_path):
    for (method, more), seed in product({"finetune": (), "joint": ("dataset.scale=2",)}.items(), range(2)):
        written(tmp_path, method, seed, overrides=more)
    runs = find(tmp_path)
    assert len(groups(runs)) == 2 and comparisons(groups(runs)) == []
    assert against_references(groups(runs)[0], runs) == {}


def test_references_are_the_runs_of_the_same_seeds(tmp_path, capsys):
    rng = np.random.default_rng(0)
    of = {key: rng.random((2, 2)).tolist() for key in product(("finetune", "joint", "independent"), range(2))}
    for (method, seed), accuracy in of.items():
        written(tmp_path / "all", method, seed, accuracy)
        # Another network is no reference of these.
        written(tmp_path / "all", method, seed, rng.random((2, 2)).tolist(), ("model.hidden=[9]",))
    runs = find(tmp_path)
    print_summary(runs)
    said = capsys.readouterr().out
    assert "intransigence" in said and "FWT (single-task)" in said
    (finetune,) = [group for group in groups(runs) if group.label == "finetune"]
    found = against_references(finetune, runs)
    for seed in range(2):
        ours, joint, alone = (of[method, seed] for method in ("finetune", "joint", "independent"))
        expected = (joint[1][0] - ours[0][0] + joint[1][1] - ours[1][1]) / 2
        assert found["intransigence"][seed] == pytest.approx(expected)
        assert found["transfer"][seed] == pytest.approx(ours[1][1] - alone[1][1])
    write_summary(tmp_path / "summary.tex", runs)
    text = (tmp_path / "summary.tex").read_text()
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


# What a run may have -> the head of its column.
HAD = {
    "min_acc": ({"min_acc": 0.25}, "min-ACC", ".250"),
    "wc_acc": ({"wc_acc": 0.25}, "WC-ACC", ".250"),
    "val_acc": ({"val_acc": 0.25}, "val. ACC", ".250"),
    "megabytes": ({"extra_memory_bytes": 12_340_000}, "MB", "12.34"),
    "seconds": ({"seconds": [60.0, 40.26]}, "seconds", "100.3"),
    "aia": ({"aia": 0.25}, "AIA", ".250"),
    "free": (
        {"capacity": {"fc1": {"features": 6, "rank": [1, 4]}, "fc2": {"features": 2, "rank": [1, 2]}}},
        "free",
        ".250",
    ),
}


@pytest.mark.parametrize("score", HAD)
def test_a_score_has_a_column_where_a_run_has_it(tmp_path, score):
    had, title, cell = HAD[score]
    found = groups([written(tmp_path, "er"), written(tmp_path, "gpm", **had)])
    rows = score_table(found)
    assert title == COLUMNS[score].title and rows[2][rows[0].index(title)] == cell
    without = score_table(groups([written(tmp_path / "without", "er", aia=None, seconds=[])]))
    assert title not in without[0] and without[0][:8] == [
        "method", "runs", "ACC", "95 % interval", "BWT", "FWT", "forgetting", "learning acc.",
    ]  # fmt: skip


def test_a_network_without_a_free_direction_has_a_column_for_it(tmp_path):
    full = written(tmp_path, "gpm", capacity={"fc1": {"features": 6, "rank": [4, 6]}})
    rows = score_table(groups([written(tmp_path, "er"), full]))
    assert [row[rows[0].index("free")] for row in rows] == ["free", "–", ".000"]
    assert "free" not in score_table(groups([written(tmp_path / "none", "er", capacity={})]))[0]


def test_runs_of_before_there_was_a_score_have_a_dash(tmp_path):
    new, old = written(tmp_path, "gpm", val_acc=0.5), written(tmp_path, "er")
    del old.scores["val_acc"]
    rows = score_table(groups([new, old]))
    assert [row[rows[0].index("val. ACC")] for row in rows[1:]] == ["–", ".500"]


def test_the_best_is_bold_and_arrows_say_which_way(tmp_path):
    high, low, joint = ([[0.9, 0.1], [share, share]] for share in (0.8, 0.4, 0.99))
    runs = [
        written(tmp_path, "gpm", 0, high, extra_memory_bytes=2_000_000),
        written(tmp_path, "er", 0, low, extra_memory_bytes=1_000_000),
        # A reference, and a run on other data, are not compared with these.
        written(tmp_path, "joint", 0, joint),
        written(tmp_path, "gpm", 0, joint, ("dataset.other=1",)),
    ]
    text = score_latex(groups(runs))
    for title, arrow in (("ACC", "up"), ("forgetting", "down"), ("seconds", "down"), ("MB", "down"), ("BWT", "up")):
        assert rf"{title} $\{arrow}arrow$" in text
    assert r"runs & ACC" in text
    rows = {line.split(" & ")[0]: line for line in text.splitlines() if " & " in line}
    assert r"gpm & 1 & \textbf{.800}" in text and rows["er"].count(r"\textbf") == 1 and r"\textbf{1.00}" in rows["er"]
    assert r"\textbf{$-$.100}" in text and "textbf" not in rows["joint"] and r"\textbf{.990}" not in text


def test_settings_of_one_method_are_ranked_by_validation(tmp_path, capsys):
    """The setting that does best on the test images is not the one that is named."""
    runs = []
    for energy, share, validation in ((0.9, 0.7, 0.9), (0.8, 0.8, 0.6)):
        for seed in range(2):
            of = ((f"method.energy={energy}",), [[0.9, 0.1], [share, share]])
            runs.append(written(tmp_path, "gpm", seed, of[1], of[0], val_acc=validation))
    runs.append(written(tmp_path, "er", val_acc=0.99))
    assert best_by_validation(groups(runs)) == ["best of 2 settings by validation: gpm, energy=0.9 (val. ACC .900)"]
    print_summary(runs)
    assert "best of 2 settings by validation: gpm, energy=0.9" in capsys.readouterr().out


def test_what_was_not_learned_is_told_in_the_summary(tmp_path, capsys):
    print_summary([written(tmp_path, "gpm", accuracy=[[0.9, 0.1], [0.9, 0.1]])])
    assert "not learned: gpm: task 2 (at chance just after training in 1 of 1 runs" in capsys.readouterr().out
