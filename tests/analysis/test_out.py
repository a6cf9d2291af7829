"""Several analyses by one command."""

from __future__ import annotations

import json
import shutil


def test_a_multirun_of_analyses_has_a_folder_for_each(analyze, study, tmp_path):
    given = (f"runs={study}", "measures={}", "layers=[fc1]", "where.method=gpm")
    answer = analyze("--multirun", "rdm=cosine,euclidean", *given, f"out={tmp_path / 'mine'}/${{rdm}}")
    assert answer.code == 0, answer.err
    reports = sorted((tmp_path / "mine").glob("*/results.json"))
    assert [path.parent.name for path in reports] == ["cosine", "euclidean"]
    # Without an own one the name says what was set.
    shutil.copytree(study, tmp_path / "runs")
    answer = analyze("--multirun", "rdm=cosine,euclidean", "runs=runs", *given[1:])
    assert answer.code == 0, answer.err
    mine = tmp_path / "runs" / "analysis"
    names = [f"rdm={rdm},measures=,layers=fc1,where.method=gpm" for rdm in ("cosine", "euclidean")]
    told = [json.loads((next(mine.glob(f"{name}*")) / "results.json").read_text()) for name in names]
    assert [one["options"]["rdm"] for one in told] == ["cosine", "euclidean"]
    assert told[0]["consistency"] != told[1]["consistency"]
    # Hydra's own file lies there, and nowhere else.
    assert not (tmp_path / "multirun.yaml").exists() and not (tmp_path / "multirun").exists()


def test_a_mistake_in_a_multirun_of_analyses_is_one_line(analyze, study, tmp_path):
    for words, line in (
        (("rdm=cosine,euclidean",), "error: runs: is missing; write runs=FOLDER"),
        ((f"runs={study}", "stimuli.per_class=0,1"), "error: stimuli.per_class: input should be greater than"),
        (
            (f"runs={study}", "rdm=cosine,euclidean", "hydra/launcher=joblib", "parallel.jobs=2"),
            "error: parallel.jobs: hydra/launcher=joblib runs several analyses at once",
        ),
    ):
        answer = analyze("--multirun", *words)
        assert answer.code == 2 and answer.err.startswith(line) and answer.err.count("\n") == 1
    assert not list(tmp_path.glob("**/results.json")) and not (tmp_path / "multirun.yaml").exists()
