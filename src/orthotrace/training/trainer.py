"""Lightning's Trainer for one fit after another."""

import inspect
import os
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy

from orthotrace.core.errors import UserError, nearest

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
}
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


def make_trainer(options: Mapping[str, Any], callbacks: list[Callback]) -> pl.Trainer:
    """Lightning's Trainer for one fit after another.

    Raises:
        UserError: an option that does not exist, that orthotrace sets itself, or a value that Lightning refuses.
    """
    own = {**OWN, "callbacks": callbacks}
    taken = sorted(own.keys() & options.keys())
    if taken:
        raise UserError(set_here(taken[0]), f"trainer.{taken[0]}")
    try:
        trainer = pl.Trainer(**own, **options)
    except TypeError as error:
        known = [name for name in inspect.signature(pl.Trainer).parameters if name not in own]
        unknown = next((name for name in options if name not in known), None)
        if unknown is None:
            raise UserError(str(error), "trainer") from error
        raise UserError(f"no such option; {nearest(unknown, known)}", f"trainer.{unknown}") from error
    # Of what needs a package that is not installed the last.
    except (ValueError, MisconfigurationException, ImportError) as error:
        raise UserError(str(error).split("\n")[0], "trainer") from error
    if trainer.world_size > 1:
        # Several processes work together by DDP, each started by Lightning as the same command.
        strategy = trainer.strategy
        if type(strategy) is not DDPStrategy or strategy._start_method != "popen":
            raise UserError("several devices work together by ddp alone: set trainer.strategy=ddp", "trainer.strategy")
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise UserError("start it without torchrun: trainer.devices starts the processes", "trainer.devices")
        if strategy._layer_sync is not None:
            raise UserError("replaces layers that are protected by name: set it to false", "trainer.sync_batchnorm")
    return trainer
