import json

import pytest
import torch
from conftest import snapshot
from made_runs import written

from orthotrace.core.errors import UserError
from orthotrace.core.files import read, write_json
from orthotrace.results.run_folder import Run, find, load, read_checkpoint


def test_find_finds_runs_and_nothing_else(study, tmp_path):
    assert len(find(study)) == 8
    with pytest.raises(UserError, match="there is no folder"):
        find(tmp_path / "none")
    with pytest.raises(UserError, match="holds no runs"):
        find(tmp_path)


def test_reading_changes_nothing(study):
    before = snapshot(study)
    for run in find(study):
        assert run.finished and run.tasks == [1, 2] and run.network().fc1.in_features == 64
    assert snapshot(study) == before


def test_a_run_without_checkpoints(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("a: 1")
    with pytest.raises(UserError, match="has no checkpoints"):
        load(tmp_path)
    with pytest.raises(UserError, match="is damaged"):
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "task1.ckpt").write_bytes(b"half")
        load(tmp_path)
    assert not Run(tmp_path).finished


@pytest.mark.parametrize(
    ("number", "line"), [(0, r"it has no \.hydra"), (1, r"it holds 1 run \("), (5, r"it holds 5 runs \(")]
)
def test_the_folder_above_runs_names_some(tmp_path, number, line):
    for seed in range(number):
        written(tmp_path / "sweep", seed=seed, name=f"s{seed}")
    named = ", ".join(f"sweep/s{seed}" for seed in range(min(number, 3))) + ", ..." * (number > 3)
    with pytest.raises(UserError, match=line) as error:
        load(tmp_path)
    assert f"({named})" in str(error.value) or not number
    with pytest.raises(UserError, match="there is no such folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("schema", [2, True, "1"])
def test_what_a_later_version_wrote_is_not_read_as_ours(tmp_path, schema):
    run = written(tmp_path)
    write_json(run.scores_file, json.loads(run.scores_file.read_text()) | {"schema": schema})
    with pytest.raises(UserError, match=r"scores\.json has schema .*, and this version reads 1: install a later"):
        _ = run.scores
    torch.save({"orthotrace": {"schema": schema}}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt has schema"):
        read(tmp_path / "last.ckpt", read_checkpoint)


def test_the_last_tasks_are_counted_from_the_end(tmp_path):
    run = written(tmp_path)
    run.checkpoints.mkdir()
    for name in ("task1", "task2", "task10", "tasks"):
        (run.checkpoints / f"{name}.ckpt").write_bytes(b"half")
    assert run.tasks == [1, 2, 10]
    for task, name in ((-1, "task10"), (-2, "task2"), (1, "task1")):
        with pytest.raises(UserError, match=rf"{name}\.ckpt is damaged"):
            run.network(task)
    for task in (-4, 3):
        with pytest.raises(UserError, match="has no checkpoint of task"):
            run.network(task)


PLACES = ("scores.json", "metrics.csv", "inside.csv", "failed.txt", "checkpoints/last.ckpt", "checkpoints", ".hydra")


@pytest.mark.parametrize("name", PLACES)
def test_what_lies_in_the_place_of_a_file_is_named_before_a_task_is_trained(tmp_path, name):
    run, path = Run(tmp_path), tmp_path / name
    run.check_places()
    if name in PLACES[-2:]:
        path.symlink_to("nowhere")
    else:
        path.mkdir(parents=True)
    with pytest.raises(UserError, match=rf"cannot write .*/{name}: (is|not) a directory; move away what is there"):
        run.check_places()


def test_a_link_to_nowhere_is_no_checkpoint(tmp_path):
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    run.checkpoint(1).write_bytes(b"half")
    run.checkpoint(2).symlink_to("nowhere")
    assert run.generations == [run.checkpoint(1)]
