"""Lightning's Trainer for one fit after another."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.accelerators import MPSAccelerator
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy, Strategy

from orthotrace.core.errors import UserError, nearest
from orthotrace.core.launched import Launched, launched
from orthotrace.training.checkpoint_io import StreamedCheckpointIO
from orthotrace.training.chunks import Stepping

# What orthotrace sets itself.
OWN = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "max_epochs": 0,
    "callbacks": [],
    # A run would look finished, and its tasks be cut short.
    "fast_dev_run": False,
    "overfit_batches": 0.0,
    "max_time": None,
    "default_root_dir": None,
}
# What the learner does where a step of Lightning's loop has several batches.
BY_LEARNER = ("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches")
# What to do in the place of some of them.
_TRIAL = "for a trial run write dataset.limit=10 trainer.max_epochs=1"
INSTEAD = {
    "fast_dev_run": _TRIAL,
    "overfit_batches": _TRIAL,
    "max_time": "a task ends after trainer.max_epochs, and a run that was stopped goes on by the same command",
}


def set_here(key: str) -> str:
    """What a user is told who sets one of them.

    Example:
        >>> set_here("logger")
        'is set by orthotrace itself'
    """
    return "is set by orthotrace itself" + (f": {INSTEAD[key]}" if key in INSTEAD else "")


class Srun(SLURMEnvironment):
    """Processes that srun started, as Lightning is told of them.

    Lightning's own refuses ``--ntasks`` without ``--ntasks-per-node``, takes the same port for two steps of a job, and
    leaves a checkpoint in the working directory when SIGUSR1 comes, from which every later fit there would start.
    """

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    @staticmethod
    def _validate_srun_used() -> None:
        """It is: see launched."""

    @staticmethod
    def _validate_srun_variables() -> None:
        """They are compared with trainer.devices and trainer.num_nodes, see check_launched."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Likewise."""

    @property
    def main_port(self) -> int:
        """One for each step of a job."""
        if "MASTER_PORT" not in os.environ:
            job, step = (int(os.environ.get(name) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
            os.environ["MASTER_PORT"] = str(15000 + (7 * job + step) % 10000)
        return super().main_port


def make_trainer(options: Mapping[str, Any], callbacks: list[Callback], folder: Path) -> pl.Trainer:
    """Lightning's Trainer for one fit after another.

    Args:
        options: what the user configured.
        callbacks: ours.
        folder: of the run, for what Lightning would leave in the working directory.

    Raises:
        UserError: an option that does not exist, that orthotrace sets itself, or a value that Lightning refuses; other
            processes than were started.
    """
    own = {**OWN, "callbacks": callbacks}
    taken = sorted(own.keys() & options.keys())
    if taken:
        raise UserError(set_here(taken[0]), f"trainer.{taken[0]}")
    who = launched()
    environment = {"srun": Srun, "torchrun": TorchElasticEnvironment, "": LightningEnvironment}[who.by]()
    # Nothing is there, and nothing is written there: of a checkpoint that a signal left in such a folder Lightning
    # would start, whichever run it is of.
    own["default_root_dir"] = str(folder / "lightning")
    given = options.get("plugins") or []
    plugins = given if isinstance(given, list) else [given]
    # A strategy that is an object brings what writes its checkpoints.
    theirs = any(isinstance(one, CheckpointIO) for one in plugins) or isinstance(options.get("strategy"), Strategy)
    own["plugins"] = [*plugins, environment, *([] if theirs else [StreamedCheckpointIO()])]
    own |= _without_mps(options.get("accelerator", "auto"))
    try:
        with without_hints():
            trainer = pl.Trainer(**{**options, **own})
    except TypeError as error:
        known = [name for name in inspect.signature(pl.Trainer).parameters if name not in own]
        unknown = next((name for name in options if name not in known), None)
        if unknown is None:
            raise UserError(str(error), "trainer") from error
        raise UserError(f"no such option; {nearest(unknown, known)}", f"trainer.{unknown}") from error
    # Of what needs a package that is not installed the last.
    except (ValueError, MisconfigurationException, ImportError) as error:
        raise UserError(str(error).split("\n")[0], "trainer") from error
    check_launched(who, trainer.num_devices, trainer.num_nodes)
    if trainer.num_nodes * trainer.num_devices > 1:
        # Several processes work together by DDP, each started as the same command.
        strategy = trainer.strategy
        if type(strategy) is not DDPStrategy or strategy._start_method != "popen":
            raise UserError("several devices work together by ddp alone: set trainer.strategy=ddp", "trainer.strategy")
        if strategy._layer_sync is not None:
            raise UserError("replaces layers that are protected by name: set it to false", "trainer.sync_batchnorm")
    return trainer


def stepped_trainer(
    options: Mapping[str, Any], callbacks: list[Callback], folder: Path, at_once: int | Literal["auto"]
) -> tuple[pl.Trainer, Stepping]:
    """A trainer as make_trainer makes it, and what is done around a step of the optimizer.

    Args:
        options: what the user configured.
        callbacks: ours.
        folder: of the run.
        at_once: batches in a step of Lightning's loop.

    Raises:
        UserError: as for make_trainer and Stepping.of.
    """
    trainer = make_trainer(options, callbacks, folder)
    stepping = Stepping.of(trainer, None if at_once == "auto" else at_once)
    own = [key for key in BY_LEARNER if key in options]
    if stepping.at_once > 1 and own:
        # Lightning refuses them where it leaves the steps to the learner.
        rest = {key: value for key, value in options.items() if key not in own}
        return make_trainer(rest, callbacks, folder), stepping
    return trainer, stepping


def _without_mps(asked: object) -> dict[str, Any]:
    """The CPU in the place of Apple's GPU, which has no float64: much of what protects weights is added up in it.

    Raises:
        UserError: that GPU is asked for.
    """
    if not MPSAccelerator.is_available():
        return {}
    if asked in ("mps", "gpu") or isinstance(asked, MPSAccelerator):
        raise UserError("Apple's GPU has no float64, which is needed here: set cpu", "trainer.accelerator")
    return {"accelerator": "cpu"} if asked == "auto" else {}


@contextmanager
def without_hints() -> Iterator[None]:
    """Within the block Lightning does not warn of an srun on the path, or a GPU, that is not used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        if MPSAccelerator.is_available():
            warnings.filterwarnings("ignore", message="GPU available but not used")
        yield


def check_launched(who: Launched, devices: int, nodes: int) -> None:
    """Compare the processes that were started with those that a run is to have.

    Args:
        who: what started this one.
        devices: of a run on each of its machines.
        nodes: machines.

    Raises:
        UserError: they are others: each would train the whole run alone, or wait for the others.

    Example:
        >>> check_launched(Launched("srun", 0, 2, 1), devices=2, nodes=1)
        >>> check_launched(Launched("srun", 0, 2, 1), devices=1, nodes=1)
        Traceback (most recent call last):
        ...
        orthotrace.core.errors.UserError: trainer.devices: srun started 2 processes on 1 node, not 1 on 1: ...
    """
    if who.processes is None or who.nodes is None:
        if nodes > 1 and not {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys():
            raise UserError(
                "start the command on every node by srun or torchrun, or set MASTER_ADDR and NODE_RANK there",
                "trainer.num_nodes",
            )
    elif (who.processes, who.nodes) != (devices * nodes, nodes):
        machines = f"{who.nodes} node{'s' if who.nodes > 1 else ''}"
        raise UserError(
            f"{who.by} started {who.processes} processes on {machines}, not {devices * nodes} on {nodes}: set "
            f"trainer.devices={max(who.processes // who.nodes, 1)} trainer.num_nodes={who.nodes}, or start one process",
            "trainer.devices",
        )
