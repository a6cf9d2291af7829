"""A run's folder: what is in it, and the networks that it gives back."""

from __future__ import annotations

import errno
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from orthotrace.config.targets import check_targets, missing_modules
from orthotrace.core.digests import DamagedFileError, recorded, verify
from orthotrace.core.errors import UserError
from orthotrace.core.files import check_schema, read, read_json
from orthotrace.core.folders import cannot_write

if TYPE_CHECKING:
    from torch import nn

AFRESH = "put a good copy in its place, or start the run afresh with overwrite=true"
# Where an old run lies until the run that replaces it has a checkpoint: while it is moved, whole, no longer needed.
MOVING, REPLACED, REMOVED = ASIDE = (".moving", ".replaced", ".removed")


class Run:
    """A run's folder.

    Args:
        folder: need not exist yet.
        trust: callables, modules or packages of the reader's own that its configuration may call.
    """

    def __init__(self, folder: Path | str, trust: Sequence[str] = ()) -> None:
        self.folder = Path(folder)
        self.trust = [trust] if isinstance(trust, str) else list(trust)
        self.hydra = self.folder / ".hydra"
        self.scores_file = self.folder / "scores.json"
        self.metrics_file = self.folder / "metrics.csv"
        self.inside_file = self.folder / "inside.csv"
        self.range_file = self.folder / "range_test.json"
        self.failed_file = self.folder / "failed.txt"
        self.preempted_file = self.folder / "preempted.txt"
        self.pruning_file = self.folder / "pruning.json"
        self.checkpoints = self.folder / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.previous = self.checkpoints / "previous.ckpt"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def exists(self) -> bool:
        """Whether a run was started here, also one whose configuration is missing."""
        if (self.hydra / "config.yaml").is_file():
            return True
        return bool(self._files()) and (self.hydra.is_dir() or bool(recorded(self.scores_file)))

    @cached_property
    def config(self) -> DictConfig:
        """What the run was configured with.

        Raises:
            UserError: there is none, or it is damaged; says what of the run is left.
        """

        def load(path: Path) -> DictConfig:
            config = OmegaConf.load(path)
            if not isinstance(config, DictConfig):
                raise ValueError("not a mapping")
            return config

        return self._read("config.yaml", load)

    @cached_property
    def trusted_config(self) -> DictConfig:
        """The configuration, from which objects may be made.

        Raises:
            UserError: it would call what nobody named, or what is in a module that is not found.
        """
        try:
            check_targets(self.config, self.trust)
        except UserError as error:
            raise UserError(f"{error.message} ({error.key} in {self.hydra / 'config.yaml'})") from error
        for path, module in missing_modules(self.config):
            there = self._started_in()
            place = there or "FOLDER"
            raise UserError(
                f"{self.folder} needs your module '{module}', which is not found"
                f"{f'; the run was started in {there}' if there else ''}; start Python or the command in the folder "
                f"that has it, or write sys.path.append({place!r}) before ({path} in {self.hydra / 'config.yaml'})"
            )
        return self.config

    def _started_in(self) -> str | None:
        """The folder in which the command was given that trained this run; None where nothing says so."""
        try:
            return str(OmegaConf.select(OmegaConf.load(self.hydra / "hydra.yaml"), "hydra.runtime.cwd", default=None))
        except Exception:  # of what is damaged nearly anything can be raised
            return None

    @cached_property
    def overrides(self) -> list[str]:
        """What was set when the run was started.

        Raises:
            UserError: they are missing or damaged; says what of the run is left.
        """

        def load(path: Path) -> list[str]:
            found = OmegaConf.to_container(OmegaConf.load(path))
            if not isinstance(found, list):
                raise ValueError("not a list")
            return [str(one) for one in found]

        return self._read("overrides.yaml", load)

    def _read(self, name: str, load: Callable[[Path], Any]) -> Any:
        path = self.hydra / name

        def advice() -> str:
            left = self._left()
            return AFRESH + (f"; still usable: {', '.join(left)}" if left else "")

        if not path.is_file() and self.exists:
            raise UserError(f"{path} is missing; {advice()}")
        return read(path, load, advice)

    def _left(self) -> list[str]:
        """What was written beside the configuration, and is not damaged."""
        return [str(path.relative_to(self.folder)) for path in self._files() if is_whole(path)]

    def _files(self) -> list[Path]:
        scores = [self.scores_file] if self.scores_file.is_file() else []
        return [*scores, *sorted(self.checkpoints.glob("*.ckpt"))]

    @cached_property
    def scores(self) -> dict[str, Any]:
        """scores.json.

        Raises:
            UserError: there is none, it is damaged, or it is not of a run.
        """
        scores = read_json(self.scores_file)
        missing = [key for key in ("schema", "method", "seeds", "accuracy", "acc", "capacity") if key not in scores]
        if missing:
            raise DamagedFileError(
                f"{self.scores_file} is damaged (no field '{missing[0]}'); the same command writes it again from the "
                "checkpoints"
            )
        check_schema(scores, self.scores_file)
        return scores

    @property
    def finished(self) -> bool:
        """Whether all tasks were learned.

        Raises:
            UserError: scores.json is damaged.
        """
        return self.scores_file.is_file() and self.scores["acc"] is not None

    @property
    def pruned(self) -> str | None:
        """Why it was stopped before its end; None where it was not, or its file is damaged."""
        with suppress(UserError, AttributeError):
            return read_json(self.pruning_file).get("pruned") if self.pruning_file.is_file() else None
        return None

    @property
    def rows_are_borrowed(self) -> bool:
        """Whether the ranks were taken from another run."""
        return OmegaConf.select(self.config, "method.rows_from") is not None

    def check_places(self) -> None:
        """See whether what a run writes has its place: otherwise it would be found out after a whole task.

        Raises:
            UserError: a folder lies in the place of a file, or something else in that of a folder.
        """
        for path in (self.hydra, self.checkpoints):
            if os.path.lexists(path) and not path.is_dir():
                raise cannot_write(path, NotADirectoryError(errno.ENOTDIR, ""))
        told = (self.failed_file, self.preempted_file, self.pruning_file)
        written = (self.scores_file, self.metrics_file, self.inside_file, self.range_file)
        for path in (*written, *told, *self.checkpoints.glob("*.ckpt")):
            if path.is_dir():
                raise cannot_write(path, IsADirectoryError(errno.EISDIR, ""))

    def check(self) -> None:
        """Read what tells runs apart.

        Raises:
            UserError: the configuration, the overrides or the scores are missing or damaged.
        """
        _ = self.config, self.overrides, self.scores

    @property
    def generations(self) -> list[Path]:
        """The checkpoints that a run can go on from, the one to take first."""
        tasks = [path for path in self.checkpoints.glob("task*.ckpt") if path.stem[4:].isdigit() and path.is_file()]
        others = [*tasks, *([self.previous] if self.previous.is_file() else [])]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [*([self.last] if self.last.is_file() else []), *others]

    def checkpoint(self, task: int) -> Path:
        """The checkpoint after a task, counted from 1."""
        return self.checkpoints / f"task{task}.ckpt"

    def epoch_checkpoint(self, task: int, epoch: int) -> Path:
        """The checkpoint after an epoch of a task, both from 1; epoch 0 of the first is the untrained network."""
        return self.checkpoints / f"task{task}_epoch{epoch}.ckpt"

    def epochs(self, task: int = 1) -> list[int]:
        """The epochs of a task of which trainer.checkpoints kept the network, 0 for the untrained one."""
        found = (file.stem.partition("_epoch") for file in self.checkpoints.glob(f"task{task}_epoch*.ckpt"))
        return sorted(int(epoch) for of, _, epoch in found if of == f"task{task}" and epoch.isdigit())

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

    def network(self, task: int = -1, epoch: int | None = None) -> nn.Module:
        """The network as it was after a task, or after an epoch of it, in evaluation mode.

        Args:
            task: the task, counted from 1; -1 for the last, -2 for the one before.
            epoch: one of those that trainer.checkpoints named; None for the end of the task.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        # Heavy imports only where a network is wanted.
        from orthotrace.config.network import make_network

        tasks = self.tasks
        if not isinstance(task, int):
            raise UserError(f"a task is a whole number (got {task!r})", "task")
        if task < 0 and -task <= len(tasks):
            task = tasks[task]
        if task not in tasks:
            listed = ", ".join(str(number) for number in tasks)
            raise UserError(f"{self.folder} has no checkpoint of task {task}; there are: {listed}", "task")
        if epoch is not None and epoch not in (epochs := self.epochs(task)):
            listed = ", ".join(str(number) for number in epochs) or "none; trainer.checkpoints=[...] keeps some"
            raise UserError(f"{self.folder} has no checkpoint of epoch {epoch}; there are: {listed}", "epoch")

        def load(path: Path) -> nn.Module:
            saved = read_checkpoint(path)
            about = saved["orthotrace"]
            model = make_network(self.trusted_config, about["shape"], about["classes"], about.get("concepts"))
            prefix = "model."
            state = about.get("network") or {
                key[len(prefix) :]: value for key, value in saved["state_dict"].items() if key.startswith(prefix)
            }
            dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
            model.to(max(dtypes, key=lambda dtype: dtype.itemsize)).load_state_dict(state)
            return model.eval()

        return read(self.checkpoint(task) if epoch is None else self.epoch_checkpoint(task, epoch), load)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, where its digest was compared or its own checksums are right.

    Raises:
        Exception: it is damaged; read makes a line of it.
    """
    import torch

    if not recorded(path):
        # torch compares no checksums.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
    content = torch.load(path, map_location="cpu", weights_only=True)
    check_schema(content["orthotrace"], path)
    return content


def is_whole(path: Path) -> bool:
    """Whether a file is what was written, as far as is known."""
    try:
        return verify(path) or path.suffix != ".ckpt" or zipfile.is_zipfile(path)
    except (DamagedFileError, OSError):
        return False


def below(folder: Path, trust: Sequence[str] = ()) -> list[Run]:
    """All runs below a folder, by path; none where it does not exist."""
    marks = {path.parent.parent for path in folder.glob("**/.hydra/config.yaml")}
    # Those whose configuration is missing are found by their scores.
    marks |= {path.parent for path in folder.glob("**/scores.json") if Run(path.parent).exists}
    return [Run(path, trust) for path in sorted(marks) if not set(path.relative_to(folder).parts) & set(ASIDE)]


def failed_below(folder: Path) -> dict[Path, Run]:
    """What failed below a folder, by its absolute path: runs, and jobs of multiruns that were refused before."""
    paths = sorted(path.parent for path in folder.glob("**/failed.txt"))
    return {path.absolute(): Run(path) for path in paths if not set(path.relative_to(folder).parts) & set(ASIDE)}


def find(folder: Path | str, trust: Sequence[str] = ()) -> list[Run]:
    """All runs below a folder, by path.

    Args:
        folder: at any depth.
        trust: callables, modules or packages of your own that their configurations may call.

    Raises:
        UserError: the folder does not exist, or holds no run.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    runs = below(folder, trust)
    if not runs:
        raise UserError(f"{folder} holds no runs: give the folder that orthotrace-train wrote to")
    return runs


def _instead(folder: Path) -> str:
    """What a folder is that is no run's."""
    if not folder.is_dir():
        return "there is no such folder" + ("" if folder.is_absolute() else f" (looked for in {Path.cwd()})")
    if not (inside := below(folder)):
        return "it has no .hydra/config.yaml"
    names = [str(run.folder.relative_to(folder)) for run in inside]
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"it holds {len(names)} run{'s' * (len(names) > 1)} ({shown}); give the folder of one"


def load(folder: Path | str, task: int = -1, trust: Sequence[str] = (), epoch: int | None = None) -> nn.Module:
    """The network of a run as it was after a task, or after an epoch of it, in evaluation mode.

    Args:
        folder: of the run.
        task: the task, counted from 1; -1 for the last, -2 for the one before.
        trust: callables, modules or packages of your own that the run's configuration may call: it may come from
            somebody else, and nothing but orthotrace's own callables and layers of torch.nn is called unless named.
        epoch: of the task, one of those that trainer.checkpoints named; None for the end of the task.

    Raises:
        UserError: there is no such run or checkpoint, it is damaged, or it would call what nobody named.
    """
    run = Run(folder, trust)
    if not run.exists:
        raise UserError(f"{folder} is not a run's folder: {_instead(run.folder)}")
    return run.network(task, epoch)
