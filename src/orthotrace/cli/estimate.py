"""What a run or a multirun will cost, from short epochs: estimate=true."""

from __future__ import annotations

import copy
import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from orthotrace.cli.composed import init_digest
from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.cli.multirun import Multirun
from orthotrace.cli.shown import jobs_of
from orthotrace.cli.train import assemble, is_finished
from orthotrace.config.build import plain
from orthotrace.core.errors import UserError
from orthotrace.results.run_folder import Run

# Batches of a short epoch; a longer one is scaled by its number of batches.
BATCHES = 50
# Sections of a configuration on which the time of a run depends; of a method the chosen one and its memory.
SECTIONS = ("dataset", "stream", "model", "concepts", "augmentation", "trainer")


@dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        epoch: seconds of a whole epoch of the first task.
        seconds: of the run.
        disk: bytes of its checkpoints.
    """

    epoch: float
    seconds: float
    disk: int


@dataclass(frozen=True)
class Planned:
    """One run: its composed configuration, with Hydra's part, and its folder."""

    config: DictConfig
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the folder holds this run, finished, so that it would be left alone."""
        self.config.init_digest = init_digest(self.config)
        return not self.config.overwrite and is_finished(Run(self.folder), self.config)

    @property
    def setting(self) -> str:
        """What runs of the same cost have in common."""
        method: Any = plain(self.config.method)
        of = {"method": self.config.hydra.runtime.choices.method, "memory": method.get("memory")}
        parts = {name: plain(self.config[name]) for name in SECTIONS if OmegaConf.is_config(self.config.get(name))}
        return json.dumps(of | parts, sort_keys=True, default=str)

    @property
    def name(self) -> str:
        """What the setting is called."""
        choices = self.config.hydra.runtime.choices
        return " ".join(str(choices[key]) for key in ("method", "model", "stream", "dataset"))


class CostEstimate(Callback):
    """Where estimate is true the command ends here, once the configurations are checked."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Of a single run."""
        if config.estimate:
            with _last():
                tell_estimate([Planned(config, Path(config.hydra.run.dir))], 1, "")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Of every job."""
        if config.estimate:
            # What it waits for does not start.
            Multirun.running.close()
            with _last():
                tell_estimate(_jobs(config), *together(config.hydra.launcher))


@contextmanager
def _last() -> Iterator[None]:
    """The command ends with the block, whatever it comes to: of an error Hydra would warn, and train."""
    try:
        with mistakes_on_one_line("train"):
            yield
    except Exception:
        # A fault of our own: Hydra must not hear of it.
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def _jobs(config: DictConfig) -> list[Planned]:
    from hydra.core.global_hydra import GlobalHydra

    loader = GlobalHydra.instance().config_loader()
    if (jobs := jobs_of(config, loader)) is None:
        raise UserError("this sweeper chooses its jobs as it goes: write one job, without --multirun", "estimate")
    made = [loader.load_sweep_config(config, job) for job in jobs]
    return [Planned(one, Path(one.hydra.sweep.dir) / str(one.hydra.sweep.subdir)) for one in made]


def tell_estimate(jobs: Sequence[Planned], at_once: int | None, how: str) -> None:
    """Print what the runs that are not finished will cost; what is written goes to a folder that is removed.

    Args:
        jobs: the runs.
        at_once: how many run at a time; None for all.
        how: the same in words, of several runs.

    Raises:
        UserError: a folder holds another run, or a run cannot be trained.
    """
    left = [job for job in jobs if not job.finished]
    print(f"{_of(len(jobs), 'run')}, {len(jobs) - len(left)} finished already", flush=True)
    settings: dict[str, list[Planned]] = {}
    for job in left:
        settings.setdefault(job.setting, []).append(job)
    costs: list[tuple[Cost, int]] = []
    for same in settings.values():
        # Of large networks they take minutes.
        print(f"{same[0].name}: training short epochs to measure them", file=sys.stderr, flush=True)
        cost = measured(same[0])
        costs.append((cost, len(same)))
        epoch = f"{cost.epoch:.2g}" if cost.epoch < 10 else f"{cost.epoch:.0f}"
        line = f"{same[0].name}: {epoch} s an epoch, {told(cost.seconds)} and {_mb(cost.disk)} a run"
        print(f"{line}, {_of(len(same), 'run')}", flush=True)
    if not costs:
        return
    seconds = sum(cost.seconds * number for cost, number in costs)
    # However many run at a time, the longest takes as long as it takes.
    wall = max(seconds / min(at_once or len(left), len(left)), *(cost.seconds for cost, _ in costs))
    disk = _mb(sum(cost.disk * number for cost, number in costs))
    way = f" ({how})" if how else ""
    print(f"estimate: {told(wall)}{way} and {disk} of disk", flush=True)
    print("This is an estimate, from short epochs on one device of this machine; nothing was trained.", flush=True)


def measured(job: Planned) -> Cost:
    """Train two short epochs of the first task, and one of the second, in a folder that is removed."""
    from orthotrace.training.tracking import Tracker

    # Seconds of the epochs; of what comes before them; of the end of the first task.
    epochs: list[float] = []
    begin: list[float] = []
    end: list[float] = []

    class Watch(Tracker):
        def epoch(self, row: Mapping[str, Any], number: int) -> None:
            spent = experiment.progress.seconds[-1]
            epochs.append(spent - (epochs[0] if number == 2 else 0))
            if number == 1:
                begin.append(time.perf_counter() - started - spent)
            if row["task"] == 2:
                raise _DoneError

        def task(self, progress: Any, scores: Any) -> None:
            end.append(progress.seconds[0] - sum(epochs))

    config = copy.deepcopy(job.config)
    # Where a user limits the epochs they are as short as they may be.
    own = "limit_train_batches" in config.trainer
    short = {"max_epochs": 2, "checkpoints": None, "save_every": 1e9, "devices": 1}
    short |= {key: one for key, one in (("num_nodes", 1), ("strategy", "auto")) if key in config.trainer}
    if str(config.scheduler._target_).endswith(".RangeTest"):
        # It must not end early.
        config.scheduler.high = 1.01 * config.scheduler.low
    short |= {} if own else {"limit_train_batches": BATCHES}
    with open_dict(config):
        config.trainer.update(short)
    with tempfile.TemporaryDirectory() as place:
        run = Run(Path(place) / "run")
        started = time.perf_counter()
        experiment = assemble(config, run, config.hydra, tracker=Watch())[0]
        with suppress(_DoneError):
            experiment.run()
        size = run.checkpoint(1).stat().st_size
    stream, method = experiment.stream, experiment.learner.method
    images = [len(method.task(stream, task).train) for task in range(stream.tasks)]
    batches = [math.ceil(number / config.trainer.batch_size) for number in images]
    # The second task is trained with what protects the first.
    timed = [epochs[1], *([epochs[2]] * (stream.tasks - 1) if len(epochs) > 2 else [])]
    each = timed if own else scaled(timed, batches)
    kept = len(job.config.trainer.checkpoints or ())
    seconds = begin[0] + int(job.config.trainer.max_epochs) * sum(each) + end[0] * stream.tasks
    # One for each task, and those that are kept within tasks; the last one is a link.
    return Cost(each[0], seconds, size * stream.tasks * (1 + kept))


def scaled(timed: Sequence[float], batches: Sequence[int]) -> list[float]:
    """Seconds of whole epochs, from those of epochs of BATCHES batches at most.

    Example:
        >>> scaled([2.0, 2.0], [10, 150])
        [2.0, 6.0]
    """
    return [spent * max(1, number / BATCHES) for spent, number in zip(timed, batches, strict=True)]


class _DoneError(Exception):
    """Enough is measured."""


def together(launcher: DictConfig) -> tuple[int | None, str]:
    """How many jobs a launcher of Hydra runs at a time, None for all, and how to say it.

    Example:
        >>> together(OmegaConf.create({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}))
        (1, 'one run at a time')
    """
    kind = str(launcher._target_).rpartition(".")[2]
    if kind == "BasicLauncher":
        return 1, "one run at a time"
    if kind == "JoblibLauncher":
        import joblib

        number: int | None = joblib.effective_n_jobs(launcher.n_jobs)
    elif kind == "SlurmLauncher":
        number = launcher.get("array_parallelism")
    elif kind == "BoundedLocalLauncher":
        number = launcher.jobs_at_once
    else:
        return 1, f"one after another: how many run at a time {kind} decides"
    return number, "all runs at a time" if number is None else f"{_of(number, 'run')} at a time"


def told(seconds: float) -> str:
    """Seconds, minutes or hours.

    Example:
        >>> told(12.3), told(150), told(9000)
        ('about 12 s', 'about 2.5 min', 'about 2.5 h')
    """
    if seconds < 99:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.1f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _of(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
