"""seeds_at_once: jobs of a multirun that differ in their seeds alone are trained in one process and one step."""

from __future__ import annotations

import copy
import json
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from orthotrace.cli.composed import check_composed
from orthotrace.cli.errors import mistakes_on_one_line
from orthotrace.cli.folder import left_alone, open_folder, tell
from orthotrace.cli.groups import Value, forget_groups, join
from orthotrace.cli.jobs import end, label_of, told_of_failure
from orthotrace.cli.shown import jobs_of
from orthotrace.cli.train import assemble, remove_if_empty
from orthotrace.config.schema import check
from orthotrace.core.errors import UserError
from orthotrace.core.files import write_text
from orthotrace.core.folders import held, is_held
from orthotrace.core.interrupt import stop_here
from orthotrace.results.replaced import give_back, set_aside
from orthotrace.results.run_folder import Run

if TYPE_CHECKING:
    from orthotrace.training.experiment import Experiment

# What the networks of a group may differ in.
SEEDS = ("hydra", "seed", "seeds")


@dataclass(frozen=True)
class Member:
    """A job of a group.

    Attributes:
        config: of the job, without Hydra's part.
        hydra: Hydra's part.
        run: its folder.
    """

    config: DictConfig
    hydra: Any
    run: Run

    @classmethod
    def of(cls, composed: DictConfig, number: int) -> Member:
        """As Hydra would start it, from what it composed for it."""
        whole, folder = copy.deepcopy(composed), Path(composed.hydra.sweep.dir) / str(composed.hydra.sweep.subdir)
        with read_write(whole), open_dict(whole):
            whole.hydra.job.num, whole.hydra.job.id = number, str(number)
            whole.hydra.runtime.output_dir = str(folder.absolute())
        config = copy.deepcopy(whole)
        with read_write(config), open_dict(config):
            del config["hydra"]
        return cls(config, whole.hydra, Run(folder.absolute()))

    @property
    def label(self) -> str:
        """What its lines begin with."""
        return label_of(self.hydra)

    @property
    def kind(self) -> str:
        """What it has in common with the others of its group."""
        values = {key: self.config[key] for key in self.config if key not in SEEDS}
        plain = OmegaConf.to_container(OmegaConf.create(values), resolve=False)
        return json.dumps(plain, sort_keys=True, default=str)


class SeedsAtOnce(Callback):
    """Before a multirun with seeds_at_once above 1: group its jobs, and refuse what is not trained together."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose every job, group them, and check one of each group."""
        from hydra.core.global_hydra import GlobalHydra

        forget_groups()
        asked = any("seeds_at_once" in str(one) for one in config.hydra.overrides.task) or config.seeds_at_once > 1
        if config.get("estimate") or not asked:
            return
        try:
            with mistakes_on_one_line("train"):
                _group(config, GlobalHydra.instance().config_loader())
        except SystemExit:
            # What was made for the list of the jobs.
            end()
            remove_if_empty(Path(str(config.hydra.sweep.dir)))
            raise


def _group(config: DictConfig, loader: Any) -> None:
    """Group the jobs of a multirun.

    Raises:
        UserError: one of them is not trained together with others.
    """
    if (jobs := jobs_of(config, loader)) is None:
        raise UserError("this sweeper chooses its jobs as it goes: leave it at 1", "seeds_at_once")
    composed = [loader.load_sweep_config(config, job) for job in jobs]
    groups = grouped([Member.of(one, number) for number, one in enumerate(composed)])
    if groups and not str(config.hydra.launcher._target_).endswith("BasicLauncher"):
        raise UserError("trains in one process: leave hydra/launcher out, or leave it at 1", "seeds_at_once")
    for group in groups:
        if not all(one.run.scores_file.is_file() and not one.config.overwrite for one in group):
            _check_one(group[0])
        join([one.run.folder for one in group], partial(train_together, group))


def grouped(members: Sequence[Member]) -> list[list[Member]]:
    """Jobs with seeds_at_once above 1 that differ in their seeds alone, at most so many in a group."""
    found: dict[str, list[list[Member]]] = {}
    for one in members:
        if (most := one.config.seeds_at_once) > 1:
            groups = found.setdefault(one.kind, [[]])
            if len(groups[-1]) == most:
                groups.append([])
            groups[-1].append(one)
    return [group for groups in found.values() for group in groups]


def _check_one(one: Member) -> None:
    """Refuse what is not trained together: nothing is written yet.

    Raises:
        UserError: names it.
    """
    if one.hydra.runtime.choices.logger != "csv":
        raise UserError("networks that are trained together are not logged elsewhere: take csv", "logger")
    if one.config.pruning is not None:
        raise UserError("networks that are trained together are not pruned: set it to null", "pruning")
    experiment = assemble(one.config, one.run, one.hydra, one.label)[0]
    if experiment.components.digests.get("concepts"):
        raise UserError("concepts are not learned by networks that are trained together", "concepts")
    # Imports what assemble has imported.
    from orthotrace.training.stacked import StackedExperiment

    StackedExperiment([experiment])


def train_together(members: Sequence[Member]) -> dict[Path, Value]:
    """Train the jobs of a group that are not finished; what each came to, by its folder."""
    values: dict[Path, Value] = {}
    left = []
    for one in members:
        try:
            check_composed(one.config, one.hydra, "train", whole=False)
            finished, value = left_alone(one.config, one.run, one.label)
        except UserError as error:
            _tell_failed(one, str(error))
            continue
        if finished:
            values[one.run.folder] = value
        elif is_held(one.run.folder):
            # The other process reports what becomes of the run.
            told_of_failure(one.config, f"{one.label}failed: {one.run.folder.name}: another process trains in it")
        else:
            left.append(one)
    if left:
        try:
            values |= _train(left)
        except Exception as error:
            stop_here()
            reason = str(error) if isinstance(error, UserError) else traceback.format_exception_only(error)[-1].strip()
            for one in left:
                _tell_failed(one, reason, traceback.format_exc())
    for one in members:
        remove_if_empty(one.run.folder)
    return dict.fromkeys((one.run.folder for one in members), None) | values


def _train(members: Sequence[Member]) -> dict[Path, Value]:
    started = time.perf_counter()
    values: dict[Path, Value] = {}
    with ExitStack() as stack:
        experiments: list[Experiment] = []
        bars = []
        for one in members:
            check(one.config, "train")
            one.run.check_places()
            stack.enter_context(held(one.run.folder))
            experiment, _, bar = assemble(one.config, one.run, one.hydra, one.label)
            experiments.append(experiment)
            bars.append(bar)
        from orthotrace.training.stacked import StackedExperiment, common_task

        # One bar for all.
        bar = bars[0]
        together = StackedExperiment(experiments, [bar] if bar.watched else [])
        for one in members:
            stack.callback(_give_back, one.run)
            if one.config.overwrite:
                set_aside(one.run)
            open_folder(one.config, one.run, one.hydra)
        ended = common_task(experiments)
        beyond = sum(one.run.checkpoint(ended + 1).is_file() for one in members)
        others = len(members) - 1
        what = f"together with {others} other{'s' * (others > 1)}" if others else "by itself, as a stack of one"
        behind = f", and {beyond} were further" if beyond else ""
        print(f"{members[0].label}{what}" + (f", from task {ended + 1} on{behind}" if ended else ""), flush=True)
        with bar:
            failed = together.run()
        for one, experiment in zip(members, experiments, strict=True):
            if experiment in failed:
                _tell_failed(one, str(failed[experiment]))
            else:
                values[one.run.folder] = tell(one.config, experiment, one.label, bool(ended), started)
    return values


def _give_back(run: Run) -> None:
    """Where nothing has come of the new run."""
    if run.folder.is_dir():
        give_back(run)


def _tell_failed(one: Member, reason: str, details: str = "") -> None:
    told_of_failure(one.config, f"{one.label}failed: {one.run.folder.name}: {reason}")
    if one.run.folder.is_dir():
        write_text(one.run.failed_file, f"{reason}\n\n{details}")
