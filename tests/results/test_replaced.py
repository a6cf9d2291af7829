"""An old run that is replaced: killed at every step, the folder holds the old run or the new one after the next start."""

import os
import shutil

import pytest
from conftest import snapshot

from orthotrace.results.replaced import give_back, is_replaced, let_go, set_aside
from orthotrace.results.run_folder import ASIDE, Run, below

FILES = ("scores.json", "metrics.csv", ".sha256", "checkpoints/task1.ckpt", "checkpoints/last.ckpt", "wandb/run_id",
         ".hydra/config.yaml", ".hydra/overrides.yaml")  # fmt: skip


class KilledError(BaseException):
    pass


def write(folder, text, names=FILES):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def without_notes(folder):
    return {name: content for name, content in snapshot(folder).items() if name != "notes.txt"}


def killed_after(patch, steps: int):
    """Raise at the call that changes a folder after this many; rmtree is taken apart into its own steps."""
    left = [steps]

    def counted(function):
        def call(*args, **kwargs):
            if left[0] <= 0:
                raise KilledError
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    for name in ("rename", "unlink", "rmdir", "mkdir"):
        patch.setattr(os, name, counted(getattr(os, name)))


def replace_all(run: Run, until: int):
    """What overwrite=true does, as far as a stage: moved aside; the new run has begun; it has a checkpoint."""
    set_aside(run)
    if until > 0:
        write(run.folder, "new", (*FILES[:3], "inside.csv", *FILES[5:]))
    if until > 1:
        write(run.folder, "new")
        let_go(run)


@pytest.mark.parametrize("until", [0, 1, 2])
def test_a_kill_at_any_step_loses_neither_run(tmp_path, until):
    seen = set()
    for steps in range(60):
        folder = tmp_path / f"{steps}"
        write(folder, "old")
        (folder / "notes.txt").write_text("mine")
        run, old = Run(folder), without_notes(folder)
        with pytest.MonkeyPatch.context() as patch:
            killed_after(patch, steps)
            try:
                replace_all(run, until)
                done = True
            except KilledError:
                done = False
        # The next start may be killed as well, at any step.
        for again in range(4):
            with pytest.MonkeyPatch.context() as patch:
                killed_after(patch, (steps * 7 + again * 3) % 11)
                try:
                    give_back(run)
                except KilledError:
                    continue
        give_back(run)
        found = without_notes(folder)
        new = dict.fromkeys((*FILES, "inside.csv"), b"new")
        assert found in (old, new), (steps, sorted(found))
        assert (folder / "notes.txt").read_text() == "mine" and not is_replaced(run)
        seen.add("old" if found == old else "new")
        if done:
            break
    assert done and seen == ({"old"} if until < 2 else {"old", "new"})


def test_a_run_that_lies_aside_is_no_second_one(tmp_path):
    write(tmp_path / "run", "old")
    for name in ASIDE:
        shutil.copytree(tmp_path / "run", tmp_path / "run" / name, ignore=shutil.ignore_patterns(*ASIDE))
    assert [run.folder.name for run in below(tmp_path)] == ["run"]


@pytest.mark.parametrize("content", [[], ["notes.txt"]])
def test_a_folder_that_lies_aside_and_is_of_no_run_removes_none(tmp_path, content):
    run = Run(tmp_path)
    run.checkpoints.mkdir()
    run.checkpoint(1).write_bytes(b"of the run")
    (tmp_path / ".replaced").mkdir()
    for name in content:
        (tmp_path / ".replaced" / name).write_text("mine")
    give_back(run)
    assert [name for name in content if not (tmp_path / name).is_file()] == []
    assert run.checkpoint(1).read_bytes() == b"of the run" and not is_replaced(run)


def test_links_are_the_run_s_own_and_what_they_lead_to_is_not(tmp_path):
    run = Run(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a").write_text("mine")
    run.folder.mkdir()
    run.failed_file.write_text("why")
    # The second one leads nowhere.
    (run.folder / "wandb").symlink_to(tmp_path / "elsewhere")
    run.checkpoints.symlink_to("nowhere")
    set_aside(run)
    assert [path.name for path in run.folder.iterdir()] == [".replaced"]
    assert {path.name for path in (run.folder / ".replaced").iterdir()} == {"failed.txt", "wandb", "checkpoints"}
    # Of the new run.
    (run.folder / "wandb").symlink_to(tmp_path / "elsewhere")
    give_back(run)
    assert run.failed_file.read_text() == "why" and run.checkpoints.is_symlink()
    let_go(run)
    assert (tmp_path / "elsewhere" / "a").read_text() == "mine"
