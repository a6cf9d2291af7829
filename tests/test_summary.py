import statistics

import pytest
from conftest import TINY

from orthotrace.run import Run, find
from orthotrace.summary import failures, groups, print_summary


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
    assert len(labels) == 2 and all("method.rows=" in label and "seed" not in label for label in labels)


def test_failures_have_reasons(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "failed.txt").write_text("it broke\n\ntrace")
    runs = [Run(tmp_path / "a"), Run(tmp_path / "b")]
    assert failures(runs) == {"a": "it broke", "b": "not finished"}
    print_summary(runs)
    assert capsys.readouterr().out.split("\n")[:2] == ["failed: a: it broke", "failed: b: not finished"]


@pytest.mark.parametrize(("value", "text"), [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (0.0, ".000")])
def test_numbers(value, text):
    from orthotrace.summary import _short

    assert _short(value) == text
