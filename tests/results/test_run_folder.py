import pytest
from conftest import snapshot

from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run, find, load


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
