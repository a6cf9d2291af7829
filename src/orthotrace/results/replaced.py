"""An old run is kept until the run that replaces it has something to show: a kill at any instant gives it back."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from orthotrace.core.digests import NAME
from orthotrace.results.run_folder import ASIDE, MOVING, REMOVED, REPLACED, Run


def is_replaced(run: Run) -> bool:
    """Whether an old run lies aside in the folder, or the rest of one."""
    return any((run.folder / name).is_dir() for name in ASIDE)


def set_aside(run: Run) -> None:
    """Move what a run wrote into a hidden folder of its own; what else lies in the folder stays.

    Each step is one rename. While the hidden folder has its first name all that is not in it is still the old run's.
    """
    moving = run.folder / MOVING
    moving.mkdir()
    for path in _own(run):
        os.rename(path, moving / path.name)  # noqa: PTH104
    os.rename(moving, run.folder / REPLACED)  # noqa: PTH104


def give_back(run: Run) -> None:
    """Put the old run back in its place, if one lies aside, and remove what the new one wrote."""
    moving, aside = run.folder / MOVING, run.folder / REPLACED
    _remove(run.folder / REMOVED)
    if aside.is_dir():
        # Where nothing of a run lies aside, what is there has no other copy.
        for path in _own(run) if any(_own(Run(aside))) or not run.generations else ():
            _remove(path)
        os.rename(aside, moving)  # noqa: PTH104
    if moving.is_dir():
        for path in list(moving.iterdir()):
            os.rename(path, run.folder / path.name)  # noqa: PTH104
        moving.rmdir()


def let_go(run: Run) -> None:
    """Remove the old run, if one lies aside: the new one has its first checkpoint."""
    aside, removed = run.folder / REPLACED, run.folder / REMOVED
    if aside.is_dir():
        # One rename: from here on it is never given back in parts.
        os.rename(aside, removed)  # noqa: PTH104
        _remove(removed)


def _own(run: Run) -> Iterator[Path]:
    told = (run.failed_file, run.preempted_file, run.pruning_file)
    files = (run.scores_file, run.metrics_file, run.inside_file, *told, run.folder / NAME)
    for path in (*files, run.checkpoints, run.folder / "wandb", run.hydra):
        if os.path.lexists(path):
            yield path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
