"""Where a run was made."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import torch

from orthotrace.training.provenance import commit_of, commits, machine, versions

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git(folder, *arguments):
    options = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *options, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git on this machine")
def test_the_commit_is_the_one_that_git_tells(tmp_path):
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) is None
    (tmp_path / "mine.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    found = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "below").mkdir()
    assert commit_of(tmp_path / "below") == found == commits(tmp_path / "below")["here"]
    (tmp_path / "mine.py").write_text("2")
    assert commits(tmp_path)["here"] == f"{found} with changes"
    git(tmp_path, "pack-refs", "--all")
    assert commit_of(tmp_path) == found
    git(tmp_path, "worktree", "add", "-q", str(tmp_path / "other"), "-b", "other")
    assert commit_of(tmp_path / "other") == found
    git(tmp_path, "checkout", "-q", "--detach")
    assert commit_of(tmp_path) == found


@pytest.mark.parametrize("content", [None, "ref: refs/heads/gone", b"\xff\xfe"])
def test_where_there_is_no_commit_none_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "HEAD").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert commit_of(tmp_path) is None and commits(tmp_path)["here"] is None


def test_versions_and_machine():
    assert versions()["torch"] == torch.__version__ and {"orthotrace", "python", "numpy"} <= versions().keys()
    about = machine(torch.device("cpu"), 2)
    assert about["device"] == "cpu" and about["devices"] == 2 and about["cores"] >= 1
    assert all(about[key] for key in ("system", "processor"))
