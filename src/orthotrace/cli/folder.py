"""A run's folder before and after its training: whether it is left alone, what is written first, what is told last."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from orthotrace.cli.composed import init_digest
from orthotrace.cli.objective import value_of
from orthotrace.config.build import write_hydra
from orthotrace.config.folder_names import differences, relevant
from orthotrace.core.digests import DamagedFileError
from orthotrace.core.errors import UserError
from orthotrace.core.folders import held
from orthotrace.results.collapse import run_line
from orthotrace.results.columns import SHORT
from orthotrace.results.replaced import give_back, is_replaced
from orthotrace.results.run_folder import AFRESH, Run

if TYPE_CHECKING:
    from orthotrace.training.experiment import Experiment


def left_alone(config: DictConfig, run: Run, number: str) -> tuple[bool, float | tuple[float, ...] | None]:
    """Whether a run is finished, which is told, and its objective.

    Raises:
        UserError: the folder holds something else.
    """
    # As it is now: the weights may lie elsewhere when the run is read.
    config.init_digest = init_digest(config)
    if is_replaced(run):
        # A run that was to replace it was killed.
        with held(run.folder):
            give_back(run)
    own = [path.name for path in (run.scores_file, run.metrics_file, run.checkpoints) if path.exists()]
    if own and not run.exists:
        raise UserError(f"{run.folder} holds {', '.join(own)} of something else; choose another hydra.run.dir")
    if not config.overwrite and is_finished(run, config):
        print(f"{number}{run.folder} is finished; overwrite=true starts it afresh", flush=True)
        return True, value_of(config, run.scores)
    return False, None


def open_folder(config: DictConfig, run: Run, hydra: DictConfig) -> None:
    """Write what a run is configured with into its folder, which is held."""
    if run.exists and not scores_are_whole(run):
        # Kept: they may have been changed on purpose.
        run.scores_file.replace(run.scores_file.with_name("scores.damaged.json"))
    write_hydra(run.hydra, config, hydra)
    run.failed_file.unlink(missing_ok=True)
    run.preempted_file.unlink(missing_ok=True)


def tell(
    config: DictConfig, experiment: Experiment, number: str, continues: bool, started: float
) -> float | tuple[float, ...] | None:
    """Print what a finished run came to; its objective."""
    scores, folder = experiment.progress.scores(experiment.stream.shared_head), experiment.run_folder.folder
    assert scores is not None
    transfer = "" if scores.bwt is None else f", BWT {scores.bwt:+.3f}"
    how = "continued, " if continues else ""
    seconds = time.perf_counter() - started
    name = SHORT[experiment.stream.active.score]
    print(f"{number}{name} {scores.acc:.3f}{transfer} ({how}{seconds:.0f} s): {folder}", flush=True)
    report = experiment.report()
    if (ranged := experiment.ranged()) is not None:
        between = f"the loss falls from {ranged['lower']:.2g} to {ranged['upper']:.2g}" if ranged["overrides"] else None
        said = "; ".join(one for one in (ranged["overrides"], between, ranged["remark"]) if one)
        print(f"{number}range test: {said}: {folder}", flush=True)
    # A test of rates leaves the network as it was.
    if ranged is None and (line := run_line(report)):
        print(f"{number}{line}: {folder}", flush=True)
    return value_of(config, report)


def is_finished(run: Run, config: DictConfig) -> bool:
    """Whether the folder holds this very run, finished.

    Raises:
        UserError: the folder holds a run with another configuration, or one of which too much is damaged.
    """
    if not run.exists:
        return False
    for group in ("dataset", "stream", "model", "method", "trainer"):
        # Of an older version, whose files have no digests.
        if group not in run.config:
            raise UserError(f"{run.hydra / 'config.yaml'} is damaged: it has no {group}; {AFRESH}")
    changed = differences(relevant(run.config), relevant(config))
    if changed:
        raise UserError(
            f"{run.folder} holds a run with another configuration ({'; '.join(changed)}); "
            "choose another hydra.run.dir, or overwrite=true to replace it"
        )
    if scores_are_whole(run):
        return run.finished
    if not run.generations:
        # Says what is wrong with them.
        _ = run.scores
    warnings.warn(
        f"{run.scores_file} is damaged: it is written again from the checkpoints, and kept as scores.damaged.json",
        stacklevel=2,
    )
    return False


def scores_are_whole(run: Run) -> bool:
    """Whether scores.json is what was written, or was not written yet."""
    try:
        _ = run.finished
    except DamagedFileError:
        return False
    return True
