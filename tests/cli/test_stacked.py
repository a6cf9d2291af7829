"""seeds_at_once on the command line: groups, folders, what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from orthotrace.results.run_folder import Run

TINY = (
    "method=gpm", "method.audit=false", "method.rows=2", "stream.tasks=2", "trainer.max_epochs=1", "model.hidden=[8]",
    "trainer.accelerator=cpu",
)  # fmt: skip


def runs(name: str = "study") -> list[Run]:
    return [Run(path.parent.parent) for path in sorted(Path("runs", name).glob("*/.hydra/config.yaml"))]


def test_jobs_that_differ_in_seeds_alone_are_trained_together(train):
    jobs = ("--multirun", *TINY, "trainer.batch_size=128,256", "seed=0,1,2", "seeds_at_once=2")
    answer = train(*jobs)
    code, out = answer.code, answer.out
    assert code == 0 and out.count("together with 1 other\n") == 2 and out.count("a stack of one") == 2
    assert out.count("task 2/2") == 6, out
    assert "[5/6] trainer.batch_size=256 seed=1 ACC" in out, out
    found = runs()
    assert sorted(run.scores["stacked"] for run in found) == [1, 1, 2, 2, 2, 2] and all(run.finished for run in found)
    for run in found:
        assert run.config.seeds_at_once == 2 and f"seed={run.config.seed}" in run.overrides
        assert "hydra" not in run.config and (run.hydra / "hydra.yaml").is_file()
        assert "seeds_a" in run.folder.name
    numbers = {OmegaConf.load(run.hydra / "hydra.yaml").hydra.job.num for run in found}
    assert numbers == set(range(6))
    # Finished ones are left alone; one that lost its last task learns it again, by itself.
    one, before = found[0], {run.folder: run.scores_file.read_bytes() for run in found}
    for path in (one.checkpoints / "task2.ckpt", one.last, one.scores_file):
        path.unlink()
    answer = train(*jobs)
    code, out = answer.code, answer.out
    assert code == 0 and out.count("is finished") == 5 and "from task 2 on" in out and "(continued, " in out
    assert Run(one.folder).finished
    assert all(run.scores_file.read_bytes() == before[run.folder] for run in found[1:])
    # A lone run is another run.
    answer = train(*TINY, "trainer.batch_size=128", "seed=0", f"hydra.run.dir={one.folder}")
    code, out = answer.code, answer.out
    assert code == 2
    assert train("--multirun", *TINY, "trainer.batch_size=128", "seed=0,1").code == 0
    lone = [run for run in runs() if run.config.get("seeds_at_once") == 1]
    assert len(lone) == 2 and all("stacked" not in run.scores for run in lone)


def test_a_group_starts_afresh_where_that_is_wanted(train):
    jobs = ("--multirun", *TINY, "seed=0,1", "seeds_at_once=2")
    assert (found := train(*jobs)).code == 0, found
    marked = runs()[0].checkpoints / "task1.ckpt"
    stamp = marked.stat().st_mtime_ns
    answer = train(*jobs, "overwrite=true")
    code, out = answer.code, answer.out
    assert code == 0 and "finished" not in out and marked.stat().st_mtime_ns > stamp
    assert not [path for run in runs() for path in run.folder.glob(".re*")]


def test_a_folder_of_something_else_fails_alone(train):
    jobs = ("--multirun", *TINY, "seed=0,1", "seeds_at_once=2")
    assert (found := train(*jobs)).code == 0, found
    first, second = runs()
    shutil.rmtree(second.folder)
    second.folder.mkdir()
    second.metrics_file.write_text("mine")
    answer = train(*jobs)
    code, out = answer.code, answer.out
    assert code == 1 and "is finished" in out and "failed: " in out and "of something else" in out
    assert second.metrics_file.read_text() == "mine" and Run(first.folder).finished


def test_a_folder_in_use_is_left_to_who_uses_it(train):
    """The others of the group are trained."""
    jobs = ("--multirun", *TINY, "seed=0,1", "seeds_at_once=2")
    assert train(*jobs).code == 0
    first, second = runs()
    for path in (*second.checkpoints.iterdir(), second.scores_file):
        path.unlink()
    shutil.rmtree(first.folder)
    writes = (
        "import sys; from pathlib import Path; from orthotrace.core.folders import held\nwith held(Path(sys.argv[1])):"
    )
    command = [sys.executable, "-c", f"{writes}\n    print('held', flush=True)\n    input()", str(second.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        answer = train(*jobs)
        assert "seed=1 failed: " in answer.out and "another process trains in it" in answer.out, answer
        assert Run(first.folder).finished and not second.failed_file.exists()
        other.communicate("\n")
    assert train(*jobs).code == 0 and Run(second.folder).finished


REFUSED = {
    "method: TRGP trains one network at a time": ("method=trgp",),
    "model: module 'rnn1' (LSTM) has no rule": ("model=lstm", "model.reading=rows"),
    "logger: networks that are trained together": ("logger=wandb_offline",),
    "pruning: networks that are trained together": ("pruning=50", "stream.validation=.1"),
    "trainer.precision: ": ("trainer.precision=bf16-mixed",),
    "trainer.accumulate_grad_batches: ": ("trainer.accumulate_grad_batches=2",),
    "seeds_at_once: trains in one process": ("hydra/launcher=joblib",),
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_not_trained_together_is_refused_before_anything_is_written(train, line):
    own = [one for one in TINY if not (one.startswith(("method", "model")) and len(REFUSED[line]) and "=" in one)]
    answer = train("--multirun", *own, *REFUSED[line], "seed=0,1", "seeds_at_once=2")
    code, out, err = answer.code, answer.out, answer.err
    assert code == 2 and not out and err.startswith(f"error: {line}") and err.count("\n") == 1, err
    assert not list(Path("runs").rglob("*"))


def test_a_single_run_is_none_of_a_group(train):
    answer = train(*TINY, "seeds_at_once=2")
    code, err = answer.code, answer.err
    assert code == 2 and err.startswith("error: seeds_at_once: trains jobs of a multirun together: add --multirun")
    assert not Path("runs").exists()
