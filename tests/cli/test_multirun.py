"""One summary of a multirun, whichever process ends last."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orthotrace.cli import jobs
from orthotrace.cli.multirun import Multirun, at_rest, conclude
from orthotrace.core.folders import held
from orthotrace.results.listed import Job, lists_below


@pytest.fixture
def sweep(study, tmp_path, monkeypatch) -> Path:
    """The folder of a multirun of two jobs, both finished, as a job that another program started knows it."""
    for name in (jobs.JOBS, jobs.SWEPT, jobs.LIST):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "all"
    for run in study.glob("method=gpm*seed=[01]*"):
        shutil.copytree(run, folder / run.name)
    return folder


def listed(folder: Path, queued: bool, *more: Job) -> None:
    found = [Job(path, (f"seed={number}",)) for number, path in enumerate(sorted(folder.glob("method=*")))]
    assert len(found) == 2
    jobs.begin(folder, [*found, *more], queued)


def test_the_last_job_reports_them_all(sweep, capsys):
    listed(sweep, queued=True)
    conclude()
    assert "gpm" in capsys.readouterr().out and (sweep / "summary.tex").is_file()
    # The command lives, and takes the list away itself.
    assert lists_below(sweep)
    jobs.end()
    assert not lists_below(sweep)


def test_where_the_command_is_gone_the_last_job_takes_its_list_away(sweep, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(ProcessLookupError))
    listed(sweep, queued=True)
    conclude()
    assert (sweep / "summary.tex").is_file() and not (sweep / jobs.listed.FOLDER).exists()


@pytest.mark.parametrize("case", ["waits", "runs", "not queued"])
def test_before_the_last_job_nothing_is_reported(sweep, capsys, case):
    more = [Job(sweep / "new", ("seed=9",))] if case == "waits" else []
    listed(sweep, case != "not queued", *more)
    if case == "runs":
        with held(next(sweep.glob("method=*"))):
            assert not at_rest()
            conclude()
    else:
        assert at_rest()
        conclude()
    assert capsys.readouterr().out == "" and not (sweep / "summary.tex").exists()
    jobs.end()


@pytest.mark.parametrize("failed", [False, True])
def test_a_launcher_that_gives_up_leaves_the_other_jobs_alone(sweep, capsys, failed):
    """Until they have ended; one that failed has."""
    new = sweep / "new"
    listed(sweep, True, Job(new, ("seed=9",)))
    if failed:
        new.mkdir()
        (new / "failed.txt").write_text("it broke\n")
    Multirun.cut_short()
    said = capsys.readouterr()
    assert Multirun.failed
    Multirun.failed = False
    if failed:
        assert "failed: new: it broke" in said.out and (sweep / "summary.tex").is_file()
    else:
        assert said.err == f"the other jobs go on: orthotrace-runs {sweep}\n" and lists_below(sweep)
    jobs.end()
