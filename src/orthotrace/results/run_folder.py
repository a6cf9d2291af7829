"""A run's folder: what is in it, and the networks that it gives back."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.core.errors import UserError
from orthotrace.core.files import read, read_json

if TYPE_CHECKING:
    from torch import nn


class Run:
    """A run's folder.

    Args:
        folder: need not exist yet.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.hydra = self.folder / ".hydra"
        self.scores_file = self.folder / "scores.json"
        self.metrics_file = self.folder / "metrics.csv"
        self.inside_file = self.folder / "inside.csv"
        self.failed_file = self.folder / "failed.txt"
        self.checkpoints = self.folder / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return (self.hydra / "config.yaml").is_file()

    @cached_property
    def config(self) -> DictConfig:
        """What the run was configured with.

        Raises:
            UserError: there is none, or it is damaged.
        """
        config = read(self.hydra / "config.yaml", OmegaConf.load)
        if not isinstance(config, DictConfig):
            raise UserError(f"{self.hydra / 'config.yaml'} is damaged (not a mapping)")
        return config

    @cached_property
    def scores(self) -> dict[str, Any]:
        """scores.json.

        Raises:
            UserError: there is none, it is damaged, or it is not of a run.
        """
        scores = read_json(self.scores_file)
        missing = [key for key in ("schema", "method", "seeds", "accuracy", "acc", "capacity") if key not in scores]
        if missing:
            raise UserError(f"{self.scores_file} is damaged (no field '{missing[0]}'); start the run afresh")
        return scores

    @property
    def finished(self) -> bool:
        """Whether all tasks were learned.

        Raises:
            UserError: scores.json is damaged.
        """
        return self.scores_file.is_file() and self.scores["acc"] is not None

    @property
    def rows_are_borrowed(self) -> bool:
        """Whether the ranks were taken from another run."""
        return OmegaConf.select(self.config, "method.rows_from") is not None

    def checkpoint(self, task: int) -> Path:
        """The checkpoint after a task, counted from 1."""
        return self.checkpoints / f"task{task}.ckpt"

    @property
    def tasks(self) -> list[int]:
        """The tasks after which a checkpoint was kept, from 1.

        Raises:
            UserError: there is none.
        """
        numbers = sorted(int(file.stem[4:]) for file in self.checkpoints.glob("task*.ckpt") if file.stem[4:].isdigit())
        if not numbers:
            raise UserError(f"{self.folder} has no checkpoints: the run did not finish a task, or they were removed")
        return numbers

    def network(self, task: int = -1) -> nn.Module:
        """The network as it was after a task, in evaluation mode.

        Args:
            task: the task, counted from 1; -1 for the last, -2 for the one before.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        # Heavy imports only where a network is wanted.
        import torch

        from orthotrace.config.network import make_network

        tasks = self.tasks
        if not isinstance(task, int):
            raise UserError(f"a task is a whole number (got {task!r})", "task")
        if task < 0 and -task <= len(tasks):
            task = tasks[task]
        if task not in tasks:
            listed = ", ".join(str(number) for number in tasks)
            raise UserError(f"{self.folder} has no checkpoint of task {task}; there are: {listed}", "task")

        def load(path: Path) -> nn.Module:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            about = saved["orthotrace"]
            model = make_network(self.config, about["shape"], about["classes"], about.get("concepts"))
            prefix = "model."
            state = about.get("network") or {
                key[len(prefix) :]: value for key, value in saved["state_dict"].items() if key.startswith(prefix)
            }
            dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
            model.to(max(dtypes, key=lambda dtype: dtype.itemsize)).load_state_dict(state)
            return model.eval()

        return read(self.checkpoint(task), load)


def below(folder: Path) -> list[Run]:
    """All runs below a folder, by path; none where it does not exist."""
    return [Run(config.parent.parent) for config in sorted(folder.glob("**/.hydra/config.yaml"))]


def find(folder: Path | str) -> list[Run]:
    """All runs below a folder, by path.

    Raises:
        UserError: the folder does not exist, or holds no run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    runs = below(folder)
    if not runs:
        raise UserError(f"{folder} holds no runs: give the folder that orthotrace-train wrote to")
    return runs


def load(folder: Path | str, task: int = -1) -> nn.Module:
    """The network of a run as it was after a task, in evaluation mode.

    Args:
        folder: of the run.
        task: the task, counted from 1; -1 for the last, -2 for the one before.

    Raises:
        UserError: there is no such run or checkpoint, or it is damaged.
    """
    run = Run(folder)
    if not run.exists:
        raise UserError(f"{folder} is not a run's folder: it has no .hydra/config.yaml")
    return run.network(task)
